"""The page of the game over a narrator of a test."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from fake_narrator import FakeNarrator
from topwork.play.game import Game
from topwork.play.saves import Saves
from topwork.play.site import Site
from topwork.play.starts import drawn_start
from topwork.play.story import Story

__all__ = ["FIRST", "site"]

FIRST = Story(drawn_start("fantasy", 1), 1)


def site(folder: Path, narrator: FakeNarrator, *, most_games: int = 4, asks: bool = True) -> Site:
    seeds = count(5)
    return Site(
        lambda name, story: Game(narrator, story, Saves(folder), name),
        draw=lambda: next(seeds),
        first=lambda: FIRST,
        asks=asks,
        most_games=most_games,
    )
