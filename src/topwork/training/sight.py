"""A look at validation: the scores of its rows with the weights as they are, and what they cost.

It knows no optimiser and no architecture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from topwork.contracts import Array, Goal, known_rows
from topwork.training.folding import precision_of
from topwork.training.judging import of_rows, shares_of
from topwork.training.losses import loss_of
from topwork.training.plan import RungPlan
from topwork.training.trainee import Feed, Trainee

__all__ = ["Check", "Sight", "relative_losses"]


@dataclass(frozen=True, slots=True, eq=False)
class Check:
    """Scores ``[n, k]`` by target and the mean log loss of all validation rows, or of ``rows`` of them."""

    scores: Mapping[str, Array]
    loss: float
    rows: Array | None = None

    @property
    def is_finite(self) -> bool:
        """Whether every score is a number."""
        return all(np.isfinite(scores).all() for scores in self.scores.values())

    def seen(self, goals: Mapping[str, Goal]) -> dict[str, Goal]:
        """Return the goals of the rows that were looked at, out of those of all validation rows."""
        return dict(goals) if self.rows is None else of_rows(goals, self.rows)


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """What a look at validation sees: these rows of the feed, or all of them, and their goals."""

    feed: Feed
    goals: Mapping[str, Goal]
    rows: Array | None
    bf16: bool

    @classmethod
    def of(
        cls, rung: RungPlan, feed: Feed, goals: Mapping[str, Goal], seed: tuple[int, int], bf16: bool
    ) -> Sight:
        """Return the sight of the looks on the way."""
        n = len(next(iter(goals.values())).truth)
        if n <= rung.n_looked:
            return cls(feed, goals, None, bf16)
        rows = np.sort(np.random.default_rng(seed).permutation(n)[: rung.n_looked])
        return cls(feed, of_rows(goals, rows), rows, bf16)

    def look(self, trainee: Trainee) -> Check:
        """Score the rows with the weights as they are."""
        scores: dict[str, list[Array]] = {name: [] for name in self.goals}
        seen: list[Array] = []
        trainee.set_training(False)
        with torch.no_grad():
            for rows, tensors in self.feed.validation(self.rows):
                seen.append(rows)
                with precision_of(bf16=self.bf16, device=tensors.device.type):
                    features = trainee.features(tensors)
                for name, head in trainee.heads.items():
                    scores[name].append(head(features.float()).cpu().numpy())
        trainee.set_training(True)
        order = np.argsort(np.concatenate(seen))
        whole = {name: np.concatenate(parts)[order] for name, parts in scores.items()}
        losses = relative_losses(self.goals, whole)
        return Check(whole, float(np.dot(shares_of(self.goals), losses)), self.rows)


def relative_losses(goals: Mapping[str, Goal], scores: Mapping[str, Array]) -> list[float]:
    """Return what each target costs in units of its scale; as much as knowing nothing where no row has a truth."""
    return [
        float(loss_of(goal.link, torch.from_numpy(scores[name]), torch.from_numpy(goal.truth), 0.0))
        / goal.scale
        if known_rows(goal.truth).any()
        else 1.0
        for name, goal in goals.items()
    ]
