"""The plain sentences at the top of a report: what the model can do, how sure that is, what it cost.

They say only what the record holds. It knows no layout and no markup; the labels in a sentence are
untrusted text, which whoever shows the sentence must escape.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING

from topwork.contracts import Estimate, FitRecord, Matrix, TargetResult
from topwork.report.quantities import (
    clean,
    counted,
    duration,
    lower_is_better,
    metric_title,
    percent,
    spell,
    spell_interval,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "FEW_TEST_ROWS",
    "Confusion",
    "about_target",
    "about_the_run",
    "baseline_title",
    "cautions",
    "headline",
    "largest_confusion",
    "summary",
    "validation_metric",
]

FEW_TEST_ROWS = 100
"""Below this many test examples a report opens by saying that they are few."""

_LONGEST_LABEL = 60
_ROWS_FOR_WEAKEST = 5


@dataclass(frozen=True, slots=True)
class Confusion:
    """The cell off the diagonal with the most rows: ``count`` of the ``n_true`` rows of ``truth``."""

    truth: str
    predicted: str
    count: int
    n_true: int


# --- what must be read first ----------------------------------------------------------------------------


def cautions(record: FitRecord) -> tuple[str, ...]:
    """Return what a reader must know before any number: few test rows, chance, the split, the licence."""
    return (
        *_about_the_test(record),
        *(line for name, result in record.targets.items() for line in _about_chance(record, name, result)),
        *(note for note in record.split.notes if note.strip()),
        *_about_the_licence(record),
    )


def _about_the_test(record: FitRecord) -> Iterator[str]:
    n = record.split.n_test
    if n == 0:
        yield "There was no test example: how good this model is on new data is not known."
    elif n < FEW_TEST_ROWS:
        yield (
            f"The test has only {counted(n, 'example')}, so every score here is rough: "
            "read the intervals, not the single numbers."
        )


def _about_chance(record: FitRecord, name: str, result: TargetResult) -> Iterator[str]:
    """Say it where the interval of a leading metric reaches a baseline."""
    of = f" for {_quoted(name)}" if len(record.targets) > 1 else ""
    for metric in dict.fromkeys((headline(result), result.main_metric)):
        for baseline, scores in result.baselines.items():
            if (
                metric in result.test
                and metric in scores
                and _reaches(metric, result.test[metric], scores[metric])
            ):
                yield (
                    f"It is not shown to be better than {_guessing(baseline)}{of}: the interval of its "
                    f"{metric_title(metric)}, {spell_interval(metric, result.test[metric])}, "
                    f"reaches {spell(metric, scores[metric].value)}, which {_doing(baseline)} scores."
                )


def _about_the_licence(record: FitRecord) -> Iterator[str]:
    if not record.trunk.commercial:
        yield (
            f"The pretrained network {record.trunk.name} has a licence that excludes commercial use "
            f"({record.trunk.licence}); that binds this model too."
        )


def _reaches(metric: str, estimate: Estimate, baseline: Estimate) -> bool:
    if isnan(estimate.value) or isnan(baseline.value):
        return False
    if lower_is_better(metric):
        return estimate.high >= baseline.value
    return estimate.low <= baseline.value


# --- about five sentences --------------------------------------------------------------------------------


def summary(record: FitRecord, name: str) -> tuple[str, ...]:
    """Return about five sentences: what the model does for one target, then what is told of the whole run."""
    return (*about_target(record, name), *about_the_run(record))


def about_target(record: FitRecord, name: str) -> tuple[str, ...]:
    """Return what a target's predictions are worth: ability, certainty, confusion, and what would help."""
    result = record.targets[name]
    return (
        *_ability(result),
        *_certainty(record, result),
        *_confusions(result),
        *_weakness(record, name, result),
    )


def about_the_run(record: FitRecord) -> tuple[str, ...]:
    """Return what is told once, however many targets there are: what was left out, and the cost."""
    return (*_left_out(record), *_cost(record))


def headline(result: TargetResult) -> str:
    """Return the metric to lead with: accuracy, which everybody understands, else the main one."""
    return "accuracy" if "accuracy" in result.test else result.main_metric


def validation_metric(record: FitRecord) -> str:
    """Return the metric by which steps were compared; empty where the targets have several."""
    metrics = {result.main_metric for result in record.targets.values()}
    return metrics.pop() if len(metrics) == 1 else ""


def baseline_title(name: str) -> str:
    """Return what a baseline is called beside a figure."""
    return "most frequent class" if name.startswith("majority") else name.replace("_", " ")


def largest_confusion(matrix: Matrix) -> Confusion | None:
    """Return the largest cell off the diagonal, the first among equals; None where all are empty."""
    cells = [
        (count, -row, -column)
        for row, counts in enumerate(matrix.counts)
        for column, count in enumerate(counts)
        if matrix.row_labels[row] != matrix.column_labels[column]
    ]
    count, row, column = max(cells, default=(0, 0, 0))
    if count == 0:
        return None
    return Confusion(matrix.row_labels[-row], matrix.column_labels[-column], count, sum(matrix.counts[-row]))


