"""What the words of a text say by themselves, beside what a network makes of them: a linear model inside the network.

A wide model beside a deep one (Cheng et al., 2016, arXiv 1606.07792). All of it is in integers until weights are added
up, so that an engine that computes in bf16 finds the same buckets. It imports torch: import it inside a function.
"""

from __future__ import annotations

import torch

from topwork.inputs.word_buckets import N_BUCKETS, of_pairs, of_tokens

__all__ = ["WordScores"]


class WordScores(torch.nn.Module):
    """Scores of texts by the buckets of `topwork.inputs.word_buckets`; ``weight float32 [N_BUCKETS, columns]``."""

    def __init__(self, n_columns: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(N_BUCKETS, n_columns), requires_grad=False)

    def forward(self, windows: torch.Tensor, n_texts: int, n_windows: int) -> torch.Tensor:
        """Map windows ``int32 [n * k, w]`` (0 where nothing is) of n texts to scores ``float32 [n, columns]``."""
        here = windows > 0
        first, second = windows[:, :-1], windows[:, 1:]
        total, n_there = self._added(of_tokens(windows), here)
        of_two, n_two = self._added(of_pairs(first, second), here[:, 1:])
        n_tokens = here.sum(1, keepdim=True).to(total.dtype)
        found = (total + of_two) * (n_tokens / (n_there + n_two).clamp(min=1).sqrt())
        columns = self.weight.shape[1]
        in_all = n_tokens.reshape(n_texts, n_windows, 1).sum(1).clamp(min=1)
        return found.reshape(n_texts, n_windows, columns).sum(1) / in_all

    def _added(self, buckets: torch.Tensor, here: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Add up the weights of the buckets of each window, each bucket once, and count these ``[n * k, 1]``."""
        ordered = torch.sort(buckets.masked_fill(~here, -1), dim=1).values
        before = torch.nn.functional.pad(ordered[:, :-1], (1, 0), value=-1)
        is_new = ((ordered != before) & (ordered >= 0)).to(self.weight.dtype)
        weights = self.weight[ordered.clamp(min=0).long()]
        return (weights * is_new[..., None]).sum(1), is_new.sum(1, keepdim=True)
