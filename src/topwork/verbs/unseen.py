"""Labelled rows that a bundle was not fitted on, scored by several engines at once.

It judges none of them: what a difference is worth is for `topwork.steps.election`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from topwork.contracts import Array, Dataset, Engine, Target, has_one_label, known_rows
from topwork.data.check import examine
from topwork.data.columns import Columns
from topwork.data.reading import name_of, read
from topwork.errors import DataError, DecodeError
from topwork.steps.contenders import Tried
from topwork.steps.duplicates import near_pairs
from topwork.steps.events import with_events_again
from topwork.steps.options import FitOptions, Surroundings
from topwork.steps.recording import unknown_labels
from topwork.verbs.model import Model
from topwork.verbs.scoring import Scored, named_as, score_by_all

__all__ = ["Labelled", "Measured", "compared", "measure_unseen", "read_labelled"]


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Labelled data: those rows that a bundle was not fitted on, and the numbers of those in ``whole`` that it was."""

    name: str
    unseen: Dataset
    whole: Dataset
    fitted: Array


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What every engine gave for rows that a bundle was not fitted on.

    Attributes
    ----------
    scored
        One for each engine, in their order.
    rows
        Those that count, as `evaluate` counts them.
    truth
        Of these rows, by target.
    notes
        What is not counted, and why.
    """

    scored: tuple[Scored, ...]
    rows: Array
    truth: Mapping[str, Array]
    notes: tuple[str, ...]

    def scores(self, place: int, target: str) -> Array:
        """Return the scores ``[n, k]`` of an engine for the rows that count."""
        return self.scored[place].scores[target][self.rows]


def read_labelled(
    model: Model, data: str | Path | Columns, options: FitOptions, around: Surroundings
) -> Labelled:
    """Read labelled data and part the rows that a bundle was fitted on from the others, by their content.

    Raises
    ------
    DataError
        The bundle was fitted on all of it, or there are no labels for a target that it knows.
    UsageError
        The data hold another kind of input.
    """
    dataset = with_events_again(read(data, options.reading()), options.event, [model.servable])
    dataset = named_as(model, dataset)
    for line in (dataset.layout, *dataset.understood):
        around.progress.say(line)
    sides = model.servable.bundle.sides()
    seen = np.array([sides.get(one) in ("train", "valid") for one in _contents_of(dataset)], bool)
    name = name_of(data).name
    if seen.all():
        raise DataError(
            f"The bundle was fitted on all {len(dataset):,} inputs of {name}; none is left to measure on.",
            next_step="Give labelled data that hold inputs it has not seen.",
        )
    unseen = _only(dataset, np.flatnonzero(~seen))
    targets = model.servable.targets
    _require_labels({one: target.encode(unseen.targets[one]) for one, target in targets.items()})
    return Labelled(name, unseen, dataset, np.flatnonzero(seen))


def _contents_of(dataset: Dataset) -> Iterator[str]:
    """Yield the SHA-256 of each row's content, in hexadecimal; nothing for one that cannot be read."""
    for row in range(len(dataset)):
        try:
            yield sha256(dataset.read(row)).hexdigest()
        except DecodeError:  # it is told when the row is decoded
            yield ""


def _only(dataset: Dataset, rows: Array) -> Dataset:
    """Return some rows of a data set as one of their own."""
    kept: list[int] = rows.tolist()
    return replace(
        dataset,
        keys=tuple(dataset.keys[row] for row in kept),
        read=lambda place: dataset.read(kept[place]),
        targets={name: tuple(raw[row] for row in kept) for name, raw in dataset.targets.items()},
        given=None if dataset.given is None else tuple(dataset.given[row] for row in kept),
        columns={name: tuple(column[row] for row in kept) for name, column in dataset.columns.items()},
    )


def measure_unseen(
    model: Model, engines: Sequence[Engine], labelled: Labelled, around: Surroundings
) -> Measured:
    """Score the rows that a bundle was not fitted on by every engine, in one pass.

    Raises
    ------
    DataError
        No row has a label of a target that the bundle knows.
    """
    servable, dataset = model.servable, labelled.unseen
    targets = servable.targets
    scored = score_by_all(model, engines, dataset, around)
    reading = scored[0].reading
    numeric = [name for name, one in targets.items() if not has_one_label(one.link)]
    rows = examine(dataset, reading.inspections, near_pairs(reading, servable.modality), numeric).usable
    raw = {name: [dataset.targets[name][row] for row in rows] for name in targets}
    truth = {name: target.encode(raw[name]) for name, target in targets.items()}
    _require_labels(truth)
    left = ((name, unknown_labels(target, raw[name])) for name, target in targets.items())
    return Measured(scored, rows, truth, tuple(f"{name}: {said}" for name, said in left if said))


def _require_labels(truth: Mapping[str, Array]) -> None:
    if missing := [name for name, one in truth.items() if not known_rows(one).any()]:
        raise DataError(
            f"No row that the bundle was not fitted on has a label for {', '.join(missing)} that it knows.",
            next_step="Name the folders or the values of the label column as at the time of the fit.",
        )


def compared(
    targets: Mapping[str, Target], tried: Sequence[Tried], measured: Measured, places: Sequence[int]
) -> tuple[Tried, ...]:
    """Add to contenders their metrics, and the paired differences to the first that was measured.

    Parameters
    ----------
    places
        Of the engines that were measured among all that were tried.
    """
    found = list(tried)
    for number, place in enumerate(places):
        metrics, differences = {}, {}
        for name, target in targets.items():
            truth, own = measured.truth[name], measured.scores(number, name)
            metrics[name] = target.evaluate(truth, own, 0)
            differences[name] = target.compare(truth, own, measured.scores(0, name), 0)
        found[place] = replace(found[place], metrics=metrics, difference=differences)
    return tuple(found)
