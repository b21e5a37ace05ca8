"""Writing for a terminal: lines, tables and JSON; results on standard output, all else on standard error.

File names and labels are other people's text, so whatever is shown as a line stays one line and cannot steer the
terminal.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["number", "one_line", "printable", "prompt_for", "put", "put_json", "put_table", "say"]

_GAP = "  "


def say(line: str = "") -> None:
    """Write a line to standard error."""
    print(one_line(line), file=sys.stderr)


def put(line: str = "") -> None:
    """Write a line to standard output."""
    print(one_line(line))


def put_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write one JSON value on one line."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False))


def put_table(rows: Sequence[Sequence[str]]) -> None:
    """Write rows in columns, the first row being the head; in a terminal too narrow for that, as blocks."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    if sys.stdout.isatty() and sum(widths) + len(_GAP) * len(widths) > shutil.get_terminal_size().columns:
        _put_blocks(rows)
        return
    for row in rows:
        put(_GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _put_blocks(rows: Sequence[Sequence[str]]) -> None:
    head, *items = rows
    width = max(map(len, head))
    for item in items:
        put(item[0])
        for title, cell in zip(head[1:], item[1:], strict=True):
            put(f"{_GAP}{title.ljust(width)}{_GAP}{cell}")


def prompt_for(ending: str) -> str:
    """Return a word for a shell such as bash that stands for a prompt with an ending, line breaks and all."""
    escaped = ending.encode("unicode_escape").decode("ascii").replace("'", "\\'")
    return f"$'…{escaped}'"


def printable(text: str) -> str:
    """Return ``text`` with control characters escaped, all but the tab and the line break."""
    return "\n".join(one_line(line) for line in text.split("\n"))


def one_line(text: str) -> str:
    """Return ``text`` with line breaks and other control characters escaped, all but the tab."""
    return "".join(
        one if one == "\t" or not _controls(one) else one.encode("unicode_escape").decode() for one in text
    )


def _controls(character: str) -> bool:
    return character < " " or "\x7f" <= character <= "\x9f" or character in "\u2028\u2029"


def number(value: float | None) -> str:
    """Return a number with four digits, and all that stand before its point."""
    if value is None:
        return "unknown"
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}"