def _ability(result: TargetResult) -> Iterator[str]:
    metric = headline(result)
    if metric not in result.test or isnan(result.test[metric].value):
        yield "How good it is could not be measured."
        return
    value = spell(metric, result.test[metric].value)
    lead = (
        f"it is right {value} of the time"
        if metric == "accuracy"
        else f"its {metric_title(metric)} is {value}"
    )
    against = "; ".join(
        f"{_doing(name)} would score {spell(metric, scores[metric].value)}"
        for name, scores in result.baselines.items()
        if metric in scores
    )
    yield f"On examples it did not learn from, {lead}" + (f"; {against}." if against else ".")


def _certainty(record: FitRecord, result: TargetResult) -> Iterator[str]:
    metric = headline(result)
    if record.split.n_test and metric in result.test:
        method = "Wilson's interval" if metric.endswith("accuracy") else "by bootstrap"
        yield (
            f"That was measured on {counted(record.split.n_test, 'test example')}; with 95 % confidence the "
            f"true figure lies within {spell_interval(metric, result.test[metric])} ({method})."
        )


def _confusions(result: TargetResult) -> Iterator[str]:
    matrix = _square_matrix(result)
    if matrix is None or not any(map(sum, matrix.counts)):
        return
    worst = largest_confusion(matrix)
    if worst is None:
        yield "It confused no two classes on the test examples."
    elif worst.count == 1:
        yield "It confused no two classes with each other more than once."
    else:
        yield (
            f"What it confuses most is {_quoted(worst.truth)}, which it took for {_quoted(worst.predicted)} "
            f"in {worst.count} of {counted(worst.n_true, 'case')}."
        )


def _weakness(record: FitRecord, name: str, result: TargetResult) -> Iterator[str]:
    """Say what the record shows to be weak, weakest first; nothing where it shows nothing."""
    counts = record.data.class_counts.get(name, {})
    matrix = _square_matrix(result)
    if weakest := _weakest(matrix) if matrix else None:
        label, right, n_true = weakest
        has = record.kind == "fit" and label in counts
        known = f", and the data has {counted(counts[label], 'example')} of it" if has else ""
        yield (
            f"The first thing to try is more examples of {_quoted(label)}: of its {n_true} test examples "
            f"{right} {'was' if right == 1 else 'were'} right ({percent(right / n_true)}){known}."
        )
    elif counts:
        yield _about_smallest(counts)


def _left_out(record: FitRecord) -> Iterator[str]:
    if n := len(record.data.rejected):
        yield f"{counted(n, 'input')} of {record.data.n_listed:,} could not be used and may be worth repairing."


def _about_smallest(counts: Mapping[str, int]) -> str:
    label = min(counts, key=lambda key: counts[key])
    return f"The class with the fewest examples is {_quoted(label)}, with {counts[label]:,}."


def _cost(record: FitRecord) -> Iterator[str]:
    if record.kind == "evaluation":
        yield f"Evaluating it took {duration(record.seconds)}; nothing was fitted."
        return
    steps = ", ".join(rung.name for rung in record.rungs)
    how = f" in {counted(len(record.rungs), 'step')} ({steps})" if record.rungs else ""
    yield (
        f"Fitting took {duration(record.seconds)}{how}; "
        f"the first model stood after {duration(record.seconds_to_first_model)}."
    )


# --- finding things --------------------------------------------------------------------------------------


def _square_matrix(result: TargetResult) -> Matrix | None:
    matrices = (s for s in result.sections if isinstance(s, Matrix))
    return next((m for m in matrices if m.row_labels == m.column_labels), None)


def _weakest(matrix: Matrix) -> tuple[str, int, int] | None:
    """Return label, right and all rows of the class with the lowest recall, if it is ever wrong."""
    rows = [
        (counts[i], sum(counts), label)
        for i, (label, counts) in enumerate(zip(matrix.row_labels, matrix.counts, strict=True))
    ]
    known = [(right / n, right, n, label) for right, n, label in rows if n >= _ROWS_FOR_WEAKEST and right < n]
    if not known:
        return None
    _, right, n, label = min(known, key=lambda row: row[0])
    return label, right, n


def _doing(baseline: str) -> str:
    return (
        "always answering the most frequent class"
        if baseline.startswith("majority")
        else baseline_title(baseline)
    )


def _guessing(baseline: str) -> str:
    return "guessing" if baseline.startswith("majority") else baseline_title(baseline)


def _quoted(label: str) -> str:
    """Quote a label; a very long one is cut, for a sentence must stay one."""
    text = " ".join(clean(label).split())
    return f"“{text[:_LONGEST_LABEL]}…”" if len(text) > _LONGEST_LABEL else f"“{text}”"
