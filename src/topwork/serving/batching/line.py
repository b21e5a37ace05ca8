"""Prepared inputs in line for a batch, in a fair order. It knows no thread and nothing of what is computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from topwork.serving.batching.share import Item, Share

__all__ = ["Line"]


class Line:
    """Who waits, by request: each has its turn with one input, so that a large one does not hold up a small one.

    The input whose turn it is decides what a batch is of; others of its key fill it up.
    """

    def __init__(self) -> None:
        self._turns: dict[Share, dict[Hashable, deque[Item]]] = {}
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def add(self, item: Item) -> None:
        """Put an input in line."""
        self._turns.setdefault(item.share, {}).setdefault(item.key, deque()).append(item)
        self._n += 1

    def leave(self, share: Share) -> int:
        """Take a request's inputs out; return how many there were."""
        n_items = sum(map(len, self._turns.pop(share, {}).values()))
        self._n -= n_items
        return n_items

    def unwanted(self, now_s: float) -> list[Share]:
        """Return the requests in line that nobody waits for any more."""
        return [share for share in self._turns if not share.is_wanted(now_s)]

    def first(self) -> Item:
        """Return the input whose turn it is; there must be one."""
        by_key = next(iter(self._turns.values()))
        return next(iter(by_key.values()))[0]

    def take(self, key: Hashable, n_most: int) -> list[Item]:
        """Take inputs of a key: one of each request, then another one of each, and so on."""
        taken: list[Item] = []
        n_before = -1
        while n_before < len(taken) < n_most:
            n_before = len(taken)
            for share in [one for one, by_key in self._turns.items() if key in by_key]:
                if len(taken) == n_most:
                    break
                taken.append(self._taken(share, key))
        return taken

    def _taken(self, share: Share, key: Hashable) -> Item:
        by_key = self._turns.pop(share)
        item = by_key[key].popleft()
        if not by_key[key]:
            del by_key[key]
        if by_key:  # Whoever had a turn stands at the end again.
            self._turns[share] = by_key
        self._n -= 1
        return item
