"""Scoring labelled data with a bundle: every row read and run, and which rows the bundle was fitted on.

It judges nothing: what the scores are worth is for the verbs that call it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from topwork.bundle.model import scores_output
from topwork.contracts import Array, Dataset, Engine
from topwork.engines.chorus import Chorus, part_name
from topwork.errors import DataError, UsageError
from topwork.steps.options import Surroundings
from topwork.training.reading import Reading, Runner, read_features
from topwork.verbs.model import Model

__all__ = ["Scored", "fitted_on", "named_as", "require_modality", "score", "score_by_all"]


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What reading showed of every row of a data set, and its scores ``float32 [n, k]`` by target.

    The scores of a row that could not be read are zero.
    """

    reading: Reading
    scores: Mapping[str, Array]


def require_modality(model: Model, dataset: Dataset) -> None:
    """Refuse data of another modality than the bundle's.

    Raises
    ------
    UsageError
        The bundle takes something else than the data hold.
    """
    if dataset.modality != model.servable.modality.name:
        raise UsageError(
            f"The bundle takes {model.servable.modality.name}s; the data hold {dataset.modality}s."
        )


def named_as(model: Model, dataset: Dataset) -> Dataset:
    """Take the bundle's targets; the data set's only column of labels is its only target under whatever name.

    Raises
    ------
    UsageError
        The data hold another kind of input.
    DataError
        The data have no labels for a target.
    """
    require_modality(model, dataset)
    ours, theirs = list(model.servable.targets), list(dataset.targets)
    if len(ours) == len(theirs) == 1:
        return replace(dataset, targets={ours[0]: dataset.targets[theirs[0]]})
    if missing := set(ours) - set(theirs):
        raise DataError(
            f"The data have labels for {', '.join(theirs)}; the bundle predicts {', '.join(sorted(missing))} too.",
            next_step=f"Name the columns: {' '.join(f'--target {name}' for name in ours)}; "
            "or measure some with --only.",
        )
    return replace(dataset, targets={name: dataset.targets[name] for name in ours})


def score(model: Model, dataset: Dataset, around: Surroundings) -> Scored:
    """Read every row as the bundle reads its inputs, and run it."""
    return score_by_all(model, [model.servable.engine], dataset, around)[0]


def score_by_all(
    model: Model, engines: Sequence[Engine], dataset: Dataset, around: Surroundings
) -> tuple[Scored, ...]:
    """Read every row once as the bundle reads its inputs, and run it by several engines on the bundle's network."""
    servable = model.servable
    widths = {
        part_name(place, scores_output(name)): target.n_outputs
        for place in range(len(engines))
        for name, target in servable.targets.items()
    }
    together = Chorus(engines)
    decode = partial(servable.modality.decode, preprocessing=servable.preprocessing)
    runner = Runner(lambda: together, widths)
    reading = read_features(dataset, decode, runner, n_threads=2, progress=around.progress)
    parts = iter(np.split(reading.features, np.cumsum(list(widths.values()))[:-1], axis=1))
    return tuple(Scored(reading, {name: next(parts) for name in servable.targets}) for _ in engines)


def fitted_on(model: Model, reading: Reading) -> Array:
    """Tell of each row whether the bundle was fitted on its content, ``bool [n]``."""
    sides = model.servable.bundle.sides()
    return np.array([sides.get(one.content.hex()) in ("train", "valid") for one in reading.inspections], bool)
