"""`compare`: two bundles and labelled data in, their metrics and the paired differences out.

Both answer the same rows, each reading them as it was fitted to. Neither may have been fitted on any of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from topwork.contracts import (
    Array,
    Dataset,
    Metrics,
    Target,
    has_classes,
    has_one_label,
    known_rows,
    row_numbers,
)
from topwork.data.check import Findings, examine
from topwork.data.reading import read
from topwork.errors import DataError, UsageError
from topwork.steps.duplicates import near_pairs
from topwork.steps.events import with_events_again
from topwork.steps.options import FitOptions, Surroundings
from topwork.verbs.model import Model
from topwork.verbs.predicting import load
from topwork.verbs.scoring import Scored, fitted_on, require_modality, score

__all__ = ["BundleComparison", "Disagreement", "TargetComparison", "compare"]

_N_DISAGREEMENTS = 50
_N_LABELS = 10


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A row that the two answer differently: its name in the data, its label there, and what each says."""

    key: str
    truth: str
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class TargetComparison:
    """One target of two models on the same rows.

    Attributes
    ----------
    a, b
        The metrics of each.
    difference
        Each metric of a minus that of b, paired row by row.
    n_rows
        Rows that count: labelled, and neither model was fitted on them.
    n_both_right, n_only_a_right, n_only_b_right, n_both_wrong
        The same rows by who is right; all 0 of numbers, which are neither right nor wrong.
    n_disagreements
        Rows that the two label differently, rows where both are wrong among them.
    disagreements
        Fifty of these at most, those where one is right first; of numbers those that differ most.
    """

    main_metric: str
    a: Metrics
    b: Metrics
    difference: Metrics
    n_rows: int
    n_both_right: int
    n_only_a_right: int
    n_only_b_right: int
    n_both_wrong: int
    n_disagreements: int
    disagreements: tuple[Disagreement, ...]


@dataclass(frozen=True, slots=True)
class BundleComparison:
    """Two bundles on the same rows: their names, every common target, and what to know when reading it."""

    a: str
    b: str
    targets: Mapping[str, TargetComparison]
    notes: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class _Pair:
    """What a target is called in either bundle and in the data."""

    a: str
    b: str
    data: str


@dataclass(frozen=True, slots=True, eq=False)
class _Told:
    """The labels and scores ``[n, k]`` of one model for the rows that count."""

    target: Target
    scores: Array


def compare(
    a: str | Path,
    b: str | Path,
    data: str | Path,
    *,
    options: FitOptions | None = None,
    around: Surroundings | None = None,
) -> BundleComparison:
    """Compare two bundles on labelled data.

    Rows that either was fitted on are left out, and so are near copies of these. Targets that both predict are
    compared. A row whose label one of the two does not know counts as wrong for it.

    Parameters
    ----------
    a, b
        The bundles; a difference is a minus b.
    data
        Labelled inputs, in any layout that `fit` reads.
    options
        The columns and the layout count; nothing else of it does.

    Raises
    ------
    DataError
        No row is left that neither was fitted on, or none has a label that either knows.
    UsageError
        The two predict different things.
    """
    options, around = options or FitOptions(), around or Surroundings()
    began_s = around.clock() if around.began_s is None else around.began_s
    models = load(a, around=around), load(b, around=around)
    dataset = read(Path(data), options.reading())
    dataset = with_events_again(dataset, options.event, [model.servable for model in models])
    for model in models:
        require_modality(model, dataset)
    pairs, notes = _pairs(models, dataset)
    for line in (dataset.layout, *dataset.understood):
        around.progress.say(line)
    scored = score(models[0], dataset, around), score(models[1], dataset, around)
    findings = _look(models[0], dataset, scored[0], around)
    rows, left_out = _unseen(models, scored, findings)
    found: dict[str, TargetComparison] = {}
    for name, pair in pairs.items():
        told = (
            _Told(models[0].servable.targets[pair.a], scored[0].scores[pair.a][rows]),
            _Told(models[1].servable.targets[pair.b], scored[1].scores[pair.b][rows]),
        )
        raw = [dataset.targets[pair.data][row] for row in rows]
        found[name], unknown = _compare(told, raw, [dataset.keys[row] for row in rows])
        notes += tuple(f"{name}: {one}" if len(pairs) > 1 else one for one in unknown)
    names = _names(Path(a), Path(b))
    return BundleComparison(*names, found, (*left_out, *notes), around.clock() - began_s)


# --- what is compared -----------------------------------------------------------------------------------


