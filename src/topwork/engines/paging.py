"""Blocks of a key-value cache: who has which, and which hold the beginning of a text that may come again.

A block holds keys and values of so many tokens that follow each other. Texts that begin alike share the blocks of what
they have in common, as far as these are full, so that this is computed once; a block that nobody uses any more keeps
what it holds until it is needed for something else, the longest unused one first (Kwon et al., *Efficient Memory
Management for Large Language Model Serving with PagedAttention*, arXiv 2309.06180). It knows no engine and computes
nothing.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from topwork.errors import UsageError

__all__ = ["BlockPool", "Lease"]


@dataclass(slots=True, eq=False)
class Lease:
    """The blocks of one text, in its order.

    Attributes
    ----------
    blocks
        Their numbers.
    n_shared
        Tokens whose keys and values were there when the lease began.
    marks
        Digests of the text up to the end of each block that `BlockPool.keep` knows of.
    """

    blocks: list[int]
    n_shared: int
    marks: list[bytes] = field(default_factory=list)


class BlockPool:
    """Gives out ``n_blocks`` blocks of ``n_tokens`` each; for one thread."""

    def __init__(self, n_blocks: int, n_tokens: int) -> None:
        if n_blocks < 1 or n_tokens < 1:
            raise UsageError(f"A cache of {n_blocks} blocks of {n_tokens} tokens holds nothing.")
        self.n_blocks, self.n_tokens = n_blocks, n_tokens
        self._fresh = list(range(n_blocks - 1, -1, -1))
        self._users = [0] * n_blocks
        self._known: dict[bytes, int] = {}
        self._mark_of: dict[int, bytes] = {}
        self._unused: OrderedDict[int, None] = OrderedDict()
        """Blocks that hold something known and have no user, the longest unused one first."""

    @property
    def n_free(self) -> int:
        """Return how many blocks can be given out."""
        return len(self._fresh) + len(self._unused)

    def needed(self, n_tokens: int) -> int:
        """Return how many blocks so many tokens fill."""
        return -(-n_tokens // self.n_tokens)

    def take(self, tokens: Sequence[int], root: str = "") -> Lease | None:
        """Lease blocks for a text; None where there are too few.

        Parameters
        ----------
        tokens
            At least one. The last one is never taken as known, for what follows it is wanted.
        root
            Texts with another one share nothing: what computes them is not the same.
        """
        found = self._found(tokens, root)
        n_new = self.needed(len(tokens)) - len(found)
        n_idle = sum(1 for block, _ in found if not self._users[block])
        if n_new > self.n_free - n_idle:
            return None
        blocks = [block for block, _ in found]
        for block in blocks:
            self._use(block)
        blocks += [self._fresh_block() for _ in range(n_new)]
        return Lease(blocks, len(found) * self.n_tokens, [mark for _, mark in found])

    def grow(self, lease: Lease, n_tokens: int) -> bool:
        """Make room for so many tokens in all; False where there is none, and nothing is changed."""
        n_new = self.needed(n_tokens) - len(lease.blocks)
        if n_new > self.n_free:
            return False
        lease.blocks += [self._fresh_block() for _ in range(n_new)]
        return True

    def keep(self, lease: Lease, tokens: Sequence[int], root: str = "") -> None:
        """Let others share what is computed by now: the full blocks of these tokens."""
        mark = lease.marks[-1] if lease.marks else _root(root)
        for place in range(len(lease.marks), len(tokens) // self.n_tokens):
            mark = self._mark(mark, tokens, place)
            lease.marks.append(mark)
            block = lease.blocks[place]
            if mark not in self._known and block not in self._mark_of:
                self._known[mark], self._mark_of[block] = block, mark

    def release(self, lease: Lease) -> None:
        """Give the blocks back; what they hold stays known for as long as they are not needed."""
        for block in lease.blocks:
            self._users[block] -= 1
            if self._users[block]:
                continue
            if block in self._mark_of:
                self._unused[block] = None
            else:
                self._fresh.append(block)
        lease.blocks, lease.marks = [], []

    def _found(self, tokens: Sequence[int], root: str) -> list[tuple[int, bytes]]:
        found, mark = [], _root(root)
        for place in range((len(tokens) - 1) // self.n_tokens):
            mark = self._mark(mark, tokens, place)
            if (block := self._known.get(mark)) is None:
                break
            found.append((block, mark))
        return found

    def _mark(self, before: bytes, tokens: Sequence[int], place: int) -> bytes:
        own = np.asarray(tokens[place * self.n_tokens : (place + 1) * self.n_tokens], np.int64)
        return hashlib.blake2b(before + own.tobytes(), digest_size=16).digest()

    def _use(self, block: int) -> None:
        self._unused.pop(block, None)
        self._users[block] += 1

    def _fresh_block(self) -> int:
        if self._fresh:
            block = self._fresh.pop()
        else:
            block, _ = self._unused.popitem(last=False)
            del self._known[self._mark_of.pop(block)]
        self._users[block] += 1
        return block


def _root(root: str) -> bytes:
    return hashlib.blake2b(root.encode(), digest_size=16).digest()
