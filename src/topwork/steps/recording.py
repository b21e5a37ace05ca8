"""Putting a fit record together out of what the steps of a fit found."""

from __future__ import annotations

import platform
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from topwork.contracts import (
    Array,
    Chart,
    Dataset,
    DataSummary,
    Fitted,
    Gallery,
    Json,
    Metrics,
    Modality,
    Picture,
    Point,
    Rung,
    Section,
    Series,
    Shown,
    Split,
    SplitSummary,
    Table,
    Target,
    TargetResult,
    known_rows,
)
from topwork.data.check import Findings
from topwork.errors import DecodeError

__all__ = [
    "THUMBNAIL_PX",
    "VALIDATION_OVER_TIME",
    "WEIGHTS_OF_TARGETS",
    "Judged",
    "command_line",
    "judge",
    "metrics_json",
    "moment",
    "pictured",
    "platform_settings",
    "summarise_data",
    "summarise_split",
    "to_result_json",
    "told_of_weights",
    "told_on_the_way",
    "unknown_labels",
    "worst",
]

_N_PICTURES = 24
THUMBNAIL_PX = 160
WEIGHTS_OF_TARGETS = "What each target weighed"
"""Title of the table that `told_of_weights` makes."""
VALIDATION_OVER_TIME = "Validation over time"
"""Title of the chart that `told_on_the_way` draws."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Truth ``int64 [n]`` and scores ``[n, k]`` of the rows that a model is judged on, and the row numbers."""

    rows: Array
    truth: Array
    scores: Array


def moment(epoch_s: float) -> str:
    """Return a moment as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def platform_settings() -> dict[str, str]:
    """Name the Python and the system that computed."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def unknown_labels(target: Target, raw: Sequence[str | None]) -> str:
    """Say how many rows have a label that the model does not know and are therefore not counted; empty for none."""
    known = known_rows(target.encode(raw))
    unknown = Counter(
        label for label, is_known in zip(raw, known.tolist(), strict=True) if label and not is_known
    )
    if not unknown:
        return ""
    named = ", ".join(label for label, _ in unknown.most_common(10))
    n = unknown.total()
    rows = "1 row is" if n == 1 else f"{n:,} rows are"
    return f"{rows} not counted, because the model does not know their label: {named}."


def summarise_data(name: str, dataset: Dataset, findings: Findings) -> DataSummary:
    """Say what was read."""
    return DataSummary(
        name=name,
        modality=dataset.modality,
        layout=dataset.layout,
        understood=dataset.understood,
        n_listed=len(dataset) + len(dataset.rejected),
        n_used=len(findings.usable),
        rejected=findings.rejected,
        findings=findings.lines,
        class_counts=findings.class_counts,
    )


def summarise_split(split: Split, notes: tuple[str, ...] = ()) -> SplitSummary:
    """Say how many rows stood where, and what a reader of the result must know of it."""
    sizes = len(split.train), len(split.valid), len(split.test)
    return SplitSummary(split.method, split.seed, *sizes, (*split.notes, *notes))


def judge(
    target: Target,
    judged: Judged,
    pictures: Gallery | None,
    validation: Metrics,
    baselines: Mapping[str, Metrics],
) -> TargetResult:
    """Evaluate one target on rows that nothing was chosen on."""
    sections: tuple[Section, ...] = target.sections(judged.truth, judged.scores, 0)
    return TargetResult(
        task=target.task,
        labels=target.labels,
        main_metric=target.main_metric,
        validation=validation,
        test=target.evaluate(judged.truth, judged.scores, 0),
        baselines=baselines,
        sections=sections if pictures is None else (*sections, pictures),
        n_test=int(known_rows(judged.truth).sum()),
    )