def _pairs(models: tuple[Model, Model], dataset: Dataset) -> tuple[dict[str, _Pair], tuple[str, ...]]:
    """Find the targets that both predict and the data have labels for, by the first bundle's names."""
    ours, theirs = (dict(model.servable.targets) for model in models)
    given = list(dataset.targets)
    pairs = [p for p in _candidates(list(ours), list(theirs), given) if _fit(ours[p.a], theirs[p.b])]
    if not pairs:
        raise UsageError(
            f"{_predicts(models[0])}; {_predicts(models[1])}. Expected a target that both predict, with a label "
            "that both know.",
            next_step="Compare bundles that were fitted for the same labels.",
        )
    here = [pair for pair in pairs if pair.data in given]
    if not here:
        raise DataError(
            f"The data have labels for {', '.join(given)}; both bundles predict {', '.join(p.a for p in pairs)}.",
            next_step=f"Name the columns: {' '.join(f'--target {pair.a}' for pair in pairs)}",
        )
    others = sorted({*ours, *theirs} - {p.a for p in here} - {p.b for p in here})
    notes = [f"Not compared: {', '.join(others)}."] if others else []
    notes += [f"{p.b!r} of the second bundle is taken for {p.a!r} of the first." for p in here if p.a != p.b]
    return {pair.a: pair for pair in here}, tuple(notes)


def _candidates(ours: list[str], theirs: list[str], given: list[str]) -> list[_Pair]:
    """Pair targets by name; where each bundle has one only, that is it, and so is the only column of labels."""
    if len(ours) == len(theirs) == 1:
        column = next((name for name in (*ours, *theirs) if name in given), ours[0])
        return [_Pair(ours[0], theirs[0], given[0] if len(given) == 1 else column)]
    return [_Pair(name, name, name) for name in ours if name in theirs]


def _fit(one: Target, other: Target) -> bool:
    return one.task == other.task and (
        one.labels == other.labels or bool(set(one.labels) & set(other.labels))
    )


def _predicts(model: Model) -> str:
    told = (
        f"{name} ({_listed(target.labels) or target.task})" for name, target in model.servable.targets.items()
    )
    return f"{model.path.name} predicts {', '.join(told)}"


def _names(a: Path, b: Path) -> tuple[str, str]:
    """Call bundles by their stems, by their paths where the stems are the same."""
    return (a.stem, b.stem) if a.stem != b.stem else (str(a), str(b))


# --- the rows that count --------------------------------------------------------------------------------


def _look(model: Model, dataset: Dataset, scored: Scored, around: Surroundings) -> Findings:
    """Check the data as a fit would."""
    pairs = near_pairs(scored.reading, model.servable.modality)
    targets = model.servable.targets
    counted = {name for name, one in targets.items() if has_one_label(one.link)}
    # The only target may have another name in the data.
    numeric = (
        () if len(counted) == len(targets) else [name for name in dataset.targets if name not in counted]
    )
    findings = examine(dataset, scored.reading.inspections, pairs, numeric)
    for line in findings.lines:
        around.progress.say(line)
    return findings


def _unseen(
    models: tuple[Model, Model], scored: tuple[Scored, Scored], findings: Findings
) -> tuple[Array, tuple[str, ...]]:
    """Leave out what either model was fitted on, near copies of it, and what either cannot read."""
    read_by_b = np.array([one.problem is None for one in scored[1].reading.inspections], bool)
    usable = findings.usable[read_by_b[findings.usable]]
    seen = [fitted_on(model, one.reading) for model, one in zip(models, scored, strict=True)]
    copied = np.isin(findings.units, findings.units[seen[0] | seen[1]])
    rows = usable[row_numbers(~copied[usable])]
    n_seen = [int(one[usable].sum()) for one in seen]
    n_left_out = len(usable) - len(rows)
    if not len(rows):
        raise DataError(
            f"Of {len(findings.units)} rows, {len(usable)} can be used; {models[0].path.name} was fitted on "
            f"{n_seen[0]} of these, {models[1].path.name} on {n_seen[1]}, and nothing is left to compare them on.",
            next_step="Give labelled data that neither has seen, or fit both with the same --seed on the same data.",
        )
    note = (
        f"{_rows(n_left_out)} left out because a bundle was fitted on them or on near copies of them: "
        f"{n_seen[0]} by the first, {n_seen[1]} by the second."
    )
    return rows, ((note,) if n_left_out else ())


# --- the comparison -------------------------------------------------------------------------------------


