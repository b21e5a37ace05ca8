"""Texts out of nobody's data: made-up sentences, for proofs that may hold no text of anybody.

They exercise a tokeniser and a network the way texts do (common and rare words, figures, punctuation, short and long)
and mean nothing.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

__all__ = ["texts"]

_LONG = 40
"""Sentences of the long one: more than fits into the window of most networks."""

_ARTICLES = ("the", "a", "this", "every", "no", "her", "our")
_ADJECTIVES = (
    "old", "quiet", "yellow", "broken", "careful", "sudden", "wooden", "electric", "distant",
    "ordinary",
)  # fmt: skip
_NOUNS = (
    "river", "machine", "letter", "garden", "engine", "teacher", "window", "question", "market",
    "signal", "doctor", "bridge",
)  # fmt: skip
_VERBS = (
    "follows", "repairs", "remembers", "opens", "carries", "answers", "watches", "measures", "forgets",
    "describes",
)  # fmt: skip
_PLACES = ("near the harbour", "in winter", "after lunch", "without a word", "on the second floor", "at 7:45")
_SYLLABLES = (
    "ba", "tor", "mi", "len", "qua", "sti", "ver", "no", "fle", "dra", "zu", "pen",
)  # fmt: skip
_ENDS = (".", ".", ".", "!", "?", "...")


def texts(n: int, seed: int) -> tuple[bytes, ...]:
    """Make ``n`` texts in UTF-8; the same for the same seed, and the first ones the same for any ``n``.

    Of any three in a row, one is a few words, one a few sentences; the second is as long as a page.
    """
    return tuple(" ".join(_sentences(random.Random(f"{seed} {i}"), i)).encode() for i in range(n))  # noqa: S311


def _sentences(draw: random.Random, i: int) -> Iterator[str]:
    if i == 1:
        yield from (_sentence(draw) for _ in range(_LONG))
    elif i % 3 == 0:
        yield f"{_thing(draw)}, {draw.choice(_VERBS)}"
    else:
        yield from (_sentence(draw) for _ in range(draw.randint(1, 6)))


def _sentence(draw: random.Random) -> str:
    words = [_thing(draw), draw.choice(_VERBS), _thing(draw), draw.choice(_PLACES)]
    if draw.random() < 0.3:
        words.append(f"with {draw.randint(2, 900)} {draw.choice(_NOUNS)}s")
    text = " ".join(words)
    return text[0].upper() + text[1:] + draw.choice(_ENDS)


def _thing(draw: random.Random) -> str:
    noun = "".join(draw.choices(_SYLLABLES, k=3)) if draw.random() < 0.15 else draw.choice(_NOUNS)
    return f"{draw.choice(_ARTICLES)} {draw.choice(_ADJECTIVES)} {noun}"
