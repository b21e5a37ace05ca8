"""Which of the engines that were tried a bundle is made for: the fastest whose answers are still those of the fit.

A pure function of what was measured. It starts nothing and measures nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from topwork.contracts import Estimate, Metrics
from topwork.report.quantities import is_share, metric_title
from topwork.report.verdicts import improvement
from topwork.steps.contenders import Tried

__all__ = [
    "DEEPEST_BOUND",
    "LARGEST_LOSS",
    "WORTH_IT",
    "Aim",
    "Election",
    "elect",
    "leading_metric",
    "objections",
]

Aim: TypeAlias = Literal["throughput", "latency", "size"]
"""What counts: many inputs at once, a single one, or how small the bundle is, and of equals many inputs at once."""

LARGEST_LOSS: Final = 0.005
"""What eight bits may lose on the test, measured: half a point of a share, or of another metric a part of its value."""
DEEPEST_BOUND: Final = 0.01
"""What they may lose at worst by the 95 % interval of that difference."""
WORTH_IT: Final = 1.05
"""How many times as fast the less exact of two must be to be taken."""


@dataclass(frozen=True, slots=True)
class Election:
    """The place of what is taken among those that were tried, and of each in words why it is or is not."""

    place: int
    reasons: tuple[str, ...]


def elect(tried: Sequence[Tried], aim: Aim) -> Election:
    """Choose the fastest that has no objection against it; of about equally fast ones the most exact.

    Parameters
    ----------
    tried
        The most exact first; the first of all is the reference, and was timed.
    """
    against = [objection_of(one, tried[0]) for one in tried]
    best = 0
    for place, one in enumerate(tried):
        if not against[place] and _is_better(one, tried[best], aim):
            best = place
    reasons = [
        "chosen" if place == best else against[place] or _slower(one, tried[best], aim)
        for place, one in enumerate(tried)
    ]
    return Election(best, tuple(reasons))


def objection_of(one: Tried, reference: Tried) -> str:
    """Return why one cannot be chosen however fast it is; empty where it can."""
    if one.problem:
        return one.problem
    if not one.contender.is_servable:
        return "for comparison alone: it runs modules, and a bundle holds a graph"
    if one.contender.precision != "int8":
        return ""
    if not one.difference:
        return "not chosen: without labelled data (--data) nothing shows what it loses"
    found = list(objections(one.difference, reference.metrics))
    return f"not chosen: {'; '.join(found)}" if found else ""


def objections(difference: Mapping[str, Metrics], reference: Mapping[str, Metrics]) -> Iterator[str]:
    """Yield what speaks against eight bits, target by target.

    Parameters
    ----------
    difference
        Metrics of eight bits minus those of the reference, paired row by row, by target.
    reference
        Metrics of the reference by target.
    """
    for name, metrics in difference.items():
        metric = leading_metric(metrics)
        if said := _objection(metric, metrics[metric], reference[name][metric].value):
            yield f"{name}: {said}" if len(difference) > 1 else said


def leading_metric(metrics: Metrics) -> str:
    """Return the metric that eight bits are judged by: accuracy where there is one, else the first that there is."""
    return "accuracy" if "accuracy" in metrics else next(iter(metrics))


def _objection(metric: str, difference: Estimate, reference: float) -> str:
    """Say what a loss of one metric has against it; the metric's value is what a part of it is taken of."""
    gain = improvement(metric, difference)
    scale = 1.0 if is_share(metric) else abs(reference) or 1.0
    title, unit = metric_title(metric), "points" if is_share(metric) else "%"
    if not gain.is_known:
        return f"nothing is known of its {title}"
    if gain.value < -LARGEST_LOSS * scale:
        return (
            f"it loses {-100 * gain.value / scale:.2f} {unit} of {title}, more than {100 * LARGEST_LOSS:.1f}"
        )
    if gain.low < -DEEPEST_BOUND * scale:
        return (
            f"it may lose {-100 * gain.low / scale:.2f} {unit} of {title} by the 95 % interval, more than "
            f"{100 * DEEPEST_BOUND:.0f}; more test rows would tell"
        )
    return ""


def _is_better(one: Tried, best: Tried, aim: Aim) -> bool:
    """Tell whether one is worth being less exact: faster by more than a little, and in most rounds."""
    if one is best or one.pace is None or best.pace is None:
        return False
    is_small = [each.contender.precision == "int8" for each in (one, best)]
    if aim == "size" and is_small[0] != is_small[1]:
        return is_small[0]
    ratio = one.pace.sooner(best.pace) if aim == "latency" else one.pace.times(best.pace)
    return ratio.median >= WORTH_IT and ratio.low > 1


def _slower(one: Tried, best: Tried, aim: Aim) -> str:
    """Say how much slower one is than what was chosen."""
    if one.pace is None or best.pace is None:
        return "not chosen"
    if aim == "size" and best.contender.precision == "int8" and one.contender.precision != "int8":
        return f"not chosen: {best.contender.name} is smaller"
    ratio = best.pace.sooner(one.pace) if aim == "latency" else best.pace.times(one.pace)
    if 1 / ratio.median >= WORTH_IT:
        return f"not chosen: {1 / ratio.median:.2f} times as fast, but not in three of four rounds"
    if ratio.median < 1:
        return f"not chosen: {1 / ratio.median:.2f} times as fast, which is not worth being less exact"
    return f"not chosen: {best.contender.name} is {ratio.median:.2f} times as fast"
