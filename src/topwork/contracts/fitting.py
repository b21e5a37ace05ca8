"""Recipes, what they are given and what they give back: how a model is fitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from topwork.contracts.data import Fold
from topwork.contracts.networks import LinearHead, LowRank, Rates, Stage, Words
from topwork.contracts.sampling import Sample
from topwork.contracts.targets import Link
from topwork.contracts.values import Afterwards, Array, Budget, Estimate, Progress

if TYPE_CHECKING:
    import torch

__all__ = [
    "FitJob",
    "Fitted",
    "Forecast",
    "Goal",
    "Material",
    "Moment",
    "PoolingRecipe",
    "Recipe",
    "Resources",
    "Rung",
    "SizingRecipe",
    "Workplace",
]


@dataclass(frozen=True, slots=True)
class Goal:
    """One target as a recipe sees it.

    Attributes
    ----------
    truth
        As `Target.encode` gives it.
    n_outputs
        Scores of one input.
    score
        Gives the main metric of truth and scores for a person to read; nothing is chosen by it.
    metric
        Name of that metric.
    scale
        Loss of what ignores the input. Where there are several targets, losses are divided by it before they are put
        together, for an error of numbers and a log loss have no common unit. Of a single target it is 1.
    """

    truth: Array
    link: Link
    n_outputs: int
    score: Callable[[Array, Array], float] | None = None
    metric: str = ""
    scale: float = 1.0


class Material(Protocol):
    """What a recipe needs that trains the trunk itself. Rows are those of `FitJob.goals`."""

    @property
    def resources(self) -> Resources:
        """What the machine has to train with."""
        ...

    @property
    def rates(self) -> Rates:
        """Learning rates that suit the network."""
        ...

    @property
    def is_ragged(self) -> bool:
        """Whether inputs come in several sizes, so that what is short is filled up with zeros in a batch."""
        ...

    def network(self) -> torch.nn.Module:
        """Return the pretrained network, a copy of its own, in evaluation mode; raw batch to ``[n, n_features]``."""
        ...

    def stages(self, network: torch.nn.Module) -> tuple[Stage, ...]:
        """Cut what `network` returned into its stages."""
        ...

    def example(self, row: int) -> Array:
        """Return the tensor of a row as the network will be given it when it serves."""
        ...

    def held_bytes(self, n_rows: int) -> int:
        """Return the most memory in bytes that decoded inputs of so many rows are kept in."""
        ...

    def variant(self, row: int, draw: np.random.Generator) -> Array:
        """Return a tensor of the same size that shows the same thing a little differently."""
        ...

    @property
    def has_words(self) -> bool:
        """Whether inputs are windows of tokens, and scores of these can stand beside the network's features."""
        ...

    def words(self, network: torch.nn.Module) -> Words | None:
        """Show what `network` returned token by token; None where inputs are no texts, or words cannot be hidden."""
        ...


