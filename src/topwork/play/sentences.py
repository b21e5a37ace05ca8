"""Where sentences end, in a text that is still being written. It knows no story."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["first_end", "is_whole", "sentences_of"]

_END: Final = re.compile(r"""[.!?…]+["'”’)\]*]*(?=\s)|\n\s*\n""")
_WHOLE: Final = re.compile(r"""[.!?…]["'”’)\]*]*$""")
_SHORT: Final = re.compile(r"(?:^|[\s(\"“])(?:Mr|Mrs|Ms|Dr|St|Sr|Jr|Prof|Capt|Lt|Sgt|vs|etc|[A-Z])\.$")


def first_end(text: str) -> int:
    """Return where the first sentence of a text ends that is surely over; 0 where none is yet."""
    for found in _END.finditer(text):
        before = text[: found.end()]
        if before.strip() and not _SHORT.search(before):
            return found.end() if found[0].strip() else found.start()
    return 0


def is_whole(text: str) -> bool:
    """Tell whether a text ends as sentences do."""
    return _WHOLE.search(text.rstrip()) is not None and not _SHORT.search(text.rstrip())


def sentences_of(text: str) -> list[str]:
    """Part a text into its sentences; the last may be none."""
    found, rest = [], text.strip()
    while end := first_end(rest + " "):
        found.append(rest[:end].strip())
        rest = rest[end:].strip()
    return [*found, rest] if rest else found
