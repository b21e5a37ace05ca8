"""Tasks and their targets: what is predicted, how answers are told and judged, and how scores become predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from topwork.contracts.sections import Section
from topwork.contracts.values import Array, Json, Metrics

__all__ = [
    "Link",
    "Mistake",
    "Target",
    "Task",
    "WritingTarget",
    "has_classes",
    "has_one_label",
]

Link: TypeAlias = Literal["softmax", "identity", "sigmoid", "cumulative", "hazard", "cost"]
"""How scores become predictions; it grows with the tasks that need one.

``softmax``: the scores of k classes, whose truth is a class number. ``identity``: the score is the prediction itself,
in units of the training data's standard deviation from their mean. ``sigmoid``: the log odds of each of k labels, of
which a row may have any number; truth is 0 or 1 for each of them. ``cumulative``: the log odds of being above each of
k - 1 thresholds between k ordered classes, whose truth is a rank. ``hazard``: the log of how many times as often as on
average an event happens, whose truth is a time and whether it happened then. ``cost``: the score is itself what the row
costs, in nats, as of texts that are to be written; nothing is compared with it.
"""


def has_classes(link: Link) -> bool:
    """Tell whether scores belong to classes, of which each input has one."""
    return link == "softmax"


def has_one_label(link: Link) -> bool:
    """Tell whether each input has one label out of a few, whatever the scores belong to, so that labels are counted."""
    return link in ("softmax", "cumulative")


@dataclass(frozen=True, slots=True)
class Mistake:
    """A test row that the model got wrong; ``probability`` is that of what it said, where there is one."""

    row: int
    caption: str
    truth: str = ""
    predicted: str = ""
    probability: float | None = None


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
        """Names of the classes or labels that the scores speak of, in their order; empty where there are none."""
        ...

    @property
    def main_metric(self) -> str:
        """Name of the metric by which a person compares models."""
        ...

    def state(self) -> Mapping[str, Json]:
        """Return what `Task.restore` reads back."""
        ...

    def encode(self, raw: Sequence[str | None]) -> Array:
        """Turn raw labels into what the loss takes.

        ``int64 [n]`` with -1, or ``float64 [n]`` with NaN, where missing; of several labels per row ``int8 [n, k]`` of
        0 and 1, a missing row -1 throughout; of what takes time ``float64 [n, 2]``, the time and 1 where the event
        happened then.
        `known_rows` tells which rows have a truth. What is missing is None, or a label that training never saw.
        """
        ...

    def calibrated(self, truth: Array, held_out: Array) -> Target:
        """Return what the target becomes by held-out scores ``[n, k]`` of a fit, NaN where a row was not held out.

        A target whose answers are bounded learns its bounds here; others return themselves.
        """
        ...

    def joint(self, other: Target) -> Target:
        """Return a target of the same task by which both can be judged."""
        ...

    def adopt(self, other: Target, scores: Array) -> Array:
        """Return scores ``[n, k]`` of another target of the same task as this one's."""
        ...

    def said(self, scores: Array) -> Array:
        """Return what scores ``[n, k]`` come to, encoded as `encode` gives truth."""
        ...

    def evaluate(self, truth: Array, scores: Array, seed: int) -> Metrics:
        """Compare encoded truth ``[n]`` or ``[n, k]`` with scores ``[n, k]``, each metric with its interval."""
        ...

    def compare(self, truth: Array, scores: Array, others: Array, seed: int) -> Metrics:
        """Return each metric of ``scores`` minus that of ``others``, paired row by row, with its interval.

        Metrics of `evaluate` that only one model has, such as the width of its own bounds, are left out.
        """
        ...

    def differences(self, truth: Array, scores: Array, others: Array, rival: str) -> tuple[Section, ...]:
        """Tables of where ``scores`` and those of a named rival differ, paired row by row; there may be none."""
        ...

    def baselines(self, truth_train: Array, truth_test: Array, seed: int) -> Mapping[str, Metrics]:
        """Return what a model that ignores its input would score."""
        ...

    def sections(self, truth: Array, scores: Array, seed: int) -> tuple[Section, ...]:
        """Tables and matrices for the report."""
        ...

    @property
    def understood(self) -> tuple[str, ...]:
        """Say in sentences how raw values were read, where they could have been read otherwise."""
        ...

    @property
    def about_mistakes(self) -> tuple[str, str]:
        """Title and caption of a gallery of `mistakes`."""
        ...

    def mistakes(self, truth: Array, scores: Array, limit: int) -> tuple[Mistake, ...]:
        """Return the gravest mistakes first; ``row`` counts from 0 within ``truth``."""
        ...

    def errors(self, truth: Array, scores: Array) -> Array:
        """Return how far off each row is, ``float64 [n]`` in the data's unit, 0 where right; NaN without a truth."""
        ...

    def spell(self, truth: Any) -> str:
        """Return one encoded truth, an element or a row of what `encode` gives, as a person reads it."""
        ...

    def answer(self, scores: Array) -> Mapping[str, Json]:
        """Turn the scores ``[k]`` of one input into the prediction that a client sees."""
        ...

    def answer_schema(self) -> Mapping[str, Json]:
        """JSON Schema of `answer`."""
        ...


@runtime_checkable
class WritingTarget(Protocol):
    """What a target may offer besides, where `Target.spell` is not what `Target.encode` reads."""

    def written(self, truth: Any) -> str:
        """Return one encoded truth as a raw label that `Target.encode` reads back."""
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

    @property
    def link(self) -> Link:
        """How scores of its targets become predictions; what counts classes in the data goes by it."""
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
