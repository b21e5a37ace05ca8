"""An n-gram model of tokens, which a language model has to beat, and how much of a text is copied from others."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log
from typing import Final

__all__ = ["NgramModel", "copied_share"]

_DISCOUNT: Final = 0.75
_COPIED: Final = 12
"""So many tokens in a row that stand in another text are a copy: fewer are figures of speech."""


@dataclass(slots=True, eq=False)
class NgramModel:
    """Interpolated Kneser-Ney smoothing (Chen & Goodman, *An Empirical Study of Smoothing Techniques*, 1999).

    Attributes
    ----------
    n_tokens
        Of the vocabulary: each of them may follow.
    order
        How many tokens a gram has.
    """

    n_tokens: int
    order: int = 3
    _counts: list[Counter[tuple[int, ...]]] = field(default_factory=list)
    _totals: list[Counter[tuple[int, ...]]] = field(default_factory=list)
    _kinds: list[Counter[tuple[int, ...]]] = field(default_factory=list)

    def fit(self, texts: Sequence[Sequence[int]]) -> NgramModel:
        """Count the grams of texts."""
        highest: Counter[tuple[int, ...]] = Counter(
            tuple(text[i : i + self.order]) for text in texts for i in range(len(text) - self.order + 1)
        )
        grams = [Counter[tuple[int, ...]]() for _ in range(self.order)]
        grams[-1] = highest
        before: dict[tuple[int, ...], set[int]]
        # Below the highest order a gram counts for how many different tokens stand before it.
        for n in range(self.order - 1, 0, -1):
            before = defaultdict(set)
            for gram in grams[n]:
                before[gram[1:]].add(gram[0])
            grams[n - 1] = Counter({gram: len(tokens) for gram, tokens in before.items()})
        self._counts, self._totals, self._kinds = grams, [], []
        for counts in grams:
            totals, kinds = Counter[tuple[int, ...]](), Counter[tuple[int, ...]]()
            for gram, n_times in counts.items():
                totals[gram[:-1]] += n_times
                kinds[gram[:-1]] += 1
            self._totals.append(totals)
            self._kinds.append(kinds)
        return self

    def probability(self, token: int, before: Sequence[int]) -> float:
        """Return the probability that a token follows others."""
        found = 1.0 / self.n_tokens
        for n in range(min(self.order, len(before) + 1)):
            context = tuple(before[len(before) - n :]) if n else ()
            if not (total := self._totals[n][context]):
                break
            own = max(0.0, self._counts[n][(*context, token)] - _DISCOUNT)
            found = (own + _DISCOUNT * self._kinds[n][context] * found) / total
        return found

    def cost(self, text: Sequence[int], is_said: Sequence[bool]) -> float:
        """Return what it costs to say the marked tokens of a text, in nats."""
        return -sum(
            log(self.probability(text[i], text[max(0, i - self.order + 1) : i]))
            for i in range(1, len(text))
            if is_said[i]
        )


def copied_share(texts: Sequence[Sequence[int]], sources: Sequence[Sequence[int]], n: int = _COPIED) -> float:
    """Return the share of the texts' tokens that stand in a run of ``n`` or more that is in a source too, 0 to 1."""
    known = {tuple(source[i : i + n]) for source in sources for i in range(len(source) - n + 1)}
    n_copied = n_all = 0
    for text in texts:
        is_copied = [False] * len(text)
        for i in range(len(text) - n + 1):
            if tuple(text[i : i + n]) in known:
                is_copied[i : i + n] = [True] * n
        n_copied += sum(is_copied)
        n_all += len(text)
    return n_copied / n_all if n_all else 0.0
