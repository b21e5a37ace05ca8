"""Texts that were read in a wrong encoding, read in the right one: stray bytes, and UTF-8 taken for Windows-1252.

What can be meant is left alone: “voilà »” and “IRMÃ” are texts. It knows no table and no model.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from typing import Final

__all__ = ["as_utf8", "looks_misread", "with_letters_mended"]

_STRAY: Final = re.compile("[\udc80-\udcff]+")
_WINDOWS: Final = {
    ord(letter): byte for byte in range(0x80, 0xA0) if (letter := bytes([byte]).decode("cp1252", "ignore"))
}
_LATER: Final = "\u0080-\u00bf" + "".join(map(chr, _WINDOWS))
"""What the second and further bytes of a letter in UTF-8 look like, in Windows-1252 and in Latin-1."""
_FIRM: Final = "".join(sorted(set(map(chr, (*range(0x80, 0xC0), *_WINDOWS))) - set("\u00a0«®°»…–—‘’“”›™")))
"""Those of them that do not stand behind a word anyway."""
# What no text holds unless it was read wrongly, by the byte that such a letter begins with.
_TELLING: Final = re.compile(
    "|".join((
        "Â[\u00a0-\u00bf]",
        f"Ã[{_FIRM}‘“]",
        f"[ÄÅ][{_FIRM}]",
        f"â[€‚„†ˆ‰Š–˜œ\u0080-\u009f][{_LATER}]",
        f"ð[Ÿ\u009f][{_LATER}]{{2}}",
        "ï»¿",
        f"(?:[Î-Ó×-Û][{_LATER}]){{2,}}",
        f"(?:[à-ï][{_LATER}]{{2}}){{2,}}",
    ))
)  # fmt: skip
_LOOSE: Final = re.compile("[ÃÂ][\u0080-¿]|â€")
_MARK: Final = "\N{ZERO WIDTH NO-BREAK SPACE}"
_MOST_TIMES: Final = 3
"""That a text was saved wrongly."""
_LATIN: Final = 0x180
"""Below it stand the letters of western and central Europe, but for these."""
_ROMANIAN: Final = frozenset("ȘșȚț")
_FAR: Final = 0x3000
"""From it on scripts have so many letters that they fill several blocks."""
_NO_LETTERS: Final = frozenset({"Cc", "Cn", "Co", "Cs"})


def as_utf8(encoded: bytes) -> bytes:
    """Return bytes of which those that are no UTF-8 were taken for Windows-1252; what is marked as UTF-16 stays."""
    if encoded.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return encoded
    text = encoded.decode("utf-8", "surrogateescape")
    return _STRAY.sub(_as_windows, text).encode("utf-8")


def _as_windows(stray: re.Match[str]) -> str:
    return stray[0].encode("utf-8", "surrogateescape").decode("cp1252", "replace")


def with_letters_mended(text: str) -> str:
    """Return a text in which UTF-8 that was taken for Windows-1252 is UTF-8 again: “é” for “Ã©”.

    A text, or else a line of it, is read anew as a whole where all of it comes out as letters of the scripts that what
    cannot be meant comes out in; else what cannot be meant is, alone.
    """
    for _ in range(_MOST_TIMES):
        before, text = text, _once(text)
        if text == before:
            break
    return text


def looks_misread(text: str) -> bool:
    """Tell whether a text holds letters such as “Ã©”, be it that they can be mended or not."""
    return _LOOSE.search(text) is not None or _TELLING.search(text) is not None


def _once(text: str) -> str:
    if not _TELLING.search(text):
        return text
    if (whole := _whole(text)) is not None:
        return whole
    return "\n".join(_line(one) for one in text.split("\n"))


def _line(line: str) -> str:
    if not _TELLING.search(line):
        return line
    whole = _whole(line)
    return _TELLING.sub(_part, line) if whole is None else whole


def _whole(text: str) -> str | None:
    """Return all of a text read anew; None where letters come out that no other part speaks for."""
    new = _read_anew(text)
    if new is None:
        return None
    fresh = set(new)
    sure = {_block(one) for found in _TELLING.finditer(text) for one in _part(found)}
    return new if all(ord(one) < _LATIN or one in _ROMANIAN or _block(one) in sure for one in fresh) else None


def _block(letter: str) -> int:
    return min(ord(letter), _FAR) >> 8


def _part(found: re.Match[str]) -> str:
    new = _read_anew(found[0])
    return found[0] if new is None else new


def _read_anew(text: str) -> str | None:
    """Return what the bytes behind a text are in UTF-8; None where they are none, or no letters come out."""
    try:
        new = text.translate(_WINDOWS).encode("latin-1").decode("utf-8")
    except UnicodeError:
        return None
    fresh = {one for one in new if one > "\x7f"}
    if any(one == "\N{REPLACEMENT CHARACTER}" or unicodedata.category(one) in _NO_LETTERS for one in fresh):
        return None
    return new.replace(_MARK, "")
