"""What a difference between two models means, in plain words, and what more labels would bring.

A comparison holds this model's metric minus the other's; here it is turned so that above zero is better,
whatever the metric, and spelt in points of a percentage or in the metric's own unit. It knows no markup.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite, isnan
from typing import TYPE_CHECKING, Literal, TypeAlias

from topwork.contracts import Comparison, Estimate, Forecast, Growth, Rung, TargetResult
from topwork.evaluation.links import RELATIVE_LOSS
from topwork.report.quantities import (
    clean,
    is_share,
    lower_is_better,
    metric_title,
    of_unit,
    percent,
    spell,
    spell_interval,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ALONE",
    "BLIND",
    "ClimbRow",
    "ForecastRow",
    "Verdict",
    "about_growth",
    "about_loss",
    "against",
    "climb_rows",
    "doubling_gain",
    "forecast_rows",
    "gain_verdict",
    "headline",
    "hits_and_misses",
    "improvement",
    "loss_name",
    "other_model",
    "verdict",
]

Standing: TypeAlias = Literal["better", "worse", "undecided", "unknown"]

ALONE = "trained alone"
"""What a model is called that was trained for a single one of several targets."""

BLIND = {
    "majority": "always answering the most frequent class",
    "frequent labels": "always giving the most frequent labels",
    "same labels": "always giving the same labels",
    "mean": "always answering the mean",
    "median": "always answering the median",
    "same risk": "giving every input the same risk",
}
"""Models that ignore their input, and what they do."""

_LEAST_SHARE = 0.01
"""A doubling that brings less than one point at best is said to bring hardly anything."""

_LONGEST_NAME = 60
_MINUS = "\u2212"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How this model stands against another: the finding, and the figures behind it where it does not hold all."""

    standing: Standing
    lead: str
    figures: str = ""

    @property
    def words(self) -> str:
        """Return both as one piece: ``better by 8.1 points, 2.0 to 14.2``."""
        joint = ": " if self.standing == "undecided" else ", "
        return f"{self.lead}{joint}{self.figures}" if self.figures else self.lead


@dataclass(frozen=True, slots=True)
class ClimbRow:
    """One rung in words; what is not known is empty."""

    name: str
    chosen: bool
    seconds: float
    steps: str
    trained: str
    validation: str
    log_loss: str
    log_loss_interval: str
    gain: Verdict | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ForecastRow:
    """One forecast in words, and whether what came lay within its range; None where nothing was measured."""

    name: str
    expected: str
    actual: str
    held: bool | None
    said: str


# --- differences ----------------------------------------------------------------------------------------


def improvement(metric: str, difference: Estimate) -> Estimate:
    """Turn a difference so that above zero this model is better."""
    if not lower_is_better(metric):
        return difference
    return Estimate(-difference.value, -difference.high, -difference.low)


def verdict(metric: str, difference: Estimate) -> Verdict:
    """Say what a paired difference shows: nothing, wherever its interval holds zero."""
    gain = improvement(metric, difference)
    if isnan(gain.value) or isnan(gain.low) or isnan(gain.high):
        return Verdict("unknown", "the difference is not known")
    if gain.low > 0:
        return Verdict("better", f"better by {_amount(metric, gain.value)}", _range(metric, gain))
    if gain.high < 0:
        loss = Estimate(-gain.value, -gain.high, -gain.low)
        return Verdict("worse", f"worse by {_amount(metric, loss.value)}", _range(metric, loss))
    if gain.value == gain.low == gain.high == 0:
        return Verdict("undecided", "no difference at all")
    figures = f"{_amount(metric, gain.value)}, {_range(metric, gain)}"
    return Verdict("undecided", "no difference shown", figures)


def headline(result: TargetResult) -> str:
    """Return the metric to lead with: accuracy, which everybody understands, else the main one."""
    return "accuracy" if "accuracy" in result.test else result.main_metric


def against(result: TargetResult, comparison: Comparison) -> tuple[str, Verdict] | None:
    """Return the leading metric and how this model stands against another by it; None if it was not compared."""
    for metric in (headline(result), result.main_metric):
        if metric in comparison.difference:
            return metric, verdict(metric, comparison.difference[metric])
    return None


def other_model(name: str) -> str:
    """Return what another model is called within a sentence: ``the frozen network``."""
    if name in BLIND:
        return BLIND[name]
    if name.startswith("majority"):
        return BLIND["majority"]
    if name == ALONE:
        return "a model trained for it alone"
    if name.lower().replace("_", " ").startswith("from scratch"):
        return "the same network trained from scratch"
    plain = " ".join(clean(name).replace("_", " ").split())
    return f"the {plain[:_LONGEST_NAME]}…" if len(plain) > _LONGEST_NAME else f"the {plain}"


