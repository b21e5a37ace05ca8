"""What training minimises for each link between scores and predictions."""

from __future__ import annotations

from typing import Any

import torch

from topwork.contracts import Link, known_rows
from topwork.evaluation.survival import RiskSets

__all__ = ["loss_of"]


def loss_of(link: Link, scores: torch.Tensor, truth: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Return the mean loss of scores ``float32 [n, k]``; rows without a truth do not count, and 0 without others.

    Of ``softmax`` the cross-entropy, with label smoothing as in Szegedy et al., *Rethinking the Inception
    Architecture*, 2016, section 7. Of ``sigmoid`` the binary cross-entropy, averaged over the labels and smoothed
    likewise, each label being two classes; of ``cumulative`` the same over the thresholds, as in Niu et al., *Ordinal
    Regression with Multiple Output CNN for Age Estimation*, 2016. Of ``identity`` the squared error, which has
    nothing to smooth. Of ``hazard`` minus Cox's log partial likelihood, at risk being the rows that are given, such as
    those of a batch (as in Katzman et al., *DeepSurv*, 2018); 0 where they hold no event. Of ``cost`` the scores
    themselves.
    """
    if link == "hazard":
        return torch.as_tensor(_PartialLikelihood.apply(scores, truth))  # type: ignore[no-untyped-call]
    if link == "cumulative":
        above = (truth[:, None] > torch.arange(scores.shape[1], device=truth.device)).to(truth.dtype)
        return _binary_cross_entropy(scores, torch.where(truth[:, None] < 0, -1, above), smoothing)
    if link == "sigmoid":
        return _binary_cross_entropy(scores, truth, smoothing)
    if link == "identity":
        return _squared_error(scores, truth)
    if link == "cost":
        return scores.mean()
    total = torch.nn.functional.cross_entropy(
        scores, truth, ignore_index=-1, label_smoothing=smoothing, reduction="sum"
    )
    return total / (truth >= 0).sum().clamp(min=1)


def _binary_cross_entropy(scores: torch.Tensor, truth: torch.Tensor, smoothing: float) -> torch.Tensor:
    known = (truth >= 0).all(dim=1)
    wanted = truth.clamp(min=0).to(scores.dtype) * (1 - smoothing) + smoothing / 2
    each = torch.nn.functional.binary_cross_entropy_with_logits(scores, wanted, reduction="none").mean(dim=1)
    return (each * known).sum() / known.sum().clamp(min=1)


def _squared_error(scores: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    known = ~torch.isnan(truth)
    # Put in place of NaN before the difference is taken: a NaN that is masked afterwards is one in the gradient.
    off = (scores[:, 0] - torch.where(known, truth, 0).to(scores.dtype)) * known
    return (off**2).sum() / known.sum().clamp(min=1)


class _PartialLikelihood(torch.autograd.Function):
    """The loss and its slopes as NumPy has them: a few numbers for each row, in double precision and in one order.

    On a GPU torch's own running sums differ from one time to the next.
    """

    @staticmethod
    def forward(ctx: Any, scores: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        true = truth.detach().cpu().numpy()
        costs, pulls = RiskSets.of(true).costs(scores.detach().cpu().numpy())
        n = max(1, int(known_rows(true).sum()))
        ctx.save_for_backward(torch.from_numpy(pulls / n).to(scores))
        return scores.new_tensor(costs.sum() / n)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (pulls,) = ctx.saved_tensors
        return gradients[0] * pulls, None
