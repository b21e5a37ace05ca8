"""Which tokens of a tokeniser are no words, and which one stands for a hidden word.

It reads the content of a ``tokenizer.json`` as data and needs no library; it knows no network.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Masking", "masking_of"]

_MASKS = ("[MASK]", "<mask>")


@dataclass(frozen=True, slots=True)
class Masking:
    """Number of the token that stands for a hidden word, and the numbers of all tokens that are no words."""

    mask: int
    special: tuple[int, ...]


def masking_of(tokenizer: str) -> Masking | None:
    """Read the content of a ``tokenizer.json``; None where it has no token for hidden words, or is something else."""
    try:
        content = json.loads(tokenizer)
        added = {one["content"]: int(one["id"]) for one in content["added_tokens"] if one["special"]}
        special = {*added.values(), *_around(content.get("post_processor"))}
    except (ValueError, KeyError, TypeError):
        return None
    mask = next((added[name] for name in _MASKS if name in added), None)
    return None if mask is None else Masking(mask, tuple(sorted(special)))


def _around(processor: Any) -> Iterator[int]:
    """Yield the tokens that a tokeniser puts around a text."""
    if not isinstance(processor, dict):
        return
    for inner in processor.get("processors", []):
        yield from _around(inner)
    for one in processor.get("special_tokens", {}).values():
        yield from one["ids"]
    for name in ("sep", "cls"):
        if name in processor:
            yield int(processor[name][1])
