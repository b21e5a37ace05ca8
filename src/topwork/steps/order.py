"""What a fit was asked for, and what reading the data showed: the values that its steps hand on to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from topwork.contracts import (
    Array,
    Dataset,
    Fold,
    Goal,
    Inspection,
    Modality,
    Recipe,
    Split,
    Target,
    Task,
    Trunk,
)
from topwork.data.check import Findings
from topwork.steps.options import FitOptions, Surroundings
from topwork.training.judging import blind_loss

__all__ = ["Order", "Rows"]


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for, looked up: every name has become the object behind it.

    ``candidates`` are what ``trunk`` is to be chosen from, ``trunk`` itself first; none where it was named.
    """

    dataset: Dataset
    modality: Modality
    trunk: Trunk
    recipe: Recipe
    tasks: Mapping[str, Task]
    seed: int
    budget: str | float | None
    options: FitOptions
    around: Surroundings
    candidates: tuple[Trunk, ...] = ()

    @property
    def own_units(self) -> bool:
        """Whether each feature has a unit of its own: nothing was learned of how they go together."""
        return not self.trunk.card.n_parameters


@dataclass(frozen=True, slots=True)
class Rows:
    """What reading showed, and which row serves for what.

    ``fit_rows`` are the rows of training and validation, ascending; ``folds`` and ``fit_features`` count within
    them, ``test_features`` within the rows of the test. ``truth`` holds encoded labels ``[n]`` of all rows,
    ``pairs int64 [p, 2]`` the rows that show nearly the same. ``row_s`` is what a row takes from its file to its
    features, in seconds, None where that is not known. Where only some rows have features, ``fit_known`` and
    ``test_known`` are their places in ``fit_features`` and ``test_features``, ascending, and the others are zero.
    """

    inspections: tuple[Inspection, ...]
    n_cached: int
    fit_features: Array
    test_features: Array
    findings: Findings
    split: Split
    targets: Mapping[str, Target]
    truth: Mapping[str, Array]
    fit_rows: Array
    folds: tuple[Fold, ...]
    pairs: Array
    row_s: float | None = None
    fit_known: Array | None = None
    test_known: Array | None = None

    def known_features(self) -> Array:
        """Return the features of those rows of training and validation that have some."""
        return self.fit_features if self.fit_known is None else self.fit_features[self.fit_known]

    def goals(self) -> dict[str, Goal]:
        """Return the targets as a recipe sees them: of the rows of training and validation alone."""
        goals = {
            name: Goal(
                self.truth[name][self.fit_rows],
                target.link,
                target.n_outputs,
                partial(_main_metric, target),
                target.main_metric,
            )
            for name, target in self.targets.items()
        }
        if len(goals) == 1:
            return goals
        return {name: replace(goal, scale=blind_loss(goal)) for name, goal in goals.items()}


def _main_metric(target: Target, truth: Array, scores: Array) -> float:
    return target.evaluate(truth, scores, 0)[target.main_metric].value
