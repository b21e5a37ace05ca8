"""A player's words as prose of a story: actions, speech and narration, turned to the second person.

It is the one place that says how an action stands in a text, for the trees that a model learns from and for the game
that it then tells. It knows no game and no model.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["MARK", "as_action", "as_narration", "as_speech", "in_second_person", "marked", "one_line"]

MARK: Final = "\n>"
"""What an action begins with where a model has learned to leave it to the player."""

_SPOKEN: Final = r'"[^"]*"?|“[^”]*”?'
_ADVERBS: Final = r"(?:really|just|also|never|still|always|already|now|only|almost|too)"
_PHRASES: Final = (
    (rf"\bi((?:\s+{_ADVERBS})?)\s+am\b", r"you\1 are"),
    (rf"\bi((?:\s+{_ADVERBS})?)\s+was\b", r"you\1 were"),
    (rf"\bi((?:\s+{_ADVERBS})?)\s+wasn(['’])t\b", r"you\1 weren\2t"),
    (r"\bam\s+i\b", "are you"),
    (r"\bwas\s+i\b", "were you"),
    (r"\bi(['’])m\b", r"you\1re"),
    (r"\bi(['’](?:ve|ll|d))\b", r"you\1"),
    (r"\b(is|was|are|were|of|than|as|be|like)\s+mine\b", r"\1 yours"),
    (r"\bmyself\b", "yourself"),
    (r"\bmy\b", "your"),
    (r"\bme\b", "you"),
    (r"\bi\b(?!['’.])|\bi\b(?=\.(?:\s|$))", "you"),
)
_TURNS: Final = tuple((re.compile(pattern, re.IGNORECASE), told) for pattern, told in _PHRASES)
_BEGINNING: Final = re.compile(r"(?:^|[.!?…]\s+|\n\s*)$")
_WAYS: Final = {"n": "north", "s": "south", "e": "east", "w": "west", "u": "up", "d": "down"}
_ALONE: Final = {"look": "look around", "l": "look around", "listen": "listen", "wait": "wait", "z": "wait"}
_ASKS: Final = re.compile(
    r"(?:who|what|where|when|why|how|which|whose|is|are|am|do|does|did|can|could|will|would|shall|should|may|have|has)\b",
    re.IGNORECASE,
)
_CLOSED: Final = (".", "!", "?", "…", ":", ";", ",")
_QUOTES: Final = ('"', "”")


def one_line(text: str) -> str:
    """Return a text on one line, without control characters, its blanks made single."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def in_second_person(text: str) -> str:
    """Turn “I”, “me”, “my” and their verbs to “you”; what stands between quotation marks stays."""
    parts = re.split(f"({_SPOKEN})", text)
    for place in range(0, len(parts), 2):
        before = "".join(parts[:place])
        for pattern, told in _TURNS:
            parts[place] = _turned(pattern, told, before, parts[place])
    return "".join(parts)


def as_action(words: str) -> str:
    """Return what a player does as a sentence or more: ``take sword`` is ``You take sword.``."""
    text = one_line(words).lstrip("> ").strip()
    if not text:
        return ""
    if text.startswith(("“", *_QUOTES)):
        return as_speech(text)
    bare = text.rstrip(".!").lower()
    if bare in _WAYS or bare in _WAYS.values():
        text = f"go {_WAYS.get(bare, bare)}"
    text = in_second_person(_ALONE.get(bare, text))
    if re.match(r"you(?:r|rs|rself)?\b", text, re.IGNORECASE):
        return _ended(_capital(text))
    return _ended(f"You {_small(text.removeprefix('to '))}")


def as_speech(words: str) -> str:
    """Return what a player says: ``hello`` is ``You say "Hello."``."""
    text = one_line(words).strip('"“” ').replace('"', "'")
    if not text:
        return ""
    if not text.endswith(_CLOSED[:4]):
        text = text.rstrip(",;: ") + ("?" if _ASKS.match(text) else ".")
    return f'You say "{_capital(text)}"'


def as_narration(words: str) -> str:
    """Return what a player tells of the story, in the second person and with its sentences ended."""
    text = one_line(words).lstrip("!").strip()
    return _ended(_capital(in_second_person(text))) if text else ""


def marked(action: str) -> str:
    """Return an action as it stands between two results in a text that a model learns from."""
    return f"{MARK} {action}\n"


# --- small parts ------------------------------------------------------------------------------------------


def _turned(pattern: re.Pattern[str], told: str, before: str, text: str) -> str:
    def turn(found: re.Match[str]) -> str:
        new = found.expand(told)
        begins = _BEGINNING.search(before + text[: found.start()]) is not None
        return _capital(new) if begins else _small(new)

    return pattern.sub(turn, text)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _small(text: str) -> str:
    return text[:1].lower() + text[1:]


def _ended(text: str) -> str:
    """End the last sentence, within the quotation marks where it ends in such; close what was left open."""
    if text.count('"') % 2:
        text += '"'
    if text.count("“") > text.count("”"):
        text += "”"
    closing = text[-1] if text.endswith(_QUOTES) else ""
    inner = text.removesuffix(closing).rstrip()
    return (inner if inner.endswith(_CLOSED[:4]) else inner.rstrip(",;: ") + ".") + closing
