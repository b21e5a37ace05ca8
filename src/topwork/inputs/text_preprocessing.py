"""How a text becomes a tensor: which tokeniser, how long a window, how many windows. It tokenises nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from topwork.contracts import Json
from topwork.errors import UsageError

__all__ = ["MOST_WINDOWS", "MOST_WINDOW_TOKENS", "WORDS", "TextPreprocessing"]

WORDS = "words"
"""In place of a tokeniser: every word is a token, and its number a hash of it. No network understands these."""

MOST_WINDOW_TOKENS = 32_768
MOST_WINDOWS = 4096


@dataclass(frozen=True, slots=True)
class TextPreprocessing:
    """How a text becomes ``int32 [k, w]``: k windows of w tokens.

    Attributes
    ----------
    tokenizer
        Content of a Hugging Face ``tokenizer.json``, or `WORDS`.
    window
        Most tokens of one window, the tokeniser's special tokens included.
    max_windows
        Most windows that are kept; what a text holds beyond them is dropped.
    """

    tokenizer: str = field(repr=False)
    window: int
    max_windows: int = 64

    def __post_init__(self) -> None:
        is_content = isinstance(self.tokenizer, str) and (
            self.tokenizer == WORDS or self.tokenizer.lstrip().startswith("{")
        )
        _require(
            is_content, "tokenizer", _start(self.tokenizer), f"the content of a tokenizer.json or {WORDS!r}"
        )
        for name, most in (("window", MOST_WINDOW_TOKENS), ("max_windows", MOST_WINDOWS)):
            value = getattr(self, name)
            is_count = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most
            _require(is_count, name, value, f"1 to {most}")

    @property
    def modality(self) -> str:
        """Return ``text``."""
        return "text"

    def to_json(self) -> Mapping[str, Json]:
        """Return the fields by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def describe(self) -> str:
        """Return the sizes of the windows, and a hash that stands for the tokeniser."""
        digest = hashlib.sha256(self.tokenizer.encode("utf-8")).hexdigest()[:12]
        return f"tokenizer {digest}, window {self.window}, max_windows {self.max_windows}"


def _start(value: object) -> object:
    """Return a value short enough for a message."""
    return value[:40] if isinstance(value, str) else value


def _require(is_right: bool, name: str, received: object, expected: str) -> None:
    if not is_right:
        raise UsageError(f"{name} is {received!r}; expected {expected}.")
