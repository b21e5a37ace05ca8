"""Writing several texts at once: newcomers join a batch that runs, and each leaves it as soon as it has ended.

Every step runs one more token of each text that is being written, and as many tokens of the beginnings of others as
there is room for, so that a long beginning holds nobody up for long (Yu et al., *Orca*, OSDI 2022; Agrawal et al.,
*Sarathi-Serve*, arXiv 2403.02310). Where the cache is full, the text that came last gives its blocks back and begins
again later, with what it has written so far. It knows no letters: texts are tokens here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from topwork.contracts import Array, Ending, Grammar, Sampling, Written
from topwork.engines.paged import Decoder, Part
from topwork.engines.paging import Lease
from topwork.engines.sampling import choose, likeliest, log_probability, require
from topwork.errors import UsageError

__all__ = ["Decoder", "Joining", "Opening", "write"]

_STEP_TOKENS: Final = 256
"""Of beginnings that one step runs, beside a token of each text that is being written."""
_MOST_TEXTS: Final = 64
_TOLD: Final = "told"


class Joining(Protocol):
    """Whom a batch asks between two steps who else has come, and who has gone."""

    def admit(self) -> Sequence[Opening]:
        """Return texts that have come meanwhile; they take the next numbers."""
        ...

    def gone(self) -> Collection[int]:
        """Return the numbers of texts that nobody waits for any more."""
        ...


@dataclass(frozen=True, slots=True)
class Opening:
    """How a text begins, and how it is to go on.

    Attributes
    ----------
    tokens
        At least one.
    n_most
        Tokens to be written at most, 1 or more.
    stops
        Tokens that end it.
    n_likeliest
        How many of the likeliest tokens are told with each.
    grammar
        Makes what the text must keep to; None where it may be anything.
    adapter
        Name of the decoder's adapter that writes it; empty for none.
    tells_given
        Whether its own tokens but the first are given, too, each with its log probability after those before it.
    """

    tokens: tuple[int, ...]
    n_most: int
    sampling: Sampling = field(default_factory=Sampling)
    stops: frozenset[int] = frozenset()
    n_likeliest: int = 0
    grammar: Callable[[], Grammar] | None = None
    adapter: str = ""
    tells_given: bool = False


@dataclass(slots=True, eq=False)
class _Text:
    """A text on its way: ``tokens`` are all of it, the first ``n_known`` are in the cache.

    The first ``n_told`` need not be told.
    """

    number: int
    opening: Opening
    draw: np.random.Generator
    tokens: list[int]
    grammar: Grammar | None = None
    lease: Lease | None = None
    n_known: int = 0
    n_told: int = 1

    @property
    def n_written(self) -> int:
        return len(self.tokens) - len(self.opening.tokens)

    @property
    def root(self) -> str:
        """What its blocks are kept under: those of other texts know no scores after their tokens."""
        return _TOLD if self.opening.tells_given else self.opening.adapter

    def n_wanted(self, n: int) -> int:
        """Return after how many of the next ``n`` tokens scores are wanted."""
        if self.opening.tells_given and self.n_told < len(self.opening.tokens):
            return n
        return int(self.n_known + n == len(self.tokens))


def write(decoder: Decoder, openings: Sequence[Opening], joining: Joining | None = None) -> Iterator[Written]:
    """Go on with texts, all at once, and give each token as it is chosen.

    What a text becomes does not depend on the others, as far as the decoder rounds alike whatever else it runs.

    Raises
    ------
    UsageError
        A text does not fit into the cache by itself, or its sampling makes no sense.
    """
    batch = _Batch(decoder)
    try:
        yield from batch.run(openings, joining)
    finally:  # whoever asks for no more leaves nothing behind
        batch.leave_all()


class _Batch:
    """The texts that are being written, in the order in which they came, and those that wait for room."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder, self.pool = decoder, decoder.pool
        self.running: list[_Text] = []
        self.waiting: deque[_Text] = deque()
        self.n_come = 0

    def run(self, openings: Sequence[Opening], joining: Joining | None) -> Iterator[Written]:
        self._come(openings)
        while True:
            if joining is not None:
                self._come(joining.admit())
                self._go(joining.gone())
            self._begin()
            if not self.running:
                return
            yield from self._step()  # all at once, for scores hold until anybody's next run

    def leave_all(self) -> None:
        """Give back all blocks."""
        for text in list(self.running):
            self._leave(text)

    def _come(self, openings: Sequence[Opening]) -> None:
        for opening in openings:
            most = self.pool.n_blocks * self.pool.n_tokens
            if len(opening.tokens) + opening.n_most > most:
                raise UsageError(
                    f"A text of {len(opening.tokens):,} tokens that is to become {opening.n_most:,} longer does not "
                    f"fit into a cache of {most:,}.",
                    next_step="Ask for less, or give the cache more memory.",
                )
            draw = np.random.default_rng(require(opening.sampling).seed)
            grammar = opening.grammar() if opening.grammar is not None else None
            self.waiting.append(_Text(self.n_come, opening, draw, list(opening.tokens), grammar))
            self.n_come += 1

    def _go(self, numbers: Collection[int]) -> None:
        for text in [one for one in self.running if one.number in numbers]:
            self._leave(text)
        self.waiting = deque(one for one in self.waiting if one.number not in numbers)

    def _begin(self) -> None:
        while self.waiting and len(self.running) < _MOST_TEXTS:
            text = self.waiting[0]
            text.lease = self.pool.take(text.tokens, root=text.root)
            if text.lease is None:
                return
            text.n_known = text.lease.n_shared
            self.running.append(self.waiting.popleft())

    def _leave(self, text: _Text) -> None:
        assert text.lease is not None
        self.pool.release(text.lease)
        text.lease = None
        self.running.remove(text)

    def _step(self) -> list[Written]:
        """Run one step, and return the tokens that are chosen after it."""
        chosen = list(self._parts())
        scores = self.decoder.run([part for _, part in chosen])
        place = 0
        written: list[Written] = []
        for text, part in chosen:
            assert text.lease is not None
            text.n_known += len(part.tokens)
            if not text.opening.tells_given:
                self.pool.keep(text.lease, text.tokens[: text.n_known], root=text.root)
            own = scores[place : place + part.n_wanted]
            place += part.n_wanted
            written += _given(text, own)
            if part.n_wanted and text.n_known == len(text.tokens):
                written.append(self._chosen(text, own[-1]))
        return written

    def _parts(self) -> Iterator[tuple[_Text, Part]]:
        """Return what each text adds, as far as there is room for it."""
        n_left = _STEP_TOKENS
        for text in list(self.running):
            if text not in self.running:
                continue  # it had to make room for one before it
            n_missing = len(text.tokens) - text.n_known
            n = 1 if n_missing == 1 else min(n_missing, n_left)
            if not n or not self._has_room(text):
                continue
            n_left -= 0 if n_missing == 1 else n
            assert text.lease is not None
            tokens = text.tokens[text.n_known : text.n_known + n]
            blocks = text.lease.blocks[: self.pool.needed(text.n_known + n)]
            yield text, Part(tokens, text.n_known, blocks, text.n_wanted(n), text.opening.adapter)

    def _has_room(self, text: _Text) -> bool:
        """Make room for a text, where need be by having later ones begin again; False where it is the last one."""
        assert text.lease is not None
        while not self.pool.grow(text.lease, len(text.tokens)):
            last = self.running[-1]
            self._leave(last)
            last.n_known = 0
            self.waiting.appendleft(last)
            if last is text:
                return False
        return True

    def _chosen(self, text: _Text, scores: Array) -> Written:
        token = _next_of(text, scores)
        text.tokens.append(token)
        ending: Ending | None = None
        if token in text.opening.stops:
            ending = "stop"
        elif text.n_written == text.opening.n_most:
            ending = "length"
        if ending:
            self._leave(text)
        found = log_probability(scores, token)
        return Written(text.number, token, found, ending, likeliest(scores, text.opening.n_likeliest))


def _given(text: _Text, scores: Array) -> Iterator[Written]:
    """Give what is yet to be told of a text's own tokens, by the scores after its last known ones."""
    opening = text.opening
    if not opening.tells_given:
        return
    first = text.n_known - len(scores) + 1  # the place of the token that the first scores are of
    for place in range(max(first, text.n_told), min(text.n_known + 1, len(opening.tokens))):
        row, token = scores[place - first], opening.tokens[place]
        found = log_probability(row, token)
        yield Written(text.number, token, found, None, likeliest(row, opening.n_likeliest), is_given=True)
        text.n_told = place + 1


def _next_of(text: _Text, scores: Array) -> int:
    """Choose a text's next token."""
    opening, grammar = text.opening, text.grammar
    allowed = grammar.allowed() if grammar is not None else None
    token = choose(
        scores, opening.sampling, text.tokens, text.draw, n_given=len(opening.tokens), allowed=allowed
    )
    if grammar is not None:
        grammar.take(token)
    return token
