"""The network that every text trunk becomes: windows of tokens in, pooled features out.

Which token stands where is all that comes in: which are padding, and which windows belong to one text, follows from
it, so nobody who runs an exported copy can get a mask wrong. It knows no tokeniser and no source of weights. It
imports torch: import it inside the function that builds a network.
"""

from __future__ import annotations

from typing import Any, Literal

import torch

from topwork.trunks.network import LoadedNetwork

__all__ = ["TokenNetwork"]

_TOGETHER = 8
"""Windows that are computed at once in training, those of like length together."""
_LOWEST = torch.finfo(torch.bfloat16).min


class TokenNetwork(LoadedNetwork):
    """An encoder of the transformers library that takes windows of tokens.

    Parameters
    ----------
    trunk
        Maps ``input_ids`` and a mask ``[n, 1, 1, w]`` (0 for tokens, far below for padding) to
        ``last_hidden_state [n, w, d]``.
    pooling
        ``mean`` over all tokens of a text, or of the ``first`` token of its windows; ``concat`` puts side by side the
        first token, the maximum over all tokens, and their mean.
    """

    def __init__(self, trunk: torch.nn.Module, pooling: Literal["mean", "first", "concat"]) -> None:
        super().__init__()
        self.trunk = trunk
        self.pooling = pooling

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map ``int32 [n, k, w]`` (token id + 1, 0 where nothing is) to features ``float [n, d]``."""
        windows = tokens.flatten(0, 1)
        parts = self.summed(windows) if torch.onnx.is_in_onnx_export() else self._in_turn(windows)
        n, k = tokens.shape[0], tokens.shape[1]
        mean = _mean(parts[0], parts[1], n, k)
        if self.pooling != "concat":
            return mean
        most = parts[4].reshape(n, k, mean.shape[1]).amax(1)
        return torch.cat([_mean(parts[2], parts[3], n, k), most, mean], dim=1)

    def states(self, windows: torch.Tensor) -> torch.Tensor:
        """Map windows ``int32 [n, w]`` to the states of their tokens ``float [n, w, d]``."""
        here = windows > 0
        # A window of nothing would leave its tokens no other to look at, and they would become NaN.
        seen = here | (torch.arange(windows.shape[1], device=windows.device) == 0)
        # Added to the scores of attention: the one form that every kind of network takes, and that exports.
        mask = torch.zeros(windows.shape, device=windows.device).masked_fill(~seen, _LOWEST)
        answer: Any = self.trunk(
            input_ids=(windows - 1).clamp(min=0).long(), attention_mask=mask[:, None, None, :]
        )
        hidden: torch.Tensor = answer.last_hidden_state
        return hidden

    def _in_turn(self, windows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute windows of like length together, and empty ones not at all."""
        lengths = (windows > 0).sum(1)
        order = torch.argsort(lengths, stable=True)[int((lengths == 0).sum()) :]
        done = []
        for some in torch.split(order, _TOGETHER if windows.device.type == "cpu" else max(1, len(order))):
            longest = int(lengths[some].max())
            done.append(self.summed(windows[some, :longest]))
        parts = (torch.cat(several) for several in zip(*done, strict=True))
        blanks = (0.0, 0.0, 0.0, 0.0, _LOWEST)  # what an empty window adds to sums, and to a maximum
        return tuple(
            one.new_full((len(windows), one.shape[1]), blank).index_copy(0, order, one)
            for one, blank in zip(parts, blanks, strict=False)
        )

    def summed(self, windows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the sum over the tokens of each window ``[n, d]`` that are pooled, and their number ``[n, 1]``.

        With ``concat`` the same of the first token follow, and the maximum over all tokens ``[n, d]``.
        """
        hidden, here = self.states(windows), windows > 0
        there = here[:, :1].to(hidden.dtype)
        first = hidden[:, 0] * there, there
        if self.pooling == "first":
            return first
        weight = here[..., None].to(hidden.dtype)
        every = (hidden * weight).sum(1), weight.sum(1)
        if self.pooling == "mean":
            return every
        return *every, *first, hidden.masked_fill(~here[..., None], _LOWEST).amax(1)


def _mean(total: torch.Tensor, count: torch.Tensor, n: int, k: int) -> torch.Tensor:
    """Return the mean over the k windows of each of n texts."""
    of_text = count.reshape(n, k, 1).sum(1)
    return total.reshape(n, k, total.shape[1]).sum(1) / of_text.clamp(min=1)
