"""What happens in a game, as whoever shows it hears of it. It knows neither terminal nor page."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeAlias

from topwork.play.endings import Outcome
from topwork.play.story import Kind

if TYPE_CHECKING:
    from topwork.contracts import Json

__all__ = [
    "Begun",
    "Changed",
    "Draft",
    "Ended",
    "Event",
    "Left",
    "Notice",
    "Piece",
    "Shown",
    "Told",
    "as_json",
]


@dataclass(frozen=True, slots=True)
class Begun:
    """A turn begins, with what the player does as prose."""

    kind: Kind
    action: str


@dataclass(frozen=True, slots=True)
class Draft:
    """All of a sentence that is still being written, in the place of the draft before; a piece takes that of both."""

    text: str


@dataclass(frozen=True, slots=True)
class Piece:
    """A sentence of the result that stays, with the blanks before it."""

    text: str


@dataclass(frozen=True, slots=True)
class Told:
    """A turn has its result."""

    result: str


@dataclass(frozen=True, slots=True)
class Changed:
    """The story is another one now: turns were taken back, or it was loaded, or begun anew."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The story seems to have come to its end."""

    outcome: Outcome
    text: str


@dataclass(frozen=True, slots=True)
class Shown:
    """What the player asked to see."""

    text: str


@dataclass(frozen=True, slots=True)
class Notice:
    """What the game has to say beside the story."""

    text: str


@dataclass(frozen=True, slots=True)
class Left:
    """The player leaves."""


Event: TypeAlias = Begun | Draft | Piece | Told | Changed | Ended | Shown | Notice | Left


def as_json(event: Event) -> dict[str, Json]:
    """Return an event with its name, as a page reads it."""
    return {"event": type(event).__name__.lower(), **asdict(event)}
