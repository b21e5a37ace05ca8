"""How prompts end, by which a model sees that it is to begin: whether they end alike, and what makes them.

It knows no tokens: those of a prompt and of its completion are cut apart, so that any ending is one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

__all__ = ["common_ending", "end_alike", "ended", "ending_for", "usual_ending"]

_N_LETTERS: Final = 4
"""At the end of a prompt."""
_LONGEST: Final = 40
_STANDARD: Final = ("\n\n###\n\n", "\n\n===\n\n", "\n\n--->\n\n")
_SEPARATOR: Final = re.compile(r"(?:#{2,}|={2,}|-{3,}|\*{3,}|[-=]+>|→)\Z")
"""What people put behind a prompt."""
_SAYS_BEGIN: Final = re.compile(r"""[^\w\s.,;?!…'"’”»)]\Z""")
"""The last letter of what is no end of a sentence: ``:``, ``#``, ``>`` and the like."""

_TOO_SHORT: Final = frozenset("#=->*→|~_")
"""What several separators end in, and is none."""


def end_alike(prompts: Sequence[str]) -> bool:
    """Tell whether all end in the same letter that is no blank, and in the same blanks behind it."""
    found = {_last(one) for one in prompts}
    return len(prompts) < 2 or (len(found) == 1 and found != {""})


def _last(prompt: str) -> str:
    bare = prompt.rstrip()
    return bare[-1:] + prompt[len(bare) :] if bare else ""


def usual_ending(prompts: Sequence[str], share: float) -> tuple[str, int]:
    """Return the last letters, as many as may be, that more than a share of the prompts have, and how many have them.

    Empty where there are none, or nothing but blanks.
    """
    for n_letters in range(_N_LETTERS, 0, -1):
        found, n = Counter(one[-n_letters:] for one in prompts).most_common(1)[0]
        if n > share * len(prompts) and found.strip():
            return found, n
    return "", 0


def ending_for(prompts: Sequence[str]) -> str:
    """Return what all prompts are to end in: what more than half of them end in, else a line of ### or the like."""
    bare = [one.rstrip() for one in prompts]
    core, _ = usual_ending(bare, 0.5)
    if _SAYS_BEGIN.search(core) and core not in _TOO_SHORT:
        with_core = [one for one in prompts if one.rstrip().endswith(core)]
        return _common(with_core)
    without = [_without_separator(one) for one in bare]
    return next((one for one in _STANDARD if not any(one.strip() in p for p in without)), _STANDARD[0])


def common_ending(prompts: Sequence[str]) -> str:
    """Return what all prompts end in, where that is more than the end of a sentence; else empty."""
    if len(prompts) < 2:
        return ""
    ending = ending_for(prompts)
    return ending if all(one.endswith(ending) for one in prompts) else ""


def ended(prompt: str, ending: str) -> str:
    """Return a prompt that ends so; another separator at its end goes, and so do blanks there."""
    if prompt.endswith(ending):
        return prompt
    bare = prompt.rstrip()
    core = ending.strip()
    bare = bare.removesuffix(core) if bare.endswith(core) else _without_separator(bare)
    return bare.rstrip() + ending


def _without_separator(bare: str) -> str:
    return _SEPARATOR.sub("", bare).rstrip()


def _common(prompts: Sequence[str]) -> str:
    """Return what prompts have in common at their ends, from a line's or a word's beginning on."""
    bare = [one.rstrip() for one in prompts]
    blanks = Counter(one[len(short) :] for one, short in zip(prompts, bare, strict=True)).most_common(1)[0][0]
    n = next((n for n in range(1, _LONGEST) if len({one[-n - 1 :] for one in bare}) > 1), _LONGEST)
    shared = bare[0][-n:]
    begins = re.search(r"\n+(?=[^\n])", shared) or re.search(r"\s+(?=\S)", shared)
    return (shared[begins.start() :] if begins else _core(shared)) + blanks


def _core(shared: str) -> str:
    """Return the marks at the end of what has no blank: ``###`` of ``e###``."""
    found = re.search(r"[^\w\s]+\Z", shared)
    return found[0] if found else shared
