"""A rung that was climbed, and which of several is the model. It knows no network and no way to train one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from topwork.contracts import Array, LinearHead, Rung
from topwork.evaluation.comparison import one_standard_error_choice

if TYPE_CHECKING:
    import torch

__all__ = ["Candidate", "chosen_of", "reason_of", "told"]


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A rung that was climbed: scores of the validation rows, each calibrated by others, losses, and weights.

    ``is_out`` tells that another one has taken its place, ``held_out`` has scores of more rows where there are some.
    """

    rung: Rung
    scores: Mapping[str, Array]
    losses: Array
    heads: Mapping[str, LinearHead] | None = None
    raw: Mapping[str, torch.Tensor] = field(default_factory=dict)
    is_out: bool = False
    held_out: Mapping[str, Array] = field(default_factory=dict)


def chosen_of(candidates: Sequence[Candidate]) -> int:
    """Return the place of the one that is the model, of those that no other has replaced, from simple to deep.

    It is the one whose validation rows cost least. Where that is a network that was trained, one of which more was
    trained, to its end, and that is not worse by more than one standard error of the difference is taken in its place:
    deeper training gains more often than not, and few rows hardly show it. One that was preferred by more rows than
    these keeps its place until another is better by more than that error.
    """
    left = [place for place, one in enumerate(candidates) if not one.is_out]
    losses = np.stack([candidates[place].losses for place in left])
    if any(candidates[place].held_out for place in left):
        return left[one_standard_error_choice(losses)]
    means = losses.mean(axis=1)
    best = int(means.argmin())
    depths = [_depth(candidates[place].rung) for place in left]
    if not depths[best]:
        return left[best]
    deeper = [
        i for i, depth in enumerate(depths) if depth > depths[best] and not candidates[left[i]].rung.notes
    ]
    from_deep = [*sorted(deeper, key=lambda i: (-depths[i], means[i])), best]
    return left[from_deep[one_standard_error_choice(losses[from_deep])]]


def _depth(rung: Rung) -> float:
    """Return the share of the network that was trained in it; 0 of the frozen one, and of one with words beside it."""
    return 0.0 if rung.n_steps is None else rung.trained_share or 0.0


def reason_of(candidates: Sequence[Candidate], chosen: int) -> tuple[str, ...]:
    """Say why one was chosen that has not the lowest loss; nothing of one that has."""
    left = [place for place, one in enumerate(candidates) if not one.is_out]
    lowest = min(left, key=lambda place: float(candidates[place].losses.mean()))
    if lowest == chosen:
        return ()
    other = candidates[lowest].rung.name
    if lowest > chosen:
        return (f"{other} is not better by more than one standard error",)
    return (f"trained deeper than {other}, and not worse by more than one standard error",)


def told(rung: Rung) -> str:
    """Say in a line what validation says of a rung."""
    assert rung.gain is not None
    assert rung.log_loss is not None
    score = f"{rung.validation:.1%}" if rung.loss_name == "log loss" else f"{rung.validation:.3f}"
    return (
        f"{rung.name}: validation {score}, {rung.loss_name} {rung.log_loss.value:.3f} "
        f"(gain {rung.gain.value:+.3f}), {rung.seconds:.0f} s"
    )
