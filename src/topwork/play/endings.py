"""Whether a story has come to its end: death, victory, or words that say so. It knows no model."""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

from topwork.play.sentences import sentences_of

__all__ = ["Outcome", "ending_of", "said_of"]

Outcome: TypeAlias = Literal["death", "victory", "end"]

_SPOKEN: Final = re.compile(r'"[^"]*"?|“[^”]*”?')
_UNREAL: Final = re.compile(
    r"\b(?:if|unless|until|before|almost|nearly|would|could|might|may|will|must|should|shall|not|never|n['’]t|dream\w*|"
    r"imagin\w*|think|feel|fear|wish|want|pretend\w*|seem\w*|as though|when|whether|than|how)\b",
    re.IGNORECASE,
)
_DEATH: Final = (
    r"\byou (?:(?:slowly|quickly|finally|instantly|then) )?"
    r"(?:die\b|died\b|perish|drown\b|bleed to death|starve to death|breathe your last|are no more\b)",
    r"\byou (?:are|were|have been) (?:now )?(?:dead|killed|slain)\b|\byou have died\b",
    r"\byour (?:life|story) (?:ends|is over)\b|\b(?:kills|slays) you\b|\byour lifeless body\b",
)
_VICTORY: Final = (
    r"\byou (?:win\b(?! (?:the|a|his|her|their) )|have won\b|are victorious)",
    r"\byou have (?:completed|fulfilled) (?:your|the) (?:quest|mission|task)",
    r"\bhappily ever after\b|\byour (?:quest|mission) is (?:complete|over|fulfilled)\b",
)
_SIGNS: Final[tuple[tuple[Outcome, re.Pattern[str]], ...]] = (
    ("end", re.compile(r"^\W*the end\W*$", re.IGNORECASE)),
    ("death", re.compile("|".join(_DEATH), re.IGNORECASE)),
    ("victory", re.compile("|".join(_VICTORY), re.IGNORECASE)),
)
_SAID: Final[dict[Outcome, str]] = {
    "death": "You have died.",
    "victory": "You have won.",
    "end": "The story has come to its end.",
}


def ending_of(result: str) -> Outcome | None:
    """Return how a result ends the story; None where it goes on.

    What somebody says, and what only would or might be, ends nothing.
    """
    for sentence in sentences_of(_SPOKEN.sub("", result)):
        for outcome, pattern in _SIGNS:
            found = pattern.search(sentence)
            if found and not _UNREAL.search(sentence[: found.end()]):
                return outcome
    return None


def said_of(outcome: Outcome) -> str:
    """Return what a player is told."""
    return f"{_SAID[outcome]} /revert takes the last turn back, /new begins another story; or just play on."
