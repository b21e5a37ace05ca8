"""Words that are not to be read: a list, found as whole words, whatever their case. It knows no story."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from topwork.errors import UsageError
from topwork.storage import explain

__all__ = ["NO_WORDS", "Words", "read_words"]

_MASK: Final = "***"
_MOST_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Words:
    """Words and phrases that are not to be read."""

    listed: tuple[str, ...] = ()

    def are_in(self, text: str) -> bool:
        """Tell whether a text holds one of them."""
        return bool(self.listed) and self._pattern().search(_composed(text)) is not None

    def masked(self, text: str) -> str:
        """Return a text with stars in their place."""
        return self._pattern().sub(_MASK, _composed(text)) if self.are_in(text) else text

    def _pattern(self) -> re.Pattern[str]:
        # Longest first: of two that begin alike, the longer one is meant. `re` keeps what it has compiled.
        ways = sorted(self.listed, key=len, reverse=True)
        joined = "|".join(r"\s+".join(map(re.escape, one.split())) for one in ways)
        return re.compile(rf"(?<!\w)(?:{joined})(?!\w)", re.IGNORECASE)


NO_WORDS: Final = Words()


def read_words(path: Path) -> Words:
    """Read a list: a word or phrase on each line, and what stands behind ``#`` is for people.

    Raises
    ------
    UsageError
        It holds none, is too long, or is no text.
    StorageError
        It cannot be read.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise explain(error, path, doing="read") from error
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text in UTF-8.", next_step="Save it as UTF-8.") from None
    if len(content) > _MOST_BYTES:
        raise UsageError(f"{path} is longer than {_MOST_BYTES:,} bytes.", next_step="Give a shorter list.")
    lines = (" ".join(_composed(line.partition("#")[0]).split()) for line in text.splitlines())
    listed = tuple(dict.fromkeys(line for line in lines if line))
    if not listed:
        raise UsageError(f"{path} holds no word.", next_step="Write a word or phrase on each line.")
    return Words(listed)


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)
