"""The plain sentences at the top of a report: what the model can do, how sure that is, what it cost.

They say only what the record holds. It knows no layout and no markup; the labels in a sentence are
untrusted text, which whoever shows the sentence must escape.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING

from topwork.contracts import Comparison, Estimate, FitRecord, Gallery, Matrix, Section, Table, TargetResult
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
from topwork.report.verdicts import (
    ALONE,
    BLIND,
    Verdict,
    about_growth,
    against,
    headline,
    other_model,
    verdict,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "FEW_TEST_ROWS",
    "Confusion",
    "Topic",
    "about_target",
    "about_the_run",
    "baseline_title",
    "cautions",
    "headline",
    "largest_confusion",
    "listed_confusion",
    "methods",
    "n_label_issues",
    "n_test_of",
    "proof_total_s",
    "summary",
    "topics",
    "validation_metric",
]

FEW_TEST_ROWS = 100
"""Below this many test examples a report opens by saying that they are few."""

LABEL_ISSUES = "labels that look wrong"
"""A table or gallery whose title begins so holds one entry for each label to look at."""
_OFTEN_WRONG = 0.1
"""Share of wrong labels in the worst of ten much used data sets (Northcutt et al., *Pervasive Label Errors in Test Sets
Destabilize Machine Learning Benchmarks*, arXiv 2103.14749); where more look wrong, the model is often mistaken."""

CONFUSIONS = "most frequent confusions"
"""A table whose title begins so has pairs of classes, the most frequent first: the truth, what it was taken for, how
often, and of how many."""

_COUNT_FIRST = re.compile(r"(\d{1,9}|\d{1,3}(?:,\d{3})+) labels?\b", re.ASCII)
_JACKKNIFE = "the infinitesimal jackknife"
_METHODS = {
    **dict.fromkeys(("accuracy", "balanced_accuracy", "coverage", "exact_match"), "Wilson's interval"),
    **dict.fromkeys(("r2", "rmse", "mae", "hamming_loss", "rank_error"), "Student's interval"),
    **dict.fromkeys(("concordance", "cox_loss"), _JACKKNIFE),
}
"""How the intervals of metrics are found that have no bootstrap."""
_LONGEST_LABEL = 60
_ROWS_FOR_WEAKEST = 5


@dataclass(frozen=True, slots=True)
class Confusion:
    """The pair of classes that is confused most: ``count`` of the ``n_true`` rows of ``truth``, 0 if not known."""

    truth: str
    predicted: str
    count: int
    n_true: int


@dataclass(frozen=True, slots=True)
class Topic:
    """One question of a reader and the sentences that answer it."""

    title: str
    sentences: tuple[str, ...]


# --- what must be read first ----------------------------------------------------------------------------


def cautions(record: FitRecord) -> tuple[str, ...]:
    """Return what a reader must know before any number, the gravest first.

    A classical baseline that is as good, few test rows, chance, the split, the licence.
    """
    results = record.targets.items()
    return (
        *(line for name, result in results for line in _about_the_classical(record, name, result)),
        *_about_the_test(record),
        *(line for name, result in results for line in _about_chance(record, name, result)),
        *(note for note in record.split.notes if note.strip()),
        *_about_the_licence(record),
    )


def n_test_of(record: FitRecord, result: TargetResult) -> int:
    """Return how many test rows a target was measured on: those with a label, where that is known."""
    return record.split.n_test if result.n_test is None else result.n_test


def _about_the_classical(record: FitRecord, name: str, result: TargetResult) -> Iterator[str]:
    """Say it where a model without any pretrained network is as good, by the leading metric."""
    for one in result.comparisons:
        found = against(result, one)
        if not one.name.startswith("classical") or found is None:
            continue
        metric, shown = found
        title = f"{metric_title(metric)}{_of_target(record, name)}"
        if shown.standing == "undecided":
            yield (
                f"This model is not shown to be better than {other_model(one.name)}, which needs no pretrained "
                f"network: by {title}, {shown.words}. Use the simpler one unless something else speaks against it."
            )
        elif shown.standing == "worse":
            yield (
                f"This model is worse than {other_model(one.name)}, which needs no pretrained network: "
                f"by {title}, {shown.words}. Use the simpler one."
            )


def _about_the_test(record: FitRecord) -> Iterator[str]:
    counts = {name: n_test_of(record, result) for name, result in record.targets.items()}
    same = len(set(counts.values())) <= 1
    for name, n in [next(iter(counts.items()))] if same and counts else counts.items():
        of = "" if same else _of_target(record, name)
        if n == 0:
            yield f"There was no test example{of}: how good this model is on new data is not known."
        elif n < FEW_TEST_ROWS:
            yield (
                f"The test has only {counted(n, 'example')}{of}, so every score here is rough: "
                "read the intervals, not the single numbers."
            )


def _about_chance(record: FitRecord, name: str, result: TargetResult) -> Iterator[str]:
    """Say it where a leading metric is not shown to be better than a baseline, row by row where that is known."""
    of = _of_target(record, name)
    paired = {one.name: one for one in result.comparisons}
    for metric in dict.fromkeys((headline(result), result.main_metric)):
        for baseline, scores in result.baselines.items():
            if metric not in result.test or metric not in scores:
                continue
            if baseline in paired and metric in paired[baseline].difference:
                found = verdict(metric, paired[baseline].difference[metric])
                if found.standing in ("undecided", "worse"):
                    yield (
                        f"It is not shown to be better than {_guessing(baseline)}{of}: "
                        f"by {metric_title(metric)}, {found.words}."
                    )
            elif _reaches(metric, result.test[metric], scores[metric]):
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
    return tuple(sentence for topic in topics(record, name) for sentence in topic.sentences)


def topics(record: FitRecord, name: str) -> tuple[Topic, ...]:
    """Return the same as `about_target`, sorted by what a reader asks; what the record does not answer is left out."""
    result = record.targets[name]
    asked = (
        Topic("What it can do", tuple(_ability(result))),
        Topic("How sure that is", (*_certainty(record, result), *_against_others(result))),
        Topic("Together or alone", tuple(_together(result))),
        Topic("What it confuses", tuple(_confusions(result))),
        Topic("What would help most", tuple(_help(record, name, result))),
    )
    return tuple(topic for topic in asked if topic.sentences)


def about_the_run(record: FitRecord) -> tuple[str, ...]:
    """Return what is told once, however many targets there are: the cost, and what was left out."""
    return (*_cost(record), *_left_out(record))


def validation_metric(record: FitRecord) -> str:
    """Return the metric that validation of a step is told in: the main one, or the skill where targets have several."""
    metrics = {result.main_metric for result in record.targets.values()}
    return metrics.pop() if len(metrics) == 1 else "skill" if metrics else ""


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


def listed_confusion(table: Table) -> Confusion | None:
    """Return the pair that a table of confusions lists first; None where it lists none."""
    if not table.rows:
        return None
    truth, predicted, *counts = map(str, table.rows[0])
    count, n_true, *_ = (*(int(one.replace(",", "")) for one in counts), 0)
    return Confusion(truth, predicted, count, n_true)


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
    if "mae" in result.test:
        yield f"An answer is {spell('mae', result.test['mae'].value)} off on average."
    if "concordance" in result.test:
        share = percent(result.test["concordance"].value)
        yield f"Where it is known which of two had the event first, it gives that one the higher risk in {share}."
    if "coverage" in result.test:
        share = spell("coverage", result.test["coverage"].value)
        yield f"Of the true values {share} lay within the interval of their answer."


def methods(result: TargetResult) -> str:
    """Say how the intervals of a target's metrics are found."""
    if _METHODS.get(result.main_metric) == _JACKKNIFE:
        return f"Student’s, by {_JACKKNIFE}"
    if _METHODS.get(result.main_metric) == "Student's interval":
        return "Student’s for errors, Wilson’s for shares of examples"
    return "Wilson’s for shares of examples, a bootstrap for what is no share of examples"


