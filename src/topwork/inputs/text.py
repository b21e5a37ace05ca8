"""Texts: what a text becomes before a network sees it.

`TEXT` executes a specification (`TextPreprocessing`): it reads the bytes, cleans them, and cuts them into windows of
numbered tokens. What the numbers mean is the tokeniser's business; it knows no network and no label.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from topwork.contracts import Array, Decoded, Json, Piece, Preprocessing, Remark, Shown, Wire
from topwork.errors import UsageError
from topwork.inputs import text_description, text_excerpt, text_language, text_likeness, text_synthesis
from topwork.inputs.files import read_file
from topwork.inputs.text_opening import opened, words_of
from topwork.inputs.text_preprocessing import WORDS, TextPreprocessing
from topwork.inputs.text_tokens import tensor_of, tokenizers_version, windows_of

__all__ = ["TEXT", "TextModality"]

_REVISION = 1  # raise it when the same text and specification give another tensor
_SUFFIXES = (".txt", ".md")
_WIRE = Wire(
    in_json="text",
    media_types=("text/plain",),
    widget="textarea",
    max_bytes=256 * 1024,  # some 45,000 words
    noun="text",
)
_CHARACTERS_PER_PX = 2
_MOST_PARTS = 96


class TextModality:
    """Texts in any language; see `TEXT`, the only one there is."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """Return ``text``."""
        return "text"

    @property
    def suffixes(self) -> frozenset[str]:
        """Suffixes that a folder reader picks up."""
        return frozenset(_SUFFIXES)

    @property
    def wire(self) -> Wire:
        """The text itself in JSON, a field for several lines in a form."""
        return _WIRE

    @property
    def decoder(self) -> str:
        """Our revision, the version of the package ``tokenizers``, and that of Unicode."""
        return f"text {_REVISION} tokenizers {tokenizers_version()} unicode {unicodedata.unidata_version}"

    def encode(self, item: object) -> bytes:
        """Turn a text, the path of a file, or bytes into an encoded text. A string is the text itself.

        Raises
        ------
        DecodeError
            The file cannot be read.
        UsageError
            The item is of another kind.
        """
        if isinstance(item, bytes | bytearray | memoryview):
            return bytes(item)
        if isinstance(item, str):
            return item.encode("utf-8", "replace")  # half a surrogate pair is no character
        if isinstance(item, Path):
            return read_file(item)
        raise UsageError(
            f"Received {type(item).__name__}; expected a text, bytes, or the path of a file as a Path."
        )

    def decode(self, encoded: bytes, preprocessing: Preprocessing) -> Decoded:
        """Decode a text into ``int32 [k, w]``: k windows of w tokens, the number of each plus 1, 0 where none is.

        For one window ``w`` is the number of tokens, rounded up to a multiple of 16 and at most ``window``; for more
        it is ``window``. The facts are ``characters``, ``words``, ``tokens`` (special ones included) and ``windows``
        of what was kept, ``n_dropped`` tokens that were not, ``markup`` (share of the original) and ``n_replaced``.

        Raises
        ------
        DecodeError
            The bytes are no text, hold nothing, or are over a limit.
        MissingExtraError
            The package ``tokenizers`` is not installed.
        UsageError
            The specification belongs to another modality, or its tokeniser cannot be loaded.
        """
        spec = _own(preprocessing)
        clean = opened(encoded)
        windows, n_dropped = windows_of(clean.text, spec)
        facts = {
            "characters": float(len(clean.text)),
            "words": float(len(words_of(clean.text))),
            "tokens": float(sum(len(one.ids) for one in windows)),
            "windows": float(len(windows)),
            "n_dropped": float(n_dropped),
            "markup": clean.markup,
            "n_replaced": float(clean.n_replaced),
        }
        return Decoded(tensor_of(windows, spec), text_likeness.fingerprint(clean.text), facts)

    def n_tokens(self, tensor: Array) -> int:
        """Return how many tokens a decoded text has, special ones included."""
        return int(np.count_nonzero(tensor))

    def preprocessing(self, stored: Mapping[str, Json]) -> TextPreprocessing:
        """Read what `TextPreprocessing.to_json` wrote.

        Raises
        ------
        UsageError
            A key is missing or unknown, or a value out of range.
        """
        known = {f.name for f in fields(TextPreprocessing)}
        if wrong := sorted(known.symmetric_difference(stored)):
            raise UsageError(
                f"The text preprocessing has unknown or missing keys: {', '.join(wrong)}.",
                next_step=f"It has exactly these: {', '.join(sorted(known))}.",
            )
        return TextPreprocessing(**stored)  # type: ignore[arg-type]  # __post_init__ checks every field

    def inspection_preprocessing(self) -> TextPreprocessing:
        """Return a specification that needs no tokeniser: words by their hashes."""
        return TextPreprocessing(WORDS, window=512)

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """What is left out of texts, and what is put together."""
        return (
            Remark("markup", 0.0, "Markup such as HTML is taken out of {}"),
            Remark("n_replaced", 0.0, "Bytes that are no characters are read as \ufffd in {}"),
            Remark("windows", 1.0, "Several windows of tokens are averaged, because they are long, for {}"),
            Remark("n_dropped", 0.0, "The end does not count, because there are too many tokens, of {}"),
        )

    def near_duplicates(self, fingerprints: Array) -> Array:
        """Return ``int64 [p, 2]``: pairs of rows that hold the same text; see `text_likeness`."""
        return text_likeness.near_duplicates(fingerprints)

    def canvas(self, preprocessing: Preprocessing) -> TextPreprocessing:
        """Return the same specification: texts are not varied."""
        return _own(preprocessing)

    def vary(self, canvas: Array, preprocessing: Preprocessing, draw: np.random.Generator) -> Array:  # noqa: ARG002
        """Return the tensor as it is: a crop of a photo shows the same thing, a text less a word may not."""
        _own(preprocessing)
        return canvas

    def languages(self, encoded: Iterable[bytes]) -> Mapping[str, float]:
        """Return which share of texts is in which language, roughly; see `text_language`.

        Raises
        ------
        DecodeError
            A text cannot be read.
        """
        return text_language.languages_of(opened(one).text for one in encoded)

    @property
    def described_by(self) -> str:
        """Return what `classical` looks at."""
        return "words and pairs of words, TF-IDF"

    def classical(self, encoded: bytes) -> str:
        """Return the clean text; `tabulate` counts its words.

        Raises
        ------
        DecodeError
            The bytes are no text, hold nothing, or are over a limit.
        """
        return opened(encoded).text

    def tabulate(self, fitted: Sequence[Array | str], tested: Sequence[Array | str]) -> tuple[Any, Any]:
        """Weigh the words of clean texts; see `text_description`."""
        return text_description.weigh_words([str(one) for one in fitted], [str(one) for one in tested])

    def show(self, encoded: bytes, side_px: int) -> Shown:
        """Return the beginning of the clean text on one line, cut between words: some lines of ``side_px``.

        Raises
        ------
        DecodeError
            The bytes are no text, hold nothing, or are over a limit.
        """
        excerpt = text_excerpt.excerpt(opened(encoded).text, _CHARACTERS_PER_PX * side_px)
        return Shown(pieces=(Piece(excerpt),))

    def overlay(self, encoded: bytes, heat: Array, preprocessing: Preprocessing, side_px: int) -> Shown:
        """Return the clean text word by word with the heat of its tokens, from before its warmest word on.

        Raises
        ------
        DecodeError
            The bytes are no text, hold nothing, or are over a limit.
        UsageError
            The heat has another shape than the tensor.
        """
        text = opened(encoded).text
        windows, _ = windows_of(text, _own(preprocessing))
        marked = text_excerpt.marked(text, windows, heat)
        seen = text_excerpt.around_warmest(marked, 2 * _CHARACTERS_PER_PX * side_px)
        # A word has the heat of all of its tokens: the warmest of them is to be 1 again.
        most = max((abs(warmth) for _, warmth in marked), default=0.0) or 1.0
        return Shown(pieces=tuple(Piece(word, warmth / most) for word, warmth in seen))

    def parts(self, tensor: Array) -> Array:
        """Return ``bool [m, k, w]``: stretches of a few tokens, at most `_MOST_PARTS` of them, but for a window's ends.

        A token that is gone is padding to the network, and the others keep their places.
        """
        return text_excerpt.stretches(tensor, _MOST_PARTS)

    def synthetic(self, n: int, seed: int, preprocessing: Preprocessing | None = None) -> tuple[bytes, ...]:  # noqa: ARG002
        """Make ``n`` texts of made-up sentences, the second of them long; the same for the same seed."""
        return text_synthesis.texts(n, seed)


TEXT = TextModality()
"""The text modality."""


def _own(preprocessing: Preprocessing) -> TextPreprocessing:
    if not isinstance(preprocessing, TextPreprocessing):
        raise UsageError(f"A text cannot be decoded with a preprocessing for {preprocessing.modality}.")
    return preprocessing