@dataclass(frozen=True, slots=True)
class Resources:
    """What a machine has to train with.

    Attributes
    ----------
    device
        ``cpu``, or the GPU that the network is trained on, as torch names it.
    n_threads
        For decoding, and for training on a processor.
    memory_bytes
        What the process may use in all; 0 where it is not known. A GPU's own memory is asked when it is needed.
    has_fast_bf16
        Whether the device computes in bf16 rather than emulating it.
    """

    device: str
    n_threads: int
    memory_bytes: int
    has_fast_bf16: bool


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where a fit keeps what it would need to go on after being killed.

    ``folder`` is its own, None where nothing is kept; with ``resume`` it may hold the state of an earlier run of the
    same plan.
    ``should_stop`` tells between two steps whether the user wants the best so far.
    """

    folder: Path | None
    resume: bool = False
    should_stop: Callable[[], bool] = field(default=lambda: False)

    def keeping_nothing(self) -> Workplace:
        """Return one that is asked whether to stop, and that nothing is written to or taken from."""
        return replace(self, folder=None, resume=False)


@dataclass(frozen=True, slots=True)
class FitJob:
    """All that a recipe may use. Nothing of the test side is in it.

    ``features`` is ``float32 [n, d]`` over the rows of ``goals``; folds and units count the same rows.
    ``n_steps`` fixes the length of the training in optimiser steps in place of the budget's time.
    ``afterwards`` is what the budget must still hold for where the network is trained. ``sample`` tells which rows have
    features; None where all have. ``own_units`` tells whether each feature has a unit of its own, as the columns of a
    table have; those that a network computes have one in common.
    """

    features: Array
    goals: Mapping[str, Goal]
    folds: tuple[Fold, ...]
    seed: int
    budget: Budget
    progress: Progress
    material: Material | None = None
    workplace: Workplace | None = None
    n_steps: int | None = None
    afterwards: Afterwards = field(default_factory=Afterwards)
    sample: Sample | None = None
    own_units: bool = False


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of a fit: what it cost and what validation said.

    Attributes
    ----------
    validation
        Main metric of the targets on validation rows, averaged where there are several; of targets of several main
        metrics the skill, see `topwork.training.judging`.
    log_loss
        Choice is made on it: the mean of `topwork.training.judging.losses_of_rows`, of a single target of classes the
        log loss in nats.
    gain
        That loss of the rung that it builds on minus its own, paired; above zero it is better. A network builds on the
        best one before it, words build on the network that they stand beside.
    loss_name
        What a person calls that loss.
    trained_share
        Share of the network's weights that were trained.
    chosen
        Whether this is the rung that the model came from.
    weighs
        What each of several targets weighed in the loss when the rung ended, relative to their mean; the losses are
        those in units of what ignoring the input costs.
    """

    name: str
    seconds: float
    validation: float
    notes: tuple[str, ...] = ()
    log_loss: Estimate | None = None
    gain: Estimate | None = None
    trained_share: float | None = None
    n_steps: int | None = None
    chosen: bool = False
    loss_name: str = "log loss"
    weighs: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Moment:
    """What validation said of the model at one moment of a fit, in seconds since the recipe began."""

    seconds: float
    n_steps: int
    rung: str
    log_loss: float
    score: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """What was expected of a fit before it began, as a range, and what it came to: seconds or bytes."""

    name: str
    unit: str
    low: float
    high: float
    actual: float | None = None


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a recipe gives back: a calibrated head per target, and held-out scores ``[n, k]``.

    Attributes
    ----------
    heads
        Calibrated, on the features of the network that was chosen.
    held_out
        By a head and a calibration that were not fitted on the row; a row that no fold held out is NaN.
    weights
        Tensors of the trunk that training changed, by their names in its state; empty for a frozen trunk.
    products
        Changes of some of these tensors as products of two narrow ones, for who keeps those in place of the tensors.
    plan
        What was going to be trained, written down before the first step.
    history
        What validation said on the way.
    forecasts
        What a trial said before the first step, and what it came to.
    fitted_on
        Rows of the job that the heads were fitted on, ``int64`` ascending; None where it was all of them.
    """

    heads: Mapping[str, LinearHead]
    held_out: Mapping[str, Array]
    notes: tuple[str, ...] = ()
    weights: Mapping[str, Array] = field(default_factory=dict)
    products: Mapping[str, LowRank] = field(default_factory=dict)
    rungs: tuple[Rung, ...] = ()
    plan: Mapping[str, str] = field(default_factory=dict)
    history: tuple[Moment, ...] = ()
    forecasts: tuple[Forecast, ...] = ()
    fitted_on: Array | None = None


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


@runtime_checkable
class PoolingRecipe(Protocol):
    """What a recipe may say besides: how it wants the tokens of texts pooled; empty for the trunk's own way."""

    @property
    def pooling(self) -> str:
        """Return what `TextTrunk.pooled` takes."""
        ...


@runtime_checkable
class SizingRecipe(Protocol):
    """What a recipe may say besides: in which size it wants pictures, by what they are."""

    def side_px(self, height: int, width: int) -> int | None:
        """Return what `ResizableTrunk.of_side` takes, for pictures of so many pixels; None for the trunk's own."""
        ...
