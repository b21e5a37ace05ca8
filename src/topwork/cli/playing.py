"""A game in a terminal: a prompt, prose that is wrapped as it comes, what Ctrl-C and Ctrl-D do. It knows no model."""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Final

from topwork.cli.lines import printable

if TYPE_CHECKING:
    from topwork.play.events import Event
    from topwork.play.game import Game

__all__ = ["Prose", "choose_genre", "play_here"]

_PROMPT: Final = "> "
_WIDEST: Final = 88


@dataclass(slots=True)
class Prose:
    """Writes prose to standard output word by word, in lines no longer than ``width``; 0 leaves lines as they are."""

    width: int
    _column: int = field(default=0, init=False)

    def put(self, text: str) -> None:
        """Write a text; blanks at its end wait for what comes next."""
        for number, paragraph in enumerate(printable(text).split("\n")):
            if number:
                print()
                self._column = 0
            self._put_line(paragraph)
        sys.stdout.flush()

    def end(self) -> None:
        """End a paragraph that was begun, with a blank line behind it."""
        print("\n" if self._column else "", flush=True)
        self._column = 0

    def _put_line(self, line: str) -> None:
        for number, word in enumerate(line.split(" ")):
            if number and self._column and self.width and self._column + 1 + len(word) > self.width:
                print()
                self._column = 0
            elif number and self._column:
                print(" ", end="")
                self._column += 1
            print(word, end="")
            self._column += len(word)


def choose_genre() -> str:
    """Ask which story it is to be; standard input that ends leaves it to chance.

    What is no number of the list is the player's own beginning.
    """
    from topwork.play.starts import GENRES

    for number, genre in enumerate(GENRES.values(), 1):
        print(f"  {number}  {genre.title}")
    print("  Or begin with words of your own.\n")
    return _line() or ""


def play_here(game: Game, model: str) -> None:
    """Play until the player leaves, or standard input ends; ``model`` is the word that the command was given for it."""
    prose = Prose(_width())
    _open(game, prose)
    if sys.stdin.isatty():
        _notify("Say what you do; an empty line goes on, /help lists more, Ctrl-D leaves.")
    while (line := _line()) is not None:
        with _interruption() as asked:
            if not _show(game.take(line), game, prose, asked):
                break
    if game.story.turns:
        words = ["topwork", "play", *([model] if model else []), "--load", game.name]
        _notify(f"The story is saved. Go on with:  {shlex.join(words)}")


def _open(game: Game, prose: Prose) -> None:
    story = game.story
    print()
    if story.start.context:
        prose.put(story.start.context)
        prose.end()
    prose.put(story.text)
    prose.end()


def _open_again(game: Game, prose: Prose) -> None:
    """Show where the story stands after it was changed: its last turn, or how it begins."""
    if not game.story.turns:
        _open(game, prose)
        return
    prose.put(game.story.turns[-1].text)
    prose.end()


def _show(events: Generator[Event], game: Game, prose: Prose, asked: threading.Event) -> bool:
    """Show what happens, until it is over or Ctrl-C comes; return whether the player stays."""
    from topwork.play import events as kinds

    stays = True
    for event in events:
        if isinstance(event, kinds.Begun) and event.action:
            prose.put(f"{event.action} ")
        elif isinstance(event, kinds.Piece):
            prose.put(event.text)
        elif isinstance(event, kinds.Told):
            prose.end()
        elif isinstance(event, kinds.Changed):
            _open_again(game, prose)
        elif isinstance(event, kinds.Shown):
            print(f"{printable(event.text)}\n", flush=True)
        elif isinstance(event, (kinds.Notice, kinds.Ended)):
            _notify(event.text)
        elif isinstance(event, kinds.Left):
            stays = False
        if asked.is_set():
            events.close()
            prose.end()
            _notify("Stopped; what stands above stays." if game.story.turns else "Stopped.")
    return stays


def _notify(text: str) -> None:
    sys.stdout.flush()
    print(f"{printable(text)}\n", file=sys.stderr, flush=True)


def _line() -> str | None:
    """Ask for a line; None where there is none, or Ctrl-C is given in place of one."""
    try:
        if sys.stdin.isatty():
            return input(_PROMPT)
        return line.rstrip("\r\n") if (line := sys.stdin.readline()) else None
    except (EOFError, KeyboardInterrupt):
        print()
        return None


def _width() -> int:
    return min(_WIDEST, shutil.get_terminal_size().columns - 1) if sys.stdout.isatty() else 0


@contextmanager
def _interruption() -> Iterator[threading.Event]:
    """Let Ctrl-C set an event inside, in place of ending the command."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def take(number: int, frame: FrameType | None) -> None:
        del number, frame
        asked.set()

    before = signal.signal(signal.SIGINT, take)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
