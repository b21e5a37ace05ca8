"""Long lists of numbers in a JSON text, read without a Python object for each number.

A float in a list takes 32 bytes, and what a client sends of it may take two: a body of 32 MiB would become half a
gigabyte. So lists that hold nothing but numbers are cut out of the text before it is parsed, and are parsed a piece at
a time. It knows no model and no protocol.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from topwork.serving.http.refusals import Refusal

__all__ = ["Run", "parsed"]

LARGE = 64 * 1024
"""Bytes from which on a text is cut; a smaller one is parsed at once, whatever it holds."""
LONG = 64
"""Bytes from which on a list is cut out; a shorter one is hardly longer than what stands in its place."""
MOST_ELSE = 2**20
MOST_ELSE_PER_INPUT = 128
"""Bytes of a large text that may be left after its lists were cut out; each input may bring a short list."""
PIECE = 64 * 1024

# A string, which may hold brackets, or a list of what numbers are written with. Nothing is looked at twice: no part
# gives back what it took, and a string that never ends is one until the end.
_STRING_OR_LIST = re.compile(
    rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|\[([0-9eE+\-., \t\r\n]{%d,}+)\]' % (LONG - 2), re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Run:
    """A list that holds numbers alone, as it stands in a text.

    Attributes
    ----------
    text
        With its brackets.
    """

    text: bytes

    def pieces(self) -> Iterator[list[Any]]:
        """Yield its numbers, whole and other ones, some thousand at a time.

        Raises
        ------
        ValueError
            It is no JSON.
        """
        begin, end, last = 1, 0, len(self.text) - 1
        while end != last:
            comma = self.text.find(b",", begin + PIECE, last)
            end = last if comma < 0 else comma
            numbers = json.loads(b"[%b]" % self.text[begin:end])
            if not numbers and (begin, end) != (1, last):
                raise ValueError("Expecting a number between two commas")
            yield numbers
            begin = end + 1

    def require_numbers(self) -> None:
        """Read it once and forget it; ValueError says that it is no JSON."""
        for _ in self.pieces():
            pass


def parsed(content: bytes, max_inputs: int) -> Any:
    """Parse a JSON text; in a large one `Run` stands for each long list of numbers.

    Parameters
    ----------
    max_inputs
        How many inputs a request may have.

    Raises
    ------
    ValueError, RecursionError
        It is no JSON.
    Refusal
        422: it is large, and not for the sake of numbers.
    """
    if len(content) < LARGE:
        return json.loads(content)
    runs: dict[str, Run] = {}
    rest = _cut(content, runs)
    if len(rest) > MOST_ELSE + MOST_ELSE_PER_INPUT * max_inputs:
        raise Refusal(
            "bad_input",
            f"The request has {len(content):,} bytes, of which {len(rest):,} are no lists of numbers.",
            next_step="Send each vector as a list of numbers, and little else; see /docs.",
        )
    return _restored(json.loads(rest), runs)


def _cut(content: bytes, runs: dict[str, Run]) -> bytes:
    """Put a string in place of each long list; nobody can guess it, and so nobody sends it."""
    stem = secrets.token_hex(8)

    def replaced(found: re.Match[bytes]) -> bytes:
        if found[1] is None:
            return found[0]
        name = f"{stem}{len(runs)}"
        runs[name] = Run(found[0])
        return b'"%b"' % name.encode("ascii")

    return _STRING_OR_LIST.sub(replaced, content)


def _restored(value: Any, runs: dict[str, Run]) -> Any:
    if isinstance(value, str):
        return runs.get(value, value)
    if isinstance(value, list):
        return [_restored(one, runs) for one in value]
    if isinstance(value, dict):
        return {key: _restored(one, runs) for key, one in value.items()}
    return value
