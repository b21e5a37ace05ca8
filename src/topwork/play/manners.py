"""How a turn is written down for a model: as lines that are marked, or as prose. It knows no model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from topwork.data.player_words import MARK, marked
from topwork.play.story import Turn

__all__ = ["MARKED", "PROSE", "Manner"]


@dataclass(frozen=True, slots=True)
class Manner:
    """How a turn stands in the text that a model goes on with.

    Attributes
    ----------
    is_marked
        Whether an action is a line behind ``>``, as in texts made of story trees; else it begins a paragraph, which the
        model ends. Models that have seen no such texts write lists and questions after such a line.
    """

    is_marked: bool

    @property
    def stops(self) -> tuple[str, ...]:
        """What the model is not to write, for it is the player's."""
        return (MARK,)

    def opened(self, turn: Turn) -> str:
        """Return what stands before a result, beginning with what parts it from the text before."""
        if not turn.action:
            return " "
        if self.is_marked:
            return marked(turn.action) if turn.kind != "story" else f"\n\n{turn.action} "
        return f"\n\n{turn.action} "

    def told(self, turn: Turn) -> str:
        """Return a whole turn."""
        return (self.opened(turn) + turn.result).rstrip()


MARKED: Final = Manner(is_marked=True)
PROSE: Final = Manner(is_marked=False)
