"""The fit record: all that a report renders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from topwork.contracts.data import Rejected
from topwork.contracts.fitting import Forecast, Rung
from topwork.contracts.networks import TrunkCard
from topwork.contracts.sections import Chart, Section
from topwork.contracts.values import Estimate, Metrics

__all__ = [
    "Comparison",
    "DataSummary",
    "FitRecord",
    "Growth",
    "SplitSummary",
    "TargetResult",
    "TriedTrunk",
    "TrunkChoice",
]


@dataclass(frozen=True, slots=True)
class DataSummary:
    """What was read. ``findings`` are plain sentences: duplicates, leaks, imbalance, tiny classes."""

    name: str
    modality: str
    layout: str
    understood: tuple[str, ...]
    n_listed: int
    n_used: int
    rejected: tuple[Rejected, ...]
    findings: tuple[str, ...]
    class_counts: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """How many rows stood where, and how that came about."""

    method: str
    seed: int
    n_train: int
    n_valid: int
    n_test: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Another model on the same test rows.

    Attributes
    ----------
    name
        Such as ``classical baseline``, ``frozen network``, ``from scratch``, ``majority``.
    how
        One sentence on how it was made.
    metrics
        Its own.
    difference
        This model's metric minus its, paired row by row; where the interval holds 0, nothing is shown.
    seconds
        What fitting it took.
    """

    name: str
    how: str
    metrics: Metrics
    difference: Metrics
    seconds: float


@dataclass(frozen=True, slots=True)
class Growth:
    """How a target's main metric grows with the number of labelled examples.

    ``now`` and ``doubled`` are what the fitted curve says at the size at hand and at twice that size.
    """

    metric: str
    n_now: int
    now: Estimate
    doubled: Estimate
    chart: Chart
    note: str = ""


@dataclass(frozen=True, slots=True)
class TargetResult:
    """How good one target's predictions are on rows that nothing was chosen on.

    ``n_test`` counts the test rows that have a label; None in records of old.
    """

    task: str
    labels: tuple[str, ...]
    main_metric: str
    validation: Metrics
    test: Metrics
    baselines: Mapping[str, Metrics]
    sections: tuple[Section, ...]
    n_test: int | None = None
    comparisons: tuple[Comparison, ...] = ()
    growth: Growth | None = None


@dataclass(frozen=True, slots=True)
class TriedTrunk:
    """One of the trunks that a fit chose from; what was not found out is None.

    Attributes
    ----------
    log_me, h_score
        How well its features suit the labels before anything is fitted; more is better.
    loss
        What held-out rows of a small probe on it cost, by which trunks are chosen.
    score
        Main metric of the same held-out rows, averaged over the targets.
    seconds
        What trying it took.
    items_per_s
        Inputs that it last read and ran on this machine per second.
    note
        Why it was not tried to the end; empty where it was.
    """

    name: str
    n_parameters: int
    seconds: float
    log_me: float | None = None
    h_score: float | None = None
    loss: Estimate | None = None
    score: float | None = None
    items_per_s: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class TrunkChoice:
    """How a fit came to its trunk: what was tried on ``n_rows`` training rows, and ``why`` it took this one."""

    chosen: str
    why: str
    n_rows: int = 0
    loss_name: str = ""
    tried: tuple[TriedTrunk, ...] = ()


@dataclass(frozen=True, slots=True)
class FitRecord:
    """Everything about one fit or one evaluation that is worth telling; stored as JSON in the bundle.

    Attributes
    ----------
    kind
        ``fit``, or ``evaluation`` of a bundle on other data.
    created
        Moment it began, ISO 8601 in UTC.
    command
        The command that makes it again; of a call from Python, the call without its rarer options.
    seconds, seconds_to_first_model
        Since the process began, as far as that is known.
    settings
        What changes the result besides the command: seed, budget, engine, precision, threads, versions.
    plan
        What was going to be trained, as written down before it began; empty where nothing but a probe was.
    proof_seconds
        What each run of the proof took; they do not count as fitting.
    trunk_choice
        How the trunk was chosen, where the fit chose it.
    """

    kind: Literal["fit", "evaluation"]
    name: str
    created: str
    topwork: str
    command: str
    data: DataSummary
    split: SplitSummary
    trunk: TrunkCard
    recipe: str
    settings: Mapping[str, str]
    targets: Mapping[str, TargetResult]
    rungs: tuple[Rung, ...]
    seconds: float
    seconds_to_first_model: float
    n_cached: int
    notes: tuple[str, ...] = ()
    plan: Mapping[str, str] = field(default_factory=dict)
    forecasts: tuple[Forecast, ...] = ()
    proof_seconds: Mapping[str, float] = field(default_factory=dict)
    sections: tuple[Section, ...] = ()
    trunk_choice: TrunkChoice | None = None
    schema: int = 1
