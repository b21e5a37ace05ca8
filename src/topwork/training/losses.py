"""What training minimises for each link between scores and predictions."""

from __future__ import annotations

import torch

from topwork.contracts import Link

__all__ = ["loss_of"]


def loss_of(link: Link, scores: torch.Tensor, truth: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Return the mean loss of scores ``float32 [n, k]``; rows whose truth is -1 do not count, and 0 without others.

    Label smoothing as in Szegedy et al., *Rethinking the Inception Architecture*, 2016, section 7.
    """
    assert link == "softmax"
    total = torch.nn.functional.cross_entropy(
        scores, truth, ignore_index=-1, label_smoothing=smoothing, reduction="sum"
    )
    return total / (truth >= 0).sum().clamp(min=1)
