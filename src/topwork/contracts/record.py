"""The fit record: all that a report renders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from topwork.contracts.data import Rejected
from topwork.contracts.fitting import Rung
from topwork.contracts.networks import TrunkCard
from topwork.contracts.sections import Section
from topwork.contracts.values import Metrics

__all__ = ["DataSummary", "FitRecord", "SplitSummary", "TargetResult"]


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
class TargetResult:
    """How good one target's predictions are on rows that nothing was chosen on."""

    task: str
    labels: tuple[str, ...]
    main_metric: str
    validation: Metrics
    test: Metrics
    baselines: Mapping[str, Metrics]
    sections: tuple[Section, ...]


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
        The command that makes it again.
    seconds, seconds_to_first_model
        Since the process began, as far as that is known.
    settings
        Every choice that changes the result: seed, budget, engine, precision, threads, versions.
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
    schema: int = 1
