"""The network that every text trunk becomes: windows of tokens in, pooled features out.

Which token stands where is all that comes in: which are padding, and which windows belong to one text, follows from
it, so nobody who runs an exported copy can get a mask wrong. It knows no tokeniser and no source of weights. It
imports torch: import it inside the function that builds a network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

import torch

from topwork.trunks.network import LoadedNetwork
from topwork.trunks.word_scores import WordScores

__all__ = ["TokenNetwork"]

_TOGETHER = 2048
"""Tokens that a processor computes at once, so that what a layer hands on stays in its caches."""

_ATTENTION = "_attn_implementation"
"""Where transformers looks up how a network attends."""

_LOWEST = torch.finfo(torch.bfloat16).min

Summed: TypeAlias = tuple[torch.Tensor, ...]
"""The sum over the tokens of each window ``[n, d]`` that are pooled, and their number ``[n, 1]``.

With ``concat`` the same of the first token follow, and the maximum over all tokens ``[n, d]``.
"""


class _ReachedError(Exception):
    """Carries the states at a layer out of the network."""

    def __init__(self, states: torch.Tensor) -> None:
        self.states = states


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
    n_word_scores
        Features besides, which are what the words of a text say by themselves; see `WordScores`.
    """

    def __init__(
        self,
        trunk: torch.nn.Module,
        pooling: Literal["mean", "first", "concat"],
        n_word_scores: int = 0,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.pooling = pooling
        self.words = WordScores(n_word_scores) if n_word_scores else None

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map ``int32 [n, k, w]`` (token id + 1, 0 where nothing is) to features ``float [n, d]``."""
        features = self._encoded(tokens)
        if self.words is None:
            return features
        scores = self.words(tokens.flatten(0, 1), tokens.shape[0], tokens.shape[1])
        return torch.cat([features, scores], dim=1)

    def _encoded(self, tokens: torch.Tensor) -> torch.Tensor:
        windows = tokens.flatten(0, 1)
        if torch.onnx.is_in_onnx_export():
            return self._of_texts(self.summed(windows), tokens.shape[0], tokens.shape[1])
        found = _in_turn(windows > 0, lambda some, longest: self.summed(windows[some, :longest]))
        return self._of_texts(found, tokens.shape[0], tokens.shape[1])

    def summed(self, windows: torch.Tensor) -> Summed:
        """Return what windows ``[n, w]`` come to, before windows of one text are put together."""
        return self._pooled(self.states(windows), windows > 0)

    def below(self, tokens: torch.Tensor, first: torch.nn.Module) -> torch.Tensor:
        """Return what the layer ``first`` is given for each token, ``[n, k, w, d]``; 0 where nothing is."""
        windows = tokens.flatten(0, 1)
        whole: torch.Tensor | None = None
        for some, longest in _groups(windows > 0):
            part = windows[some, :longest]
            states = _lowered(self._states_at(first, part)) * (part > 0)[..., None]
            if whole is None:
                whole = states.new_zeros(*windows.shape, states.shape[-1])
            whole[some, :longest] = states
        assert whole is not None
        return whole.reshape(*tokens.shape, whole.shape[-1])

    def above(
        self, states: torch.Tensor, first: torch.nn.Module, lower: Sequence[torch.nn.Module]
    ) -> torch.Tensor:
        """Go on from what `below` gave, to features ``[n, d]``; ``lower`` are the modules before ``first``."""
        windows = states.flatten(0, 1)
        here = (windows != 0).any(-1)

        def summed(some: torch.Tensor, longest: int) -> Summed:
            there = here[some, :longest]
            with _entering(first, lower, windows[some, :longest]):
                return self._pooled(self.states(there.int()), there)

        return self._of_texts(_in_turn(here, summed), states.shape[0], states.shape[1])

    def _states_at(self, first: torch.nn.Module, windows: torch.Tensor) -> torch.Tensor:
        def leave(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            raise _ReachedError(inputs[0])

        hook = first.register_forward_pre_hook(leave)
        try:
            self.states(windows)
        except _ReachedError as reached:
            return reached.states
        finally:
            hook.remove()
        raise RuntimeError("The network never came to that layer.")

    def states(self, windows: torch.Tensor) -> torch.Tensor:
        """Map windows ``int32 [n, w]`` to the states of their tokens ``float [n, w, d]``."""
        here = windows > 0
        # A window of nothing would leave its tokens no other to look at, and they would become NaN.
        seen = here | (torch.arange(windows.shape[1], device=windows.device) == 0)
        # Added to the scores of attention: the one form that every kind of network takes, and that exports.
        mask = torch.zeros(windows.shape, device=windows.device).masked_fill(~seen, _LOWEST)
        ids = (windows - 1).clamp(min=0).long()
        with _attending(self.trunk, here.device.type):
            answer: Any = self.trunk(input_ids=ids, attention_mask=mask[:, None, None, :])
        hidden: torch.Tensor = answer.last_hidden_state
        return hidden

    def _pooled(self, hidden: torch.Tensor, here: torch.Tensor) -> Summed:
        if hidden.dtype != torch.float32:
            hidden = hidden.float()  # bf16 cannot even count to 257
        there = here[:, :1].to(hidden.dtype)
        first = hidden[:, 0] * there, there
        if self.pooling == "first":
            return first
        weight = here[..., None].to(hidden.dtype)
        every = (hidden * weight).sum(1), weight.sum(1)
        if self.pooling == "mean":
            return every
        return *every, *first, hidden.masked_fill(~here[..., None], _LOWEST).amax(1)

    def _of_texts(self, parts: Summed, n: int, k: int) -> torch.Tensor:
        """Put the k windows of each of n texts together."""
        mean = _mean(parts[0], parts[1], n, k)
        if self.pooling != "concat":
            return mean
        most = parts[4].reshape(n, k, mean.shape[1]).amax(1)
        return torch.cat([_mean(parts[2], parts[3], n, k), most, mean], dim=1)


def _mean(total: torch.Tensor, count: torch.Tensor, n: int, k: int) -> torch.Tensor:
    """Return the mean over the k windows of each of n texts."""
    of_text = count.reshape(n, k, 1).sum(1)
    return total.reshape(n, k, total.shape[1]).sum(1) / of_text.clamp(min=1)


def _in_turn(here: torch.Tensor, summed: Callable[[torch.Tensor, int], Summed]) -> Summed:
    """Compute windows of like length together, and empty ones not at all."""
    groups = list(_groups(here))
    done = [summed(some, longest) for some, longest in groups]
    parts = (torch.cat(several) for several in zip(*done, strict=True))
    order = torch.cat([some for some, _ in groups])
    blanks = (0.0, 0.0, 0.0, 0.0, _LOWEST)  # what an empty window adds to sums, and to a maximum
    return tuple(
        one.new_full((len(here), one.shape[1]), blank).index_copy(0, order, one)
        for one, blank in zip(parts, blanks, strict=False)
    )


def _groups(here: torch.Tensor) -> Iterator[tuple[torch.Tensor, int]]:
    """Yield rows of windows that are computed together, and the longest of each; shorter ones first.

    On a GPU they are computed all at once.
    """
    lengths = (here * torch.arange(1, here.shape[1] + 1, device=here.device)).amax(1)
    order = torch.argsort(lengths, stable=True)[int((lengths == 0).sum()) :]
    if here.device.type != "cpu":
        yield order, int(lengths.max())
        return
    known, begin = lengths[order].tolist(), 0
    for end, longest in enumerate(known):
        if (end + 1 - begin) * longest > _TOGETHER and end > begin:
            yield order[begin:end], known[end - 1]
            begin = end
    yield order[begin:], known[-1]


def _lowered(states: torch.Tensor) -> torch.Tensor:
    """Return states in the number format that layers compute in."""
    device = states.device.type
    return states.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else states


@contextmanager
def _attending(trunk: torch.nn.Module, device: str) -> Iterator[None]:
    """Let a processor that trains in bf16 attend in plain products of matrices.

    torch's own kernel for attention takes several times as long for its gradients there: with 16 windows of 128 tokens
    and 12 heads one core needs 68 ms for there and back, plain products 20 ms. In fp32 the kernel is the faster one.
    """
    config = getattr(trunk, "config", None)
    slow = device == "cpu" and torch.is_grad_enabled() and torch.is_autocast_enabled(device)
    if not slow or getattr(config, _ATTENTION, None) != "sdpa":
        yield
        return
    setattr(config, _ATTENTION, "eager")
    try:
        yield
    finally:
        setattr(config, _ATTENTION, "sdpa")


@contextmanager
def _entering(
    first: torch.nn.Module, lower: Sequence[torch.nn.Module], states: torch.Tensor
) -> Iterator[None]:
    """Let the network go on from these states at ``first``; what comes before computes nothing meanwhile."""

    def enter(_: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (states, *inputs[1:])

    def skip(*_: Any, **__: Any) -> torch.Tensor:
        return states

    hook = first.register_forward_pre_hook(enter)
    kept = [(module, module.__dict__.get("forward")) for module in lower]
    for module in lower:
        module.__dict__["forward"] = skip
    try:
        yield
    finally:
        hook.remove()
        for module, forward in kept:
            module.__dict__.pop("forward", None)
            if forward is not None:
                module.__dict__["forward"] = forward
