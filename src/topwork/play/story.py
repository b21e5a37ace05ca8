"""A story so far: how it began, its turns, what is remembered of it. It knows no model and no file."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from typing import Final, Literal, TypeAlias, get_args

from topwork.errors import UsageError
from topwork.play.settings import Settings
from topwork.play.starts import Start

__all__ = ["KINDS", "Kind", "Story", "Turn"]

Kind: TypeAlias = Literal["do", "say", "story", "continue"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Turn:
    """What a player did, as prose, and what came of it; a turn that only goes on has no action."""

    kind: Kind
    action: str
    result: str = ""

    @property
    def text(self) -> str:
        """Both."""
        return f"{self.action} {self.result}".strip()


@dataclass(frozen=True, slots=True)
class Story:
    """A story so far; each change gives another one.

    Attributes
    ----------
    seed
        Of all that is drawn.
    n_drawn
        Times that something was told, what was taken back counted, so that no draw is made twice.
    remembered
        What the player wants never to be forgotten.
    """

    start: Start
    seed: int
    turns: tuple[Turn, ...] = ()
    n_drawn: int = 0
    remembered: tuple[str, ...] = ()
    settings: Settings = field(default_factory=Settings)

    @property
    def text(self) -> str:
        """All of it, as a person reads it."""
        told = self.start.opening
        for turn in self.turns:
            told += f"\n\n{turn.text}" if turn.action else f" {turn.result}"
        return told

    @property
    def pinned(self) -> str:
        """What stands before all that is shown to a model."""
        return " ".join(one for one in (self.start.context, *self.remembered) if one)

    def after(self, turn: Turn) -> Story:
        """Return the story with one more turn."""
        return replace(self, turns=(*self.turns, turn))

    def reverted(self, n_turns: int = 1) -> Story:
        """Return the story without its last turns.

        Raises
        ------
        UsageError
            It has not so many.
        """
        if not 0 < n_turns <= len(self.turns):
            raise UsageError(
                f"{n_turns:,} turns are to be taken back; the story has {len(self.turns):,}.",
                next_step="/new begins another story." if not self.turns else "",
            )
        return replace(self, turns=self.turns[: len(self.turns) - n_turns])

    def altered(self, text: str) -> Story:
        """Return the story with another last result, or another opening where there is no turn yet."""
        if not self.turns:
            return replace(self, start=replace(self.start, opening=text))
        return replace(self, turns=(*self.turns[:-1], replace(self.turns[-1], result=text)))

    def remembering(self, fact: str) -> Story:
        """Return the story with one more thing that is never forgotten."""
        return replace(self, remembered=(*self.remembered, fact))

    def forgetting(self, number: int) -> Story:
        """Return the story without the fact of this number, counted from 1.

        Raises
        ------
        UsageError
            There is none.
        """
        if not 0 < number <= len(self.remembered):
            raise UsageError(
                f"There is no remembered thing {number}; there are {len(self.remembered)}.",
                next_step="/context lists them.",
            )
        return replace(self, remembered=self.remembered[: number - 1] + self.remembered[number:])

    def drawn(self) -> tuple[Story, int]:
        """Return the story in which one more thing was told, and the seed of that."""
        seed = Random(f"{self.seed}:{self.n_drawn}").getrandbits(32)  # noqa: S311 - nothing is kept secret by it
        return replace(self, n_drawn=self.n_drawn + 1), seed