def _certainty(record: FitRecord, result: TargetResult) -> Iterator[str]:
    metric = headline(result)
    n_test = n_test_of(record, result)
    if n_test and metric in result.test:
        method = _METHODS.get(metric, "by bootstrap")
        yield (
            f"That was measured on {counted(n_test, 'test example')}; with 95 % confidence the "
            f"true figure lies within {spell_interval(metric, result.test[metric])} ({method})."
        )


def _confusions(result: TargetResult) -> Iterator[str]:
    matrix, pairs = _square_matrix(result), _pairs(result)
    if matrix is not None and any(map(sum, matrix.counts)):
        worst = largest_confusion(matrix)
    elif pairs is not None and result.n_test != 0:
        worst = listed_confusion(pairs)
    else:
        return
    if worst is None:
        yield "It confused no two classes on the test examples."
    elif worst.count == 1:
        yield "It took no class for the same other one more than once."
    else:
        yield (
            f"What it confuses most is {_quoted(worst.truth)}, which it took for {_quoted(worst.predicted)} "
            f"in {_of_cases(worst)}."
        )


def _of_cases(worst: Confusion) -> str:
    if not worst.n_true:
        return counted(worst.count, "case")
    return f"{worst.count:,} of {counted(worst.n_true, 'case')}"


def _against_others(result: TargetResult) -> Iterator[str]:
    """Say how it stands against every other model on the same rows, in one sentence; guessing is told before."""
    clauses: dict[str, list[str]] = {}
    for one in result.comparisons:
        found = None if _is_blind(one.name) or one.name == ALONE else against(result, one)
        if found is not None and found[1].standing != "unknown":
            metric, shown = found
            clauses.setdefault(metric_title(metric), []).append(_clause(one, shown))
    for metric, found_of_metric in clauses.items():
        yield f"By {metric} on the same examples it is {_listed(found_of_metric)}."


