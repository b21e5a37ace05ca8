"""Whether a story goes in circles: sentences that were there before, and phrases over and over. It knows no model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

__all__ = ["circles", "repeats"]

_GRAM: Final = 4
_ALIKE: Final = 0.8
"""Share of a sentence's runs of four words that stand in another one, from which on they are the same."""
_FEW_WORDS: Final = 4
"""Sentences shorter than that come again in any story."""
_OFTEN: Final = 3
_WORD: Final = re.compile(r"[\w'’]+")


def repeats(sentence: str, before: Iterable[str]) -> bool:
    """Tell whether a sentence says what one of the sentences before it has said."""
    words = _words(sentence)
    if len(words) < _FEW_WORDS:
        return False
    own = _grams(words)
    return any(words == other or _are_alike(own, _grams(other)) for other in map(_words, before))


def circles(text: str) -> bool:
    """Tell whether a text says a phrase of four words three times, or a word six times in a row."""
    words = _words(text)
    if any(n >= _OFTEN for n in Counter(_runs(words)).values()):
        return True
    return any(len(set(words[i : i + 2 * _OFTEN])) == 1 for i in range(len(words) - 2 * _OFTEN + 1))


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def _runs(words: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + _GRAM]) for i in range(len(words) - _GRAM + 1)]


def _grams(words: Sequence[str]) -> set[tuple[str, ...]]:
    return set(_runs(words))


def _are_alike(one: set[tuple[str, ...]], other: set[tuple[str, ...]]) -> bool:
    return len(one) >= _FEW_WORDS and len(one & other) >= _ALIKE * len(one)
