"""What a player does in a line: what kind of a turn it is, and its words as prose. It knows no command and no model."""

from __future__ import annotations

from typing import Final

from topwork.data.player_words import as_action, as_narration, as_speech
from topwork.errors import UsageError
from topwork.play.story import KINDS, Kind, Turn

__all__ = ["kind_of", "move_of"]

_MOST_LETTERS: Final = 2000
_TURNED: Final = {"do": as_action, "say": as_speech, "story": as_narration}


def kind_of(line: str) -> Kind:
    """Return what kind of a turn a line is: nothing goes on, ``!`` narrates, quotation marks speak, all else acts."""
    text = line.strip()
    if not text.strip("> "):
        return "continue"
    if text.startswith("!"):
        return "story"
    return "say" if text.startswith(('"', "“")) and text.rstrip(".").endswith(('"', "”")) else "do"


def move_of(kind: str, words: str) -> Turn:
    """Return a turn that has no result yet; one without words goes on.

    Raises
    ------
    UsageError
        There is no such kind, or there are too many words.
    """
    known = next((one for one in KINDS if one == kind), None)
    if known is None:
        raise UsageError(f"There is no turn of the kind {kind[:40]!r}; expected one of {', '.join(KINDS)}.")
    if len(words) > _MOST_LETTERS:
        raise UsageError(
            f"What you do has {len(words):,} letters; at most {_MOST_LETTERS:,} are taken.",
            next_step="Say it in fewer words.",
        )
    action = "" if known == "continue" else _TURNED[known](words)
    return Turn(known if action else "continue", action)