def _together(result: TargetResult) -> Iterator[str]:
    """Say whether training the targets together helped this one."""
    one = next((one for one in result.comparisons if one.name == ALONE), None)
    found = None if one is None else against(result, one)
    if found is None or found[1].standing == "unknown":
        return
    title, shown = metric_title(found[0]), found[1]
    lead, other = "Training it together with the other targets", other_model(ALONE)
    if shown.standing == "undecided":
        figures = shown.figures or "none at all"
        yield f"{lead} is not shown to help or to harm: the difference in {title} to {other} is {figures}."
    elif shown.standing == "better":
        yield f"{lead} helped: against {other} its {title} is {shown.words}."
    else:
        yield f"{lead} harmed: against {other} its {title} is {shown.words}. Fit this target alone."


def _clause(one: Comparison, shown: Verdict) -> str:
    """Return such as ``better than the frozen network (by 8.1 points, 2.0 to 14.2)``."""
    other = other_model(one.name)
    if shown.standing == "undecided":
        return f"not shown to be better or worse than {other} ({shown.figures or 'the same score'})"
    standing, _, amount = shown.words.partition(" ")
    return f"{standing} than {other} ({amount})"


def _help(record: FitRecord, name: str, result: TargetResult) -> Iterator[str]:
    """Say what would help most as far as the record shows it, cheapest first; nothing where it shows nothing."""
    n_issues = n_label_issues(result.sections)
    if n_issues:
        them = "label that looks" if n_issues == 1 else "labels that look"
        doubted = f"the {counted(n_issues, them, them)} wrong"
        if n_issues > _OFTEN_WRONG * record.data.n_used:
            doubted = f"the first of {doubted}; of so many most will be right, and the model mistaken"
        yield f"What would help first is cheap: go through {doubted}."
    if result.growth is not None:
        yield about_growth(result.growth)
    alone = not n_issues and result.growth is None
    yield from _weakness(record, name, result, "The first thing to try is more examples of" if alone else "")


def n_label_issues(sections: Iterable[Section]) -> int:
    """Return how many labels look wrong: the entries shown, or more where a caption begins with their number."""
    found = [one for one in sections if one.title.lower().startswith(LABEL_ISSUES)]
    shown = [len(one.rows) for one in found if isinstance(one, Table)]
    shown += [len(one.pictures) for one in found if isinstance(one, Gallery)]
    counted_first = [_COUNT_FIRST.match(one.caption) for one in found]
    told = [int(match[1].replace(",", "")) for match in counted_first if match]
    return max([*shown, *told], default=0)


def _weakness(record: FitRecord, name: str, result: TargetResult, lead: str) -> Iterator[str]:
    """Say which class the record shows to be weakest; nothing where it shows none."""
    counts = record.data.class_counts.get(name, {})
    matrix = _square_matrix(result)
    if weakest := _weakest(matrix) if matrix else None:
        label, right, n_true = weakest
        has = record.kind == "fit" and label in counts
        known = f", and the data has {counted(counts[label], 'example')} of it" if has else ""
        yield (
            f"{lead or 'The weakest class is'} {_quoted(label)}: of its {n_true} test examples "
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
    proof_s = proof_total_s(record)
    proof = f"; the proof, which is not fitting, took another {duration(proof_s)}" if proof_s else ""
    steps = ", ".join(_cut(rung.name) for rung in record.rungs)
    how = f" in {counted(len(record.rungs), 'step')} ({steps})" if record.rungs else ""
    yield (
        f"Fitting took {duration(record.seconds)}{how}; "
        f"the first model stood after {duration(record.seconds_to_first_model)}{proof}."
    )


def proof_total_s(record: FitRecord) -> float:
    """Return the seconds that all runs of the proof took."""
    return sum(record.proof_seconds.values())


# --- finding things --------------------------------------------------------------------------------------


def _square_matrix(result: TargetResult) -> Matrix | None:
    matrices = (s for s in result.sections if isinstance(s, Matrix))
    return next((m for m in matrices if m.row_labels == m.column_labels), None)


def _pairs(result: TargetResult) -> Table | None:
    """Return the table that stands for the matrix where there are too many classes for one."""
    tables = (s for s in result.sections if isinstance(s, Table))
    return next((t for t in tables if t.title.lower().startswith(CONFUSIONS)), None)


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


def _of_target(record: FitRecord, name: str) -> str:
    return f" for {_quoted(name)}" if len(record.targets) > 1 else ""


def _listed(clauses: list[str]) -> str:
    """Join clauses as a sentence does; three and more by semicolons, for they hold commas."""
    return " and ".join(clauses) if len(clauses) < 3 else f"{'; '.join(clauses[:-1])}; and {clauses[-1]}"


def _doing(baseline: str) -> str:
    return other_model(baseline) if _is_blind(baseline) else baseline_title(baseline)


def _guessing(baseline: str) -> str:
    return "guessing" if baseline.startswith("majority") else _doing(baseline)


def _is_blind(name: str) -> bool:
    """Tell whether a model of this name ignores its input."""
    return name in BLIND or name.startswith("majority")


def _quoted(label: str) -> str:
    return f"“{_cut(label)}”"


def _cut(name: str) -> str:
    """Return a name on one line; a very long one is cut, for a sentence must stay one."""
    text = " ".join(clean(name).split())
    return f"{text[:_LONGEST_LABEL]}…" if len(text) > _LONGEST_LABEL else text
