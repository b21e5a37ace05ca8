"""The fenced code blocks of a Markdown page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

_FENCED = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.M | re.S)
_FILE_NAME = re.compile(r"`([^`\n]+)`:\n\n\Z")


@dataclass(frozen=True, slots=True)
class Block:
    """One block; ``file`` is the name in backticks on the line before it, where that line ends in a colon."""

    language: str
    text: str
    file: str | None


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [Block(found[1], found[2], _file_above(text[: found.start()])) for found in _FENCED.finditer(text)]


def prose_of(page: Path) -> str:
    """Return the page without its blocks."""
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def _file_above(before: str) -> str | None:
    named = _FILE_NAME.search(before)
    return named[1] if named else None
