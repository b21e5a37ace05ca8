"""Tokens: cutting a clean text into windows of numbered tokens, each with its place in the text.

The tokeniser is data: the content of a ``tokenizer.json``, executed by the package ``tokenizers``, one object per
specification for all threads. It knows no network and no bytes.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from topwork.contracts import Array
from topwork.errors import DecodeError, MissingExtraError, UsageError
from topwork.inputs.text_opening import word_spans
from topwork.inputs.text_preprocessing import WORDS, TextPreprocessing

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["N_WORD_IDS", "Window", "tensor_of", "tokenizers_version", "windows_of"]

STEP = 16
"""The length of a lone window is rounded up to a multiple of this, so that few lengths occur in a batch."""

N_WORD_IDS = 1 << 20
"""How many numbers there are for the words of `WORDS`."""

_N_KEPT = 8  # tokenisers in memory, some 10 MB each
_BUILDING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Window:
    """Tokens that a network sees together.

    Attributes
    ----------
    ids
        Numbers of the tokens, at least one, special tokens included.
    spans
        Where each token begins and ends in the text, in characters; special tokens are empty.
    n_special, n_leading
        How many of them the tokeniser has put around those of the text, and how many of these stand before.
    """

    ids: Sequence[int]
    spans: Sequence[tuple[int, int]]
    n_special: int = 0
    n_leading: int = 0

    @property
    def n_own(self) -> int:
        """How many tokens are the text's own."""
        return len(self.ids) - self.n_special


def windows_of(text: str, spec: TextPreprocessing) -> tuple[list[Window], int]:
    """Cut a clean text into windows; return those that are kept, and how many tokens lie beyond them.

    Windows follow each other without overlap, as few as will do and of about the same length, each with the
    tokeniser's own special tokens; those do not count among the tokens that are dropped.

    Raises
    ------
    DecodeError
        The tokeniser knows nothing of what the text holds.
    MissingExtraError
        The package ``tokenizers`` is not installed.
    UsageError
        The tokeniser cannot be loaded, or a window holds nothing besides its special tokens.
    """
    windows = _hashed(text, spec) if spec.tokenizer == WORDS else _tokenised(text, spec)
    if not windows:
        raise DecodeError(
            "The tokeniser finds no token in the text.", next_step="Leave it out, or choose another trunk."
        )
    n_dropped = sum(one.n_own for one in windows[spec.max_windows :])
    return _evened(windows[: spec.max_windows]), n_dropped


def tensor_of(windows: Sequence[Window], spec: TextPreprocessing) -> Array:
    """Return ``int32 [k, w]``: the number of each token plus 1, and 0 where there is none."""
    longest = max(len(one.ids) for one in windows)
    width = min(spec.window, -(-longest // STEP) * STEP)
    tensor = np.zeros((len(windows), width), dtype=np.int32)
    for row, one in zip(tensor, windows, strict=True):
        row[: len(one.ids)] = np.asarray(one.ids, dtype=np.int64) + 1
    return tensor


def _evened(windows: Sequence[Window]) -> list[Window]:
    """Share the text's own tokens evenly among as many windows: two of 140 tokens cost less than 256 and 24 padded.

    The special tokens that the first window begins and ends with stand around each.
    """
    first = windows[0]
    if len(windows) == 1:
        return [first]
    n_ending = first.n_special - first.n_leading
    before, after = list(first.ids[: first.n_leading]), list(first.ids[len(first.ids) - n_ending :])
    ids: list[int] = []
    spans: list[tuple[int, int]] = []
    for one in windows:
        own = slice(one.n_leading, one.n_leading + one.n_own)
        ids += one.ids[own]
        spans += one.spans[own]
    cuts = np.linspace(0, len(ids), len(windows) + 1).round().astype(int)
    nowhere = [(0, 0)]
    return [
        Window(
            before + ids[start:end] + after,
            nowhere * len(before) + spans[start:end] + nowhere * len(after),
            first.n_special,
            first.n_leading,
        )
        for start, end in pairwise(cuts)
    ]


def tokenizers_version() -> str:
    """Return the version of the package ``tokenizers``; ``none`` where it is not installed."""
    try:
        return metadata.version("tokenizers")
    except metadata.PackageNotFoundError:
        return "none"


def _hashed(text: str, spec: TextPreprocessing) -> list[Window]:
    """Give each word a hash for its number; a text without words is one token."""
    spans = word_spans(text) or [(0, len(text))]
    ids = [zlib.crc32(text[start:end].lower().encode()) % N_WORD_IDS for start, end in spans]
    cuts = range(0, len(ids), spec.window)
    return [Window(ids[at : at + spec.window], spans[at : at + spec.window]) for at in cuts]


def _tokenised(text: str, spec: TextPreprocessing) -> list[Window]:
    with _BUILDING:  # otherwise every thread builds its own
        tokenizer = _tokenizer(spec.tokenizer, spec.window)
    whole = tokenizer.encode(text)
    parts = (whole, *whole.overflowing)
    windows = [Window(one.ids, one.offsets, *_special(one.special_tokens_mask)) for one in parts]
    return [one for one in windows if one.n_own]


def _special(mask: Sequence[int]) -> tuple[int, int]:
    """Return how many tokens are special, and how many of them stand before the text's own."""
    n_leading = next((place for place, is_special in enumerate(mask) if not is_special), len(mask))
    return sum(mask), n_leading


@lru_cache(maxsize=_N_KEPT)
def _tokenizer(content: str, window: int) -> Tokenizer:
    """Build a tokeniser that cuts windows; the cache goes by the content."""
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtraError(
            "Reading texts for a network needs the package tokenizers, which is not installed.",
            next_step="Install topwork with its extra text.",
        ) from error
    try:
        tokenizer = Tokenizer.from_str(content)
        tokenizer.no_padding()
        tokenizer.enable_truncation(window, stride=0)
    except Exception as error:  # the package raises bare exceptions
        raise UsageError(f"The tokeniser cannot be loaded: {error}.") from error
    if window <= tokenizer.num_special_tokens_to_add(is_pair=False):
        raise UsageError(f"A window of {window} tokens has no room beside the tokeniser's special tokens.")
    return tokenizer