# --- growth ---------------------------------------------------------------------------------------------


def doubling_gain(growth: Growth) -> Estimate:
    """Return what doubling the labels would bring, above zero being better, with its range."""
    now = growth.now.value
    change = Estimate(growth.doubled.value - now, growth.doubled.low - now, growth.doubled.high - now)
    return improvement(growth.metric, change)


def about_growth(growth: Growth) -> str:
    """Return one sentence on what doubling the labels would bring, with its range."""
    metric, gain = growth.metric, doubling_gain(growth)
    lead = f"Twice the labelled examples ({2 * growth.n_now:,} instead of {growth.n_now:,})"
    if isnan(gain.value):
        return f"{lead}: what they would bring is not known."
    amount = f"about {_amount(metric, gain.value)} ({_range(metric, gain)})"
    ending = f"a gain in {metric_title(metric)} of {amount}, going by a learning curve."
    if gain.low > 0:
        return f"{lead} would help: {ending}"
    if is_share(metric) and gain.high < _LEAST_SHARE:
        return f"{lead} would hardly change anything: {ending}"
    return f"{lead} may help, which is not shown: {ending}"


# --- the climb and the forecasts ------------------------------------------------------------------------


def climb_rows(rungs: Sequence[Rung], metric: str) -> tuple[ClimbRow, ...]:
    """Return what each rung cost, gained and reached."""
    return tuple(_climb_row(rung, metric) for rung in rungs)


def loss_name(rungs: Sequence[Rung]) -> str:
    """Return what the loss is called by which rungs were compared."""
    return rungs[0].loss_name if rungs else ""


def about_loss(rungs: Sequence[Rung]) -> str:
    """Say what the loss of several targets is; empty where there is one."""
    if loss_name(rungs) != RELATIVE_LOSS:
        return ""
    return (
        "The relative loss is each target’s loss in units of what ignoring the input costs, averaged over the targets: "
        "0 is perfect, 1 is as good as knowing nothing. The skill is 1 less that."
    )


def gain_verdict(rung: Rung) -> Verdict | None:
    """Say whether a rung was a gain in validation loss; None where it was compared with nothing."""
    if rung.gain is None:
        return None
    # The gain of a rung is turned already: above zero is better.
    found = verdict("gain in nats", rung.gain)
    return replace(found, lead=found.lead.replace("no difference", "no gain"))


def forecast_rows(forecasts: Sequence[Forecast]) -> tuple[ForecastRow, ...]:
    """Return each forecast beside what came."""
    return tuple(_forecast_row(one) for one in forecasts)


def hits_and_misses(forecasts: Sequence[Forecast]) -> str:
    """Say how many forecasts held; empty where none was measured."""
    held = [row.held for row in forecast_rows(forecasts) if row.held is not None]
    if not held:
        return ""
    return f"{sum(held)} of {len(held)} forecasts held what came."


def _climb_row(rung: Rung, metric: str) -> ClimbRow:
    loss = rung.log_loss
    return ClimbRow(
        name=rung.name,
        chosen=rung.chosen,
        seconds=rung.seconds,
        steps="" if rung.n_steps is None else f"{rung.n_steps:,}",
        trained="" if rung.trained_share is None else percent(rung.trained_share),
        validation=spell(metric, rung.validation),
        log_loss="" if loss is None else spell("log_loss", loss.value),
        log_loss_interval="" if loss is None else spell_interval("log_loss", loss),
        gain=gain_verdict(rung),
        notes=rung.notes,
    )


def _forecast_row(one: Forecast) -> ForecastRow:
    expected = f"{of_unit(one.unit, one.low)} to {of_unit(one.unit, one.high)}"
    if one.actual is None or isnan(one.actual):
        return ForecastRow(one.name, expected, "", None, "not measured")
    actual = of_unit(one.unit, one.actual)
    if one.actual < one.low:
        return ForecastRow(one.name, expected, actual, False, "less than expected")
    if one.actual > one.high:
        return ForecastRow(one.name, expected, actual, False, "more than expected")
    return ForecastRow(one.name, expected, actual, True, "as expected")


# --- amounts --------------------------------------------------------------------------------------------


def _amount(metric: str, value: float) -> str:
    """Spell a change with its unit: ``8.1 points``."""
    return _bare(metric, value) + ("\u00a0points" if is_share(metric) else "")


def _range(metric: str, estimate: Estimate) -> str:
    return f"{_bare(metric, estimate.low)} to {_bare(metric, estimate.high)}"


def _bare(metric: str, value: float) -> str:
    if not isfinite(value):
        return "unbounded"
    text = f"{100 * value:.1f}" if is_share(metric) else f"{value:.3f}"
    return (text[1:] if float(text) == 0 and text.startswith("-") else text).replace("-", _MINUS)
