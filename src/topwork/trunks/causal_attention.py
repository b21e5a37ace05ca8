"""Attention for training in bf16 on a processor: whole matrices at once, which are small where texts are packed.

torch's own kernel goes through a row in tiles, and takes nearly three times as long over rows of 512 tokens with a
mask. In fp32, and wherever a network asks for something that is not known here, that one is used.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch

__all__ = ["TRAINED", "register_trained"]

TRAINED: Final = "topwork_trained"
"""What the transformers library calls it."""
_KNOWN: Final = frozenset({"position_ids", "sliding_window", "use_cache", "output_attentions", "is_causal"})
"""What the library tells an attention and the mask says already."""
_LONGEST: Final = 1024
"""Tokens of a row; of longer ones the whole matrices take more time than tiles."""


@cache
def register_trained() -> str:
    """Let the library find it, and return its name there."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, eager_mask

    AttentionInterface.register(TRAINED, _attend)
    AttentionMaskInterface.register(TRAINED, eager_mask)
    return TRAINED


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **further: Any,
) -> tuple[torch.Tensor, None]:
    """Attend; states are ``[n, heads, t, size]``, the mask ``[n, 1, t, t]``, the result ``[n, t, heads, size]``."""
    import torch

    strange = dropout or any(name not in _KNOWN and one is not None for name, one in further.items())
    device = query.device.type
    is_short = device == "cpu" and torch.is_autocast_enabled(device) and query.shape[2] <= _LONGEST
    # A GPU's own attention with a mask adds up in whatever order its threads arrive; whole matrices have one order.
    if strange or not (is_short or device != "cpu") or attention_mask is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        found, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **further
        )
        return found, None
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else query.dtype
    with torch.autocast(device, enabled=False):
        n, heads, length, size = query.shape
        shared = heads // key.shape[1]
        q, k, v = (
            one.to(dtype).repeat_interleave(times, dim=1).reshape(n * heads, length, -1)
            for one, times in ((query, 1), (key, shared), (value, shared))
        )
        mask = attention_mask.to(dtype).expand(n, heads, length, length).reshape(n * heads, length, length)
        scores = torch.baddbmm(mask, q, k.transpose(1, 2), alpha=size**-0.5 if scaling is None else scaling)
        found = torch.bmm(torch.softmax(scores, dim=-1), v)
        return found.view(n, heads, length, -1).transpose(1, 2), None
