"""What a person is shown of a text: its beginning, or all of it with heat on its words. It knows no network."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from topwork.contracts import Array
from topwork.errors import UsageError
from topwork.inputs.text_tokens import Window

__all__ = ["around_warmest", "excerpt", "marked", "stretches"]

_MORE = "…"
_PIECES = re.compile(r"\s+|\S+")


def excerpt(text: str, n_characters: int) -> str:
    """Return the beginning of a clean text on one line, at most ``n_characters`` long, cut between words."""
    line = " ".join(text.split())
    if len(line) <= n_characters:
        return line
    room = max(0, n_characters - len(_MORE))
    head, blank, _ = line[: room + 1].rpartition(" ")
    # A word that is longer than the room, or a script without blanks, is cut where the room ends.
    return (head if blank else line[:room]) + _MORE


def marked(text: str, windows: Sequence[Window], heat: Array) -> tuple[tuple[str, float], ...]:
    """Cut a clean text into words and the white space between them, each with the heat of its tokens.

    Parameters
    ----------
    windows
        What the network was shown of it.
    heat
        ``float32 [k, w]``, one number per token; numbers where no token stands do not count.

    Returns
    -------
    Pieces that joined give the text, and the sum of the heat of the tokens that end in each.
    """
    if heat.ndim != 2 or len(heat) != len(windows) or heat.shape[1] < max(len(one.ids) for one in windows):
        longest = max(len(one.ids) for one in windows)
        raise UsageError(
            f"The heat is {list(heat.shape)}; expected [{len(windows)}, {longest}] or more columns."
        )
    pieces = list(_PIECES.finditer(text))
    ends = np.array([piece.end() for piece in pieces])
    sums = np.zeros(len(pieces))
    for row, one in zip(heat, windows, strict=True):
        for value, (start, end) in zip(row.tolist(), one.spans, strict=False):
            if end > start:  # special tokens stand nowhere in the text
                sums[np.searchsorted(ends, end)] += value
    return tuple((piece[0], float(total)) for piece, total in zip(pieces, sums, strict=True))


def around_warmest(pieces: Sequence[tuple[str, float]], n_characters: int) -> tuple[tuple[str, float], ...]:
    """Return the pieces of a long text that lie around those with the most heat, about ``n_characters`` of them."""
    lengths = np.array([len(text) for text, _ in pieces])
    if lengths.sum() <= n_characters:
        return tuple(pieces)
    ends = np.cumsum(lengths)
    heat = np.concatenate([[0.0], np.cumsum([abs(warm) for _, warm in pieces])])
    # Every stretch of that length that begins with a piece, by the heat in it; the first of the warmest.
    lasts = np.searchsorted(ends, ends - lengths + n_characters, side="right")
    lasts = np.maximum(lasts, np.arange(len(pieces)) + 1)
    first = int(np.argmax(heat[lasts] - heat[:-1]))
    last = int(lasts[first])
    before = ((_MORE, 0.0),) if first else ()
    after = ((_MORE, 0.0),) if last < len(pieces) else ()
    return (*before, *pieces[first:last], *after)


def stretches(tensor: Array, most: int) -> Array:
    """Cut the tokens of ``int32 [k, w]`` into at most ``most`` stretches of equal length, ``bool [m, k, w]``.

    The first and the last token of each window, which the tokeniser put there, belong to none.
    """
    inner = tensor > 0
    n_tokens = inner.sum(axis=1)
    inner[:, 0] = False
    inner[np.arange(len(tensor)), np.maximum(n_tokens - 1, 0)] = False
    places = np.argwhere(inner)
    length = max(1, -(-len(places) // most))
    starts = range(0, len(places), length)
    found = np.zeros((len(starts), *tensor.shape), dtype=bool)
    for part, start in zip(found, starts, strict=True):
        part[tuple(places[start : start + length].T)] = True
    return found