def worst(
    target: Target, judged: Judged, dataset: Dataset, modality: Modality, *, with_pictures: bool
) -> Gallery:
    """Collect the gravest mistakes, with a thumbnail each where pictures may be kept."""
    found = target.mistakes(judged.truth, judged.scores, _N_PICTURES)
    rows = [int(judged.rows[one.row]) for one in found]
    title, caption = target.about_mistakes
    return Gallery(
        title,
        tuple(
            replace(
                pictured(dataset, row, modality, keep=with_pictures),
                caption=one.caption,
                truth=one.truth,
                predicted=one.predicted,
                probability=one.probability,
            )
            for row, one in zip(rows, found, strict=True)
        ),
        caption,
    )


def told_of_weights(rungs: Sequence[Rung]) -> tuple[Section, ...]:
    """Say what each of several targets weighed in the loss when each rung ended."""
    weighed = [one for one in rungs if one.weighs]
    if not weighed:
        return ()
    rows = tuple((name, *(f"{one.weighs[name]:.2f}" for one in weighed)) for name in weighed[0].weighs)
    caption = (
        "Relative to their mean, when the step ended, of losses in units of what ignoring the input costs. They are "
        "trained along: what is learnt well, and so costs little, weighs more, and none drowns the others."
    )
    return (Table(WEIGHTS_OF_TARGETS, ("target", *(one.name for one in weighed)), rows, caption),)


def told_on_the_way(fitted: Fitted, metrics: Collection[str] = ()) -> tuple[Section, ...]:
    """Draw what validation said while the ladder was climbed; ``metrics`` are the main ones of the targets."""
    rungs = list(dict.fromkeys(one.rung for one in fitted.history))
    if not rungs:
        return ()
    first = fitted.rungs[0]
    series = (
        [] if first.name in rungs else [Series(first.name, (Point(first.seconds, first.validation),), "dots")]
    )
    series += [
        Series(name, tuple(Point(one.seconds, one.score) for one in fitted.history if one.rung == name))
        for name in rungs
    ]
    chart = Chart(
        title=VALIDATION_OVER_TIME,
        x_label="time since fitting began",
        y_label=f"{'skill' if len(metrics) > 1 else 'main metric'} on validation rows",
        series=tuple(series),
        caption=(
            "Each rung starts from the best of those before it; nothing is chosen by this metric, but by "
            f"{first.loss_name}."
        ),
        x_kind="seconds",
        y_kind="share" if first.loss_name == "log loss" else "number",
    )
    return (chart,)


def pictured(dataset: Dataset, row: int, modality: Modality, *, keep: bool = True) -> Picture:
    """Return an item of a gallery that shows an input and says nothing of it yet.

    Nothing is shown where inputs are not to be kept, nor where one cannot be read any more.
    """
    shown = Shown()
    if keep:
        with suppress(DecodeError):  # readable a moment ago and gone now; the caption still tells what it was
            shown = modality.show(dataset.read(row), THUMBNAIL_PX)
    return Picture(dataset.keys[row], "", jpeg_base64=shown.jpeg_base64, pieces=shown.pieces)


def command_line(words: Sequence[str]) -> str:
    """Return a command as one would type it."""
    import shlex

    return shlex.join(words)


def to_result_json(targets: Mapping[str, TargetResult]) -> dict[str, Json]:
    """Return the part of the result that names targets, for `--json`."""
    return {
        name: {
            "task": one.task,
            "validation": metrics_json(one.validation),
            "test": metrics_json(one.test),
            "baselines": {baseline: metrics_json(metrics) for baseline, metrics in one.baselines.items()},
            "comparisons": {
                other.name: {
                    "metrics": metrics_json(other.metrics),
                    "difference": metrics_json(other.difference),
                }
                for other in one.comparisons
            },
        }
        for name, one in targets.items()
    }


def metrics_json(metrics: Metrics) -> dict[str, Json]:
    """Return metrics with their bounds; None stands for what JSON cannot hold."""
    return {
        name: {"value": _finite(m.value), "low": _finite(m.low), "high": _finite(m.high)}
        for name, m in metrics.items()
    }


def _finite(value: float) -> float | None:
    # JSON has no NaN and no infinity.
    return value if abs(value) <= sys.float_info.max else None
