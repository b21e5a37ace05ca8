"""A language model on torch with keys and values in blocks: for a GPU, where OpenVINO has no paged attention.

It is the counterpart of `topwork.engines.paged` and knows no library of networks: a network is given to it whose
attention it computes. Texts that add one token attend together, the beginnings of others one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from topwork.contracts import Array, Attention, Precision
from topwork.engines.low_rank import Bank
from topwork.engines.paged import Part, said_by
from topwork.engines.paging import BlockPool
from topwork.errors import UsageError

if TYPE_CHECKING:
    import torch

__all__ = ["Attend", "TorchWriter"]

Attend: TypeAlias = "Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor, Attention], torch.Tensor]"
"""Given a layer's number, queries ``[t, heads, size]``, keys and values ``[t, kv_heads, size]``, and what is said of
its attention, returns what the tokens take from each other, ``[t, heads, value_size]``."""

_CACHE_BYTES: Final = 1 << 30
_LEAST_BLOCKS: Final = 16
_BLOCK_TOKENS: Final = 32


class TorchWriter:
    """A language model and the blocks that its texts stand in; for one thread. See `topwork.engines.paged.PagedEngine`.

    Parameters
    ----------
    network
        Given how attention is computed, returns what maps ``tokens [t]`` at ``positions [t]`` to scores ``[n, v]``
        after the ``wanted [n]`` ones of them.
    precision
        ``fp32``, ``bf16`` or ``fp16``; keys and values are kept in the same.
    device
        As torch names it.
    cache_bytes
        What blocks may take together; there are at least a few.

    Raises
    ------
    UsageError
        The precision is ``int8``.
    """

    name = "torch"
    bank: Bank | None = None

    def __init__(
        self,
        network: Callable[[Attend], torch.nn.Module],
        precision: Precision = "fp32",
        *,
        device: str,
        cache_bytes: int = _CACHE_BYTES,
    ) -> None:
        import torch

        if precision == "int8":
            raise UsageError(
                "On torch a language model has no weights in eight bits.", next_step="Take bf16."
            )
        self.precision: Precision = precision
        self.version = str(torch.__version__)
        self._device = device
        self._dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        self._step: _Step | None = None
        self._told: dict[int, Attention] = {}
        self._network = network(self._attend).to(device=device, dtype=self._dtype).eval()
        first = self._computed([0, 0], [0, 1], [1])  # which tells what attention there is
        self.n_scores = first.shape[1]
        token_bytes = self._dtype.itemsize * sum(
            one.n_kv_heads * (one.head_size + one.value_size) for one in self._told.values()
        )
        n_blocks = max(_LEAST_BLOCKS, cache_bytes // (_BLOCK_TOKENS * token_bytes))
        self.pool = BlockPool(n_blocks, _BLOCK_TOKENS)
        self._caches = {
            layer: tuple(
                torch.zeros(
                    (n_blocks * _BLOCK_TOKENS, one.n_kv_heads, size), dtype=self._dtype, device=device
                )
                for size in (one.head_size, one.value_size)
            )
            for layer, one in self._told.items()
        }

    def run(self, parts: Sequence[Part]) -> Array:
        """Run texts together; return the scores that they want, ``float32 [sum of n_wanted, n_scores]``, in order."""
        self._step = step = _Step(parts, self._device)
        tokens = [token for part in parts for token in part.tokens]
        return self._computed(tokens, step.positions, step.wanted)

    def said(self, tokens: Sequence[int], adapter: str = "") -> Array:
        """Return the log probability of each token but the first after those before it, ``float64 [t - 1]``, in nats.

        Raises
        ------
        UsageError
            The text does not fit into the cache.
        """
        return said_by(self, tokens, adapter)

    def _computed(self, tokens: Sequence[int], positions: Sequence[int], wanted: Sequence[int]) -> Array:
        import torch

        given = (torch.tensor(one, device=self._device) for one in (tokens, positions, wanted))
        with torch.inference_mode():
            found: Array = self._network(*given).float().cpu().numpy()
        return found

    def _attend(
        self,
        layer: int,
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        told: Attention,
    ) -> torch.Tensor:
        import torch

        if self._step is None:
            self._told[layer] = told
            causal = torch.ones(len(queries), len(queries), dtype=torch.bool, device=self._device).tril()
            return _attended(queries[None], keys[None], values[None], causal, told)[0]
        step, (all_keys, all_values) = self._step, self._caches[layer]
        all_keys[step.slots], all_values[step.slots] = keys.to(self._dtype), values.to(self._dtype)
        found = queries.new_empty((*queries.shape[:2], told.value_size))
        for group in step.groups:
            seen = all_keys[group.slots], all_values[group.slots]
            mask = group.mask(told.window)
            found[group.rows] = _attended(queries[group.rows], *seen, mask, told)
        return found


@dataclass(eq=False)
class _Group:
    """Texts that attend together: ``rows [b, n]`` of their tokens, and ``slots [b, l]`` of all that these may see.

    ``ends [b, n]`` are how many of the slots each token sees.
    """

    rows: torch.Tensor
    slots: torch.Tensor
    ends: torch.Tensor

    def mask(self, window: int) -> torch.Tensor:
        """Return which slots each token sees, ``bool [b, 1, n, l]``."""
        import torch

        place = torch.arange(self.slots.shape[1], device=self.slots.device)
        ends = self.ends[:, None, :, None]
        seen = place < ends
        return seen & (place >= ends - window) if window else seen


class _Step:
    """Where the tokens of one run go, and what they see."""

    def __init__(self, parts: Sequence[Part], device: str) -> None:
        self._parts, self._device = parts, device
        self.positions = [place for part in parts for place in self._places(part)]
        begins = np.cumsum([0, *(len(part.tokens) for part in parts)]).tolist()
        self._begins = begins
        self.wanted = [
            row
            for part, end in zip(parts, begins[1:], strict=True)
            for row in range(end - part.n_wanted, end)
        ]

    @staticmethod
    def _places(part: Part) -> range:
        return range(part.n_before, part.n_before + len(part.tokens))

    @cached_property
    def slots(self) -> torch.Tensor:
        """Where keys and values of the tokens are kept, ``int64 [t]``."""
        import torch

        found = [
            part.blocks[place // _BLOCK_TOKENS] * _BLOCK_TOKENS + place % _BLOCK_TOKENS
            for part in self._parts
            for place in self._places(part)
        ]
        return torch.tensor(found, device=self._device)

    @cached_property
    def groups(self) -> list[_Group]:
        """Return texts of one token together, and each other one by itself."""
        numbered = list(enumerate(self._parts))
        single = [number for number, part in numbered if len(part.tokens) == 1]
        others = [[number] for number, part in numbered if len(part.tokens) > 1]
        return [self._group(numbers) for numbers in ([single] if single else []) + others]

    def _group(self, numbers: Sequence[int]) -> _Group:
        import torch

        parts = [self._parts[number] for number in numbers]
        longest = max(part.n_before + len(part.tokens) for part in parts)
        slots = np.zeros((len(parts), longest), np.int64)
        for row, part in enumerate(parts):
            n = part.n_before + len(part.tokens)
            blocks = np.repeat(np.asarray(part.blocks, np.int64) * _BLOCK_TOKENS, _BLOCK_TOKENS)[:n]
            slots[row, :n] = blocks + np.arange(n) % _BLOCK_TOKENS
        rows = [
            [self._begins[number] + i for i in range(len(self._parts[number].tokens))] for number in numbers
        ]
        ends = [[place + 1 for place in self._places(part)] for part in parts]
        given = (torch.from_numpy(slots), torch.tensor(ends))
        return _Group(torch.tensor(rows, device=self._device), *(one.to(self._device) for one in given))


def _attended(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, told: Attention
) -> torch.Tensor:
    """Return what ``queries [b, n, heads, size]`` take from ``[b, l, kv_heads, size]``, as many for each query."""
    from torch.nn.functional import scaled_dot_product_attention

    found: torch.Tensor = scaled_dot_product_attention(
        queries.transpose(1, 2),
        keys.transpose(1, 2).to(queries.dtype),
        values.transpose(1, 2).to(queries.dtype),
        attn_mask=mask,
        scale=told.scale,
        enable_gqa=told.n_kv_heads != told.n_heads,
    )
    return found.transpose(1, 2)
