"""What of a story a model is shown: what is pinned, and the newest turns that fit, in tokens. It knows no model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from topwork.errors import UsageError
from topwork.play.manners import Manner
from topwork.play.story import Story, Turn

__all__ = ["View", "room_of", "view_of"]

_LEAST_ROOM = 32
_PART = "\n\n"


@dataclass(frozen=True, slots=True)
class View:
    """What a model is shown.

    Attributes
    ----------
    n_tokens, n_pinned
        Of the text, and of what is pinned in it.
    n_turns
        The newest ones that are in it whole.
    shows_opening
        Whether the opening is.
    """

    text: str
    n_tokens: int
    n_pinned: int
    n_turns: int
    shows_opening: bool


def room_of(memory: int, length: int, window: int) -> int:
    """Return how many tokens a model may be shown, so that what it is to write has room as well.

    Raises
    ------
    UsageError
        Too few.
    """
    room = min(memory, window - length)
    if room < _LEAST_ROOM:
        raise UsageError(
            f"A result of {length:,} tokens leaves no room for the story in the {window:,} that the model sees.",
            next_step="Make it shorter, as by /set length 40.",
        )
    return room


def view_of(story: Story, manner: Manner, n_tokens: Callable[[str], int], *, room: int, doing: Turn) -> View:
    """Choose what is shown for a next turn: the pinned, then as many of the newest passages as fit whole.

    The newest passage and what the player does are always there; where they alone are too long, their end is. What is
    pinned may take half of the room, and where there is more its beginning is there.
    """
    action = manner.opened(doing).rstrip(" ")
    pinned = _fitting(story.pinned, n_tokens, room // 2, keeps_end=False)
    passages = [story.start.opening, *(manner.told(turn) for turn in story.turns)]
    head = f"{pinned}{_PART}" if pinned else ""
    n_shown = _n_fitting(passages, n_tokens, room - n_tokens(head + action))
    while n_shown and n_tokens(_joined(head, passages, n_shown) + action) > room:
        n_shown -= 1
    if n_shown:
        text = _joined(head, passages, n_shown) + action
    else:
        text = head + _fitting(
            passages[-1] + action, n_tokens, room - n_tokens(head) - 1 if head else room, keeps_end=True
        )
    return View(
        text,
        n_tokens(text),
        n_tokens(pinned) if pinned else 0,
        min(n_shown, len(story.turns)),
        n_shown == len(passages),
    )


def _n_fitting(passages: list[str], n_tokens: Callable[[str], int], room: int) -> int:
    """Return how many of the newest passages fit, each counted by itself: joined they may have a few tokens more."""
    n_fitting = 0
    for passage in reversed(passages):
        room -= n_tokens(passage)
        if room < 0:
            break
        n_fitting += 1
    return n_fitting


def _joined(head: str, passages: list[str], n: int) -> str:
    return head + "".join(passages[-n:]).lstrip()


def _fitting(text: str, n_tokens: Callable[[str], int], room: int, *, keeps_end: bool) -> str:
    """Return as many words of the end, or of the beginning, as there is room for."""
    if not text or n_tokens(text) <= room:
        return text
    words = text.split(" ")
    least, most = 0, len(words)
    while least < most:
        middle = (least + most + 1) // 2
        part = " ".join(words[-middle:] if keeps_end else words[:middle])
        least, most = (middle, most) if n_tokens(part) <= room else (least, middle - 1)
    if not least:
        return ""
    return " ".join(words[-least:] if keeps_end else words[:least])
