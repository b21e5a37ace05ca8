"""Tasks, targets and recipes: what a model is for, and how it is fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from topwork.contracts.data import Fold
from topwork.contracts.networks import LinearHead
from topwork.contracts.sections import Section
from topwork.contracts.values import Array, Budget, Json, Metrics, Progress

__all__ = ["FitJob", "Fitted", "Goal", "Link", "Mistake", "Recipe", "Rung", "Target", "Task"]

Link: TypeAlias = Literal["softmax"]
"""How scores become predictions; a probe solver exists for each. It grows with the tasks that need one."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A test row that the model got most confidently wrong."""

    row: int
    caption: str


class Target(Protocol):
    """One column to predict, its labels fixed by the training data."""

    @property
    def task(self) -> str:
        """Name of the task that made it."""
        ...

    @property
    def link(self) -> Link:
        """How its scores become predictions."""
        ...

    @property
    def n_outputs(self) -> int:
        """Return k, the number of scores for one input."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the k scores, in their order."""
        ...

    @property
    def main_metric(self) -> str:
        """Name of the metric by which a person compares models."""
        ...

    def state(self) -> Mapping[str, Json]:
        """Return what `Task.restore` reads back."""
        ...

    def encode(self, raw: Sequence[str | None]) -> Array:
        """Turn raw labels into what the loss takes; ``int64 [n]`` with -1 for missing or unknown labels."""
        ...

    def evaluate(self, truth: Array, scores: Array, seed: int) -> Metrics:
        """Compare encoded truth ``[n]`` with scores ``[n, k]``, each metric with its interval."""
        ...

    def baselines(self, truth_train: Array, truth_test: Array, seed: int) -> Mapping[str, Metrics]:
        """Return what a model that ignores its input would score."""
        ...

    def sections(self, truth: Array, scores: Array, seed: int) -> tuple[Section, ...]:
        """Tables and matrices for the report."""
        ...

    def mistakes(self, truth: Array, scores: Array, limit: int) -> tuple[Mistake, ...]:
        """Return the most confidently wrong rows first; ``row`` counts from 0 within ``truth``."""
        ...

    def answer(self, scores: Array) -> Mapping[str, Json]:
        """Turn the scores ``[k]`` of one input into the prediction that a client sees."""
        ...

    def answer_schema(self) -> Mapping[str, Json]:
        """JSON Schema of `answer`."""
        ...


class Task(Protocol):
    """What for: a kind of target. It knows nothing of schedules or trunks."""

    @property
    def name(self) -> str:
        """Return the name, such as ``classification``."""
        ...

    @property
    def needs(self) -> frozenset[str]:
        """What a trunk must offer for it."""
        ...

    def learn(self, raw: Sequence[str | None]) -> Target:
        """Fix the labels from training values.

        Raises
        ------
        DataError
            There is nothing to learn, such as a single class.
        """
        ...

    def restore(self, state: Mapping[str, Json]) -> Target:
        """Rebuild a target from `Target.state`."""
        ...


@dataclass(frozen=True, slots=True)
class Goal:
    """One target as a recipe sees it: encoded truth ``int64 [n]`` (-1 where missing), link and width."""

    truth: Array
    link: Link
    n_outputs: int


@dataclass(frozen=True, slots=True)
class FitJob:
    """All that a recipe may use. Nothing of the test side is in it.

    ``features`` is ``float32 [n, d]`` over the rows of ``goals``; folds and units count the same rows.
    """

    features: Array
    goals: Mapping[str, Goal]
    folds: tuple[Fold, ...]
    seed: int
    budget: Budget
    progress: Progress


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of a fit: what it cost and what validation said.

    ``validation`` is the main metric of the targets, averaged where there are several.
    """

    name: str
    seconds: float
    validation: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a recipe gives back: a calibrated head per target, and held-out scores ``[n, k]``.

    A row of ``held_out`` that no fold held out is NaN.
    """

    heads: Mapping[str, LinearHead]
    held_out: Mapping[str, Array]
    notes: tuple[str, ...] = ()


class Recipe(Protocol):
    """*How* it is fitted: one short function that reads top to bottom. It imports no task."""

    @property
    def name(self) -> str:
        """Return the name, such as ``probe``."""
        ...

    @property
    def requires(self) -> frozenset[str]:
        """What a trunk must offer for it."""
        ...

    def __call__(self, job: FitJob) -> Fitted:
        """Fit; stop early, with the best so far, when the budget ends."""
        ...
