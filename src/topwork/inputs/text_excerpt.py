"""What a person is shown of a text: its beginning, or all of it with heat on its words. It knows no network."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from topwork.contracts import Array
from topwork.errors import UsageError
from topwork.inputs.text_tokens import Window

__all__ = ["excerpt", "marked"]

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
