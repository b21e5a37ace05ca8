"""What is going to be trained, written down before the first step.

A plan decides the weights: the same plan on the same data and machine gives the same weights at the same step.
Time can only cut it short. It knows no data and no network, only sizes and measured speeds.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import Literal

from topwork.contracts import Rates
from topwork.training.schedules import stage_rates

__all__ = [
    "Plan",
    "RungPlan",
    "Speed",
    "Subject",
    "describe_plan",
    "plan_from_json",
    "plan_rungs",
    "plan_to_json",
    "rung_s",
]

BATCH = 32
MOST_VARIANTS = 8
_EPOCHS = {"top": 10, "all": 10, "longer": 20}
_LEAST_STEPS = 100
_MOST_STEPS = 20_000
_OPTIMISERS = {"adamw": "AdamW", "sgd": "SGD"}
_WORTH_STEPS = 10
"""A rung that the budget allows fewer steps than this is not begun."""
_LEAST_LOOKS = 5
MOST_LOOKED = 1000
"""Validation rows of a look on the way: enough to tell good weights from better ones, at a bounded cost."""
_LEAST_EPOCHS = 2
"""Training all stages for less than this does harm more often than good."""
_TOP_SHARE = 0.3
"""Part of the time that the rung of the upper stages may take where deeper ones are to follow."""


@dataclass(frozen=True, slots=True)
class RungPlan:
    """One stretch of training.

    Attributes
    ----------
    n_below
        Stages from the input up that stay frozen.
    n_steps
        Optimiser steps.
    batch, n_parts
        Examples of a step, and in how many parts they are computed where memory is short.
    recompute
        Whether activations are computed twice in place of being kept.
    rates
        Peak learning rate of each trained stage from the lowest up, and of the heads at the end.
    n_variants
        With frozen stages: how many variants of each example are kept at the cut.
    smoothing
        Label smoothing.
    warmup
        Share of the steps in which the rates of one cycle go up.
    milestones
        Where rates go by steps in place of one cycle: the step at which they are up, and those after which they
        fall to a tenth; see `topwork.training.schedules.stepped`.
    optimiser
        ``adamw``, or ``sgd`` with a momentum of 0.9.
    mixup
        Both parameters of the beta distribution that examples are mixed by; 0 for no mixing.
    largest_gradient
        A longer gradient is cut to this length; 0 for never.
    check_every
        Steps between two looks at validation.
    n_looked
        Validation rows of these looks at most, drawn by the seed. The last look is at all of them.
    """

    name: str
    n_below: int
    n_steps: int
    batch: int
    rates: tuple[float, ...]
    check_every: int
    n_looked: int = MOST_LOOKED
    n_parts: int = 1
    recompute: bool = False
    n_variants: int = 0
    smoothing: float = 0.1
    weight_decay: float = 0.01
    average_decay: float = 0.98
    warmup: float = 0.2
    milestones: tuple[int, ...] = ()
    optimiser: Literal["adamw", "sgd"] = "adamw"
    mixup: float = 0.0
    largest_gradient: float = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """All rungs above the probe, and what else decides the weights.

    ``steps`` is how many were asked for, if any; ``device`` is where they are taken. ``kept_back_s`` decides nothing
    but when training ends for want of time: how much of it the last looks and what follows the recipe take.
    ``n_known`` is how many rows had features when the fit began with a sample, None where all had. ``contrast`` tells
    whether the network is tuned on pairs before the first rung. ``recipe`` is its name and settings. ``notes`` is what
    is to be told of whatever came before the first rung.
    """

    seed: int
    n_threads: int
    precision: str
    libraries: str
    data: str
    rungs: tuple[RungPlan, ...]
    steps: int | None = None
    device: str = "cpu"
    kept_back_s: float = 0.0
    n_known: int | None = None
    contrast: bool = False
    recipe: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Speed:
    """What a timed trial found: seconds of a step with all stages and of one with the upper ones only.

    ``fill_s`` is what computing the activations at the cut takes, for one variant of every example; ``check_s`` a
    look at all ``n_valid`` rows of validation with the whole network. ``most_variants`` of every example fit into
    memory at the cut. ``decode_s`` is what decoding every training row takes, which is done once where memory allows.
    """

    all_s: float
    top_s: float
    fill_s: float
    check_s: float
    most_variants: int = MOST_VARIANTS
    n_valid: int = 0
    decode_s: float = 0.0

    @property
    def row_s(self) -> float:
        """Return what a look at one row takes, decoding included."""
        return self.check_s / max(1, self.n_valid)

    @property
    def looks_s(self) -> tuple[float, float]:
        """Return seconds of a look on the way, and of one more at the end where that one is at more rows."""
        if self.n_valid <= MOST_LOOKED:
            return self.check_s, 0.0
        return self.check_s * MOST_LOOKED / self.n_valid, self.check_s


@dataclass(frozen=True, slots=True)
class Subject:
    """What is trained: training rows, stages of the network and those of them below the cut, and its rates.

    ``varies`` tells whether a row is shown another way in every epoch, as pictures are and texts are not.
    """

    n_rows: int
    n_stages: int
    n_below: int
    rates: Rates
    varies: bool = True


def plan_rungs(
    subject: Subject, speed: Speed, remaining_s: float, *, n_steps: int | None = None
) -> tuple[RungPlan, ...]:
    """Choose the rungs that fit into the time, or into a number of steps.

    The upper stages see rows that do not vary over and over again, and what they learn by heart no later rung forgets:
    of such rows they are trained by themselves only where there is no time for all stages.

    Returns
    -------
    tuple
        The upper stages, then all of them, then all of them for longer; fewer where time is short. Without a
        limit all of these, of which the last is climbed only if the one before was a gain.
    """
    batch = min(BATCH, max(1, subject.n_rows))
    per_epoch = max(1, subject.n_rows // batch)
    wanted = {name: _steps(epochs, per_epoch) for name, epochs in _EPOCHS.items()}
    is_enough = n_steps is not None or _is_enough(wanted, speed, remaining_s - speed.decode_s, per_epoch)
    if subject.n_below == 0 or speed.most_variants == 0 or (is_enough and not subject.varies):
        wanted.pop("top")
    chosen = (
        _within_steps(wanted, n_steps)
        if n_steps is not None
        else _within_time(wanted, speed, remaining_s, per_epoch)
    )
    rungs = (_rung(name, steps, per_epoch, batch, subject) for name, steps in chosen.items())
    return tuple(replace(rung, n_variants=min(rung.n_variants, speed.most_variants)) for rung in rungs)


def _steps(epochs: int, per_epoch: int) -> int:
    """Fewer epochs where there is much data, and never less than what it takes to learn something."""
    return min(_MOST_STEPS, max(_LEAST_STEPS, min(epochs * per_epoch, 600 + epochs * per_epoch // 4)))


def _within_steps(wanted: Mapping[str, int], n_steps: int) -> dict[str, int]:
    if "top" not in wanted:
        return {"all": n_steps}
    top = max(1, round(n_steps * 0.4))
    return {"top": top, "all": n_steps - top} if n_steps > top else {"top": top}


def _within_time(
    wanted: Mapping[str, int], speed: Speed, remaining_s: float, per_epoch: int
) -> dict[str, int]:
    chosen: dict[str, int] = {}
    left_s = remaining_s - speed.decode_s
    for name, steps in wanted.items():
        share = _share_of_top(wanted, speed, left_s, per_epoch) if name == "top" else 1.0
        affordable = _affordable(name, steps, speed, share * left_s, per_epoch)
        least = _WORTH_STEPS if name == "top" else max(_WORTH_STEPS, _least_steps(per_epoch))
        if affordable < least or (name == "longer" and affordable < wanted["all"]):
            continue
        chosen[name] = affordable
        left_s -= rung_s(name, affordable, speed, per_epoch)
    return chosen


def _share_of_top(wanted: Mapping[str, int], speed: Speed, left_s: float, per_epoch: int) -> float:
    """Return the part of the time that the upper stages may take: all of it where the rest is not enough for more.

    They learn several times faster.
    """
    return _TOP_SHARE if _is_enough(wanted, speed, (1 - _TOP_SHARE) * left_s, per_epoch) else 1.0


def _least_steps(per_epoch: int) -> int:
    return min(_LEAST_STEPS, _LEAST_EPOCHS * per_epoch)


def _is_enough(wanted: Mapping[str, int], speed: Speed, left_s: float, per_epoch: int) -> bool:
    """Tell whether the time is enough for the least that is worth it of all stages."""
    return _affordable("all", wanted["all"], speed, left_s, per_epoch) >= _least_steps(per_epoch)


def _affordable(name: str, most: int, speed: Speed, left_s: float, per_epoch: int) -> int:
    """Return the largest number of steps up to ``most`` that fits; the time of a rung grows with its steps."""
    return bisect_right(range(1, most + 1), left_s, key=lambda n: rung_s(name, n, speed, per_epoch))


def rung_s(name: str, n_steps: int, speed: Speed, per_epoch: int) -> float:
    """Return what a rung takes in seconds: its steps, its looks at validation, and what it keeps at the cut."""
    n_looks = 1 + max(_LEAST_LOOKS, ceil(n_steps / per_epoch))
    look_s, last_s = speed.looks_s
    looking_s = n_looks * look_s + last_s
    if name != "top":
        return n_steps * speed.all_s + looking_s
    n_variants = min(speed.most_variants, ceil(n_steps / per_epoch))
    from_cut = min(1.0, speed.top_s / speed.all_s)
    return n_variants * speed.fill_s + speed.check_s + n_steps * speed.top_s + looking_s * from_cut


def _rung(name: str, steps: int, per_epoch: int, batch: int, subject: Subject) -> RungPlan:
    n_below = subject.n_below if name == "top" else 0
    own = subject.rates
    rates = stage_rates(subject.n_stages, own.lowest, own.highest)[n_below:]
    return RungPlan(
        name=name,
        n_below=n_below,
        n_steps=steps,
        batch=batch,
        rates=(*rates, own.head),
        check_every=max(1, min(per_epoch, ceil(steps / _LEAST_LOOKS))),
        n_variants=min(MOST_VARIANTS, ceil(steps / per_epoch)) if n_below else 0,
    )


def plan_to_json(plan: Plan) -> str:
    """Write a plan."""
    return json.dumps(asdict(plan), sort_keys=True, indent=1)


def plan_from_json(text: str) -> Plan:
    """Read what `plan_to_json` wrote; raises ValueError, KeyError or TypeError for anything else."""
    fields = json.loads(text)
    if not isinstance(fields, dict):
        raise TypeError(f"A plan is an object of JSON, not a {type(fields).__name__}.")
    lists = (
        {"rates": tuple(one["rates"]), "milestones": tuple(one["milestones"])} for one in fields["rungs"]
    )
    rungs = tuple(RungPlan(**{**rung, **some}) for rung, some in zip(fields["rungs"], lists, strict=True))
    return replace(Plan(**{**fields, "rungs": (), "notes": tuple(fields.get("notes", ()))}), rungs=rungs)


def describe_plan(plan: Plan) -> dict[str, str]:
    """Return a plan as words for the record."""
    whole = {
        "seed": plan.seed,
        "threads": plan.n_threads,
        "device": plan.device,
        "precision": plan.precision,
        "libraries": plan.libraries,
    }
    return {name: str(value) for name, value in whole.items()} | {r.name: _describe(r) for r in plan.rungs}


def _describe(rung: RungPlan) -> str:
    rates = (
        f"{rung.rates[0]:.0e} at the lowest trained stage to {rung.rates[-2]:.0e}, head {rung.rates[-1]:.0e}"
    )
    kept = (
        f"; {rung.n_below} stages frozen, {rung.n_variants} variants of each example kept"
        if rung.n_below
        else ""
    )
    course = "falling by tenths" if rung.milestones else "one cycle"
    return (
        f"{rung.n_steps} steps of {rung.batch}, {_OPTIMISERS[rung.optimiser]}, {course}, peak rates {rates}; "
        f"weight decay {rung.weight_decay:g}, label smoothing {rung.smoothing:g}, "
        f"weights averaged with {rung.average_decay:g}{kept}"
    )
