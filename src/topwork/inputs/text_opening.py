"""Opening a text of unknown origin: from bytes that somebody else wrote to clean characters.

Whatever is wrong with the bytes ends here as a `DecodeError` in plain words. It knows no token and no label.
"""

from __future__ import annotations

import codecs
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from topwork.errors import DecodeError

__all__ = ["MAX_BYTES", "Opened", "characters_of", "opened", "word_spans", "words_of"]

MAX_BYTES = 4 * 1024 * 1024
"""Largest encoded text that is looked at, in bytes; some 700,000 words."""

_MAX_CONTROL = 0.05  # share of control characters above which bytes are no text
_KINDS = {
    b"%PDF-": "a PDF",
    b"PK\x03\x04": "a zip archive or an office document",
    b"\xd0\xcf\x11\xe0": "an office document",
    b"{\\rtf": "a rich text document",
    b"\x1f\x8b": "a compressed file",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF8": "a picture",
}
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LOST = "\N{REPLACEMENT CHARACTER}"

_UNSEEN = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b\u2060\ufeff]")
_CONTROL = re.compile("[\x01-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_ENDS_OF_LINE = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
_BLANKS = re.compile(r"[^\S\n]+")
_AROUND_ENDS = re.compile(r" ?\n ?")
_EMPTY_LINES = re.compile(r"\n{3,}")

_BREAKING = frozenset((
    "address", "article", "aside", "blockquote", "body", "br", "caption", "center", "dd", "div", "dl",
    "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6",
    "head", "header", "hr", "html", "legend", "li", "main", "nav", "ol", "option", "p", "pre",
    "section", "table", "tbody", "td", "tfoot", "th", "thead", "title", "tr", "ul",
))  # fmt: skip
_FLOWING = frozenset((
    "a", "abbr", "acronym", "b", "base", "bdi", "bdo", "big", "button", "cite", "code", "col",
    "colgroup", "data", "del", "dfn", "em", "font", "i", "iframe", "img", "input", "ins", "kbd",
    "label", "link", "mark", "meta", "nobr", "noscript", "object", "param", "q", "s", "samp", "select",
    "small", "source", "span", "strike", "strong", "sub", "sup", "svg", "textarea", "time", "tt", "u",
    "var", "video", "wbr",
))  # fmt: skip
_NAMES = _BREAKING | _FLOWING | {"script", "style", "template"}
# What hides everything up to its end.
_ENDS = {name: re.compile(f"</{name}[^<>]*>", re.IGNORECASE) for name in ("script", "style", "template")}
_ENDS["!--"] = re.compile("-->")
# No part of it can match in two ways, so that hostile text costs no more than its length.
_TAG = re.compile(r"<(?:!--|!doctype\b[^<>]*>|(/?)([a-z][a-z0-9]{0,9})(?:[\s/][^<>]*)?>)", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")

# Scripts that write no blanks between words: each character counts as a word.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff"  # Thai and Lao, Burmese, Khmer, kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
_WORD = re.compile(f"[{_UNSPACED}]|[^\\W{_UNSPACED}]+")


@dataclass(frozen=True, slots=True)
class Opened:
    """A text that has been read and cleaned.

    Attributes
    ----------
    text
        Its characters: no markup, no control characters, single blanks, at most one empty line at a time.
    markup
        Share of the original's characters that were markup, 0 to 1.
    n_replaced
        Bytes that stand for no character in the encoding, and became ``U+FFFD``.
    """

    text: str
    markup: float
    n_replaced: int


def opened(encoded: bytes) -> Opened:
    """Read bytes as text and clean it.

    The encoding is UTF-8 or, by its mark, UTF-16; bytes that are no UTF-8 are taken for Windows-1252, or for
    damaged UTF-8 where most of what is not ASCII is right.

    Raises
    ------
    DecodeError
        The bytes are empty, too many, no text, or nothing but white space and markup.
    """
    _check_bytes(encoded)
    raw, n_replaced = characters_of(encoded)
    _check_characters(raw)
    shown = _without_markup(raw)
    text = _spaced(_ENTITY.sub(lambda found: html.unescape(found[0]), shown))
    if not text:
        what = "nothing but markup" if raw.strip() and not shown.strip() else "no text, only white space"
        raise DecodeError(f"There is {what} in it.", next_step="Leave it out, or give the text.")
    return Opened(text, 1 - len(shown) / len(raw), n_replaced)


def words_of(text: str) -> list[str]:
    """Return the words of a text: runs of letters and digits; in scripts without blanks, characters."""
    return _WORD.findall(text)


def word_spans(text: str) -> list[tuple[int, int]]:
    """Return where each word of a text begins and ends, in characters."""
    return [found.span() for found in _WORD.finditer(text)]


def _check_bytes(encoded: bytes) -> None:
    if not encoded:
        raise DecodeError("The text is empty.", next_step="Leave it out, or give the text.")
    if len(encoded) > MAX_BYTES:
        raise DecodeError(
            f"The text has {len(encoded):,} bytes; at most {MAX_BYTES:,} are read.",
            next_step="Cut it into parts.",
        )
    for start, kind in _KINDS.items():
        if encoded.startswith(start):
            raise DecodeError(f"This is {kind}, not plain text.", next_step="Save it as plain text in UTF-8.")


def characters_of(encoded: bytes) -> tuple[str, int]:
    """Return the characters and how many of them stand for bytes that could not be read."""
    for mark, encoding in _MARKS:
        if encoded.startswith(mark):
            return _replaced(encoded, encoding)
    try:
        return encoded.decode("utf-8"), 0
    except UnicodeDecodeError:
        text, n_lost = _replaced(encoded, "utf-8")
    n_right = len(text) - len(text.encode("ascii", "ignore")) - n_lost
    return (text, n_lost) if n_right > n_lost else _replaced(encoded, "cp1252")


def _replaced(encoded: bytes, encoding: str) -> tuple[str, int]:
    text = encoded.decode(encoding, "replace")
    return text, text.count(_LOST)


def _check_characters(text: str) -> None:
    n_control = len(_CONTROL.findall(text))
    if "\0" in text or n_control > _MAX_CONTROL * len(text):
        raise DecodeError(
            "This is no text: it holds binary data.", next_step="Save it as plain text in UTF-8."
        )


def _without_markup(text: str) -> str:
    """Return a text without the tags of HTML, comments, scripts and styles; other angle brackets stay."""
    return "".join(_shown(text)) if "<" in text else text


def _shown(text: str) -> Iterator[str]:
    at, unclosed = 0, set[str]()
    for tag in _TAG.finditer(text):
        name = "!--" if tag[0] == "<!--" else (tag[2] or "").lower()
        if tag.start() < at or (tag[2] and name not in _NAMES):
            continue
        yield text[at : tag.start()]
        at = tag.end()
        if name in _BREAKING:
            yield "\n"
        if name in _ENDS and not tag[1] and name not in unclosed:
            # Without its end it hides nothing, and is not searched for again: one search per text is enough.
            if end := _ENDS[name].search(text, at):
                at = end.end()
            else:
                unclosed.add(name)
    yield text[at:]


def _spaced(text: str) -> str:
    """Return a text with single blanks, at most one empty line at a time, and no character that is not seen."""
    text = _UNSEEN.sub("", _ENDS_OF_LINE.sub("\n", text))
    text = _AROUND_ENDS.sub("\n", _BLANKS.sub(" ", text))
    return _EMPTY_LINES.sub("\n\n", text).strip()