def _compare(
    told: tuple[_Told, _Told], raw: Sequence[str | None], keys: Sequence[str]
) -> tuple[TargetComparison, tuple[str, ...]]:
    """Compare two models over the labels that either knows."""
    joint = told[0].target.joint(told[1].target)
    truth = joint.encode(raw)
    counted = row_numbers(known_rows(truth))
    if not len(counted):
        raise DataError(
            f"No row has a label that the bundles know; they know {_listed(joint.labels) or 'numbers'}, the data have "
            f"{_listed(sorted({one for one in raw if one is not None}))}.",
            next_step="Name the folders or the values of the label column as at the time of the fit.",
        )
    notes = _notes(told, raw, truth, joint)
    truth, keys = truth[counted], [keys[row] for row in counted]
    a, b = (joint.adopt(one.target, one.scores)[counted] for one in told)
    count = _by_distance if truth.dtype.kind == "f" else _by_label
    difference = joint.compare(truth, a, b, 0)
    comparison = TargetComparison(
        main_metric=joint.main_metric,
        a=_only(joint.evaluate(truth, a, 0), difference),
        b=_only(joint.evaluate(truth, b, 0), difference),
        difference=difference,
        n_rows=len(truth),
        **count(joint, keys, truth, a, b),
    )
    return comparison, notes


def _only(metrics: Metrics, difference: Metrics) -> Metrics:
    """Return the metrics that the two can be compared by."""
    return {name: one for name, one in metrics.items() if name in difference}


def _by_label(joint: Target, keys: Sequence[str], truth: Array, a: Array, b: Array) -> dict[str, Any]:
    """Count who is right, and name rows that the two label differently; of several labels all must be the same."""
    said_a, said_b = joint.said(a), joint.said(b)
    right_a, right_b = _same(said_a, truth), _same(said_b, truth)
    return {
        "n_both_right": int((right_a & right_b).sum()),
        "n_only_a_right": int((right_a & ~right_b).sum()),
        "n_only_b_right": int((right_b & ~right_a).sum()),
        "n_both_wrong": int((~right_a & ~right_b).sum()),
        "n_disagreements": int((~_same(said_a, said_b)).sum()),
        "disagreements": _disagreements(joint, keys, truth, said_a, said_b),
    }


def _by_distance(joint: Target, keys: Sequence[str], truth: Array, a: Array, b: Array) -> dict[str, Any]:
    """Name the rows whose two numbers are furthest apart."""
    apart, said_a, said_b = np.abs(a[:, 0] - b[:, 0]), joint.said(a), joint.said(b)
    furthest = np.argsort(-apart, kind="stable")[:_N_DISAGREEMENTS]
    return {
        **dict.fromkeys(("n_both_right", "n_only_a_right", "n_only_b_right", "n_both_wrong"), 0),
        "n_disagreements": int((apart > 0).sum()),
        "disagreements": tuple(
            Disagreement(keys[row], *(joint.spell(one) for one in (truth[row], said_a[row], said_b[row])))
            for row in furthest
            if apart[row] > 0
        ),
    }


def _same(one: Array, other: Array) -> Array:
    """Tell of each row whether two encoded truths are the same, ``bool [n]``."""
    return np.asarray((one == other).all(axis=tuple(range(1, one.ndim))))


def _disagreements(
    joint: Target, keys: Sequence[str], truth: Array, said_a: Array, said_b: Array
) -> tuple[Disagreement, ...]:
    differ = row_numbers(~_same(said_a, said_b))
    neither = ~_same(said_a[differ], truth[differ]) & ~_same(said_b[differ], truth[differ])
    shown = differ[np.argsort(neither, kind="stable")][:_N_DISAGREEMENTS]
    return tuple(
        Disagreement(keys[row], *(joint.spell(one[row]) for one in (truth, said_a, said_b))) for row in shown
    )


def _notes(
    told: tuple[_Told, _Told], raw: Sequence[str | None], truth: Array, joint: Target
) -> tuple[str, ...]:
    """Say how many rows have a label that one of the two does not know, or neither."""
    if not has_classes(joint.link):
        return tuple(_never_given(told, joint))
    found = []
    for which, one in zip(("first", "second"), told, strict=True):
        new = [label for label in joint.labels if label not in one.target.labels]
        n = int((~known_rows(one.target.encode(raw)[known_rows(truth)])).sum())
        if n:
            found.append(
                f"The {which} bundle does not know {_listed(new)}; {n} {'row' if n == 1 else 'rows'} so labelled "
                "count as wrong for it, with the highest log loss that is counted."
            )
    strange = [one for one in raw if one is not None and joint.labels and one not in joint.labels]
    if strange:
        found.append(
            f"{_rows(len(strange))} left out because neither bundle knows their label: "
            f"{_listed(sorted(set(strange)))}."
        )
    return tuple(found)


def _never_given(told: tuple[_Told, _Told], joint: Target) -> Iterator[str]:
    """Say which labels one of the two cannot give, where a row may have several."""
    for which, one in zip(("first", "second"), told, strict=True):
        if new := [label for label in joint.labels if label not in one.target.labels]:
            yield f"The {which} bundle does not know {_listed(new)}, and never gives what it does not know."


def _rows(n: int) -> str:
    return "1 row was" if n == 1 else f"{n:,} rows were"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_N_LABELS]) + (
        f" and {len(names) - _N_LABELS:,} more" if len(names) > _N_LABELS else ""
    )
