"""The game: a line of the player in, what happens out. It knows neither terminal nor page nor engine."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from topwork.errors import TopworkError, UsageError
from topwork.play.commands import HELP, Command, command_of
from topwork.play.endings import ending_of, said_of
from topwork.play.events import Begun, Changed, Ended, Event, Left, Notice, Shown, Told
from topwork.play.manners import PROSE, Manner
from topwork.play.memory import View, room_of, view_of
from topwork.play.moves import kind_of, move_of
from topwork.play.narrator import Narrator
from topwork.play.saves import Saves
from topwork.play.sentences import sentences_of
from topwork.play.starts import GENRES, drawn_start, own_start
from topwork.play.story import Story, Turn
from topwork.play.telling import Telling, Wish
from topwork.play.words import NO_WORDS, Words

__all__ = ["Game"]

_TRIES: Final = 3
_LOOKED_BACK: Final = 8
"""Turns whose sentences are not to come again."""
_FAILED: Final = {
    "circles": f"The story goes in circles: {_TRIES} times the model said what was there before.",
    "nothing": f"The model wrote nothing that belongs to a story, {_TRIES} times.",
    "words": f"What the model wrote held words that are not to be read, {_TRIES} times.",
}
_ADVICE: Final = "The story is as it was. Try other words, /revert, or another /set temperature."


@dataclass(slots=True)
class Game:
    """One player's game.

    Attributes
    ----------
    story
        As it is now.
    name
        Under which it is saved after each turn.
    words
        Those that are not to be read.
    """

    narrator: Narrator
    story: Story
    saves: Saves
    name: str
    manner: Manner = PROSE
    words: Words = field(default=NO_WORDS)

    def take(self, line: str) -> Generator[Event]:
        """Take a line as it was typed: a command, or what the player does. Errors are told, and change nothing."""
        if line.strip().startswith("/"):
            return self._guarded(lambda: self._obeyed(command_of(line)))
        return self.play(kind_of(line), line)

    def play(self, kind: str, words: str) -> Generator[Event]:
        """Play a turn of a kind that is known; see `take`.

        Closed while a result is written, it keeps the sentences that are there; without any, the story is as it was.
        """
        return self._guarded(lambda: self._told(self._permitted(move_of(kind, words)), self.story))

    def view(self) -> View:
        """Return what the model would be shown now."""
        return self._view(self.story, Turn("continue", ""))

    # --- a turn -----------------------------------------------------------------------------------

    def _guarded(self, act: Callable[[], Iterator[Event]]) -> Generator[Event]:
        try:
            yield from act()
        except TopworkError as error:
            yield Notice(str(error))

    def _permitted(self, turn: Turn) -> Turn:
        if self.story.settings.filter == "off" or not self.words.are_in(turn.action):
            return turn
        if self.story.settings.filter == "retell":
            raise UsageError("That holds words that are not to be read.", next_step="Use others.")
        return replace(turn, action=self.words.masked(turn.action))

    def _told(self, turn: Turn, base: Story) -> Generator[Event]:
        """Have the result of a turn told that follows ``base``; only with one the story becomes another."""
        yield Begun(turn.kind, turn.action)
        fate = ""
        for n_tried in range(_TRIES):
            telling = Telling(self._wish(turn, base, n_tried))
            try:
                fate = yield from telling.run(self.narrator)
            except GeneratorExit:
                self._keep(turn, base, telling.result)
                raise
            if fate == "told":
                yield from self._kept(turn, base, telling.result)
                return
        yield Notice(f"{_FAILED[fate]} {_ADVICE}")

    def _wish(self, turn: Turn, base: Story, n_tried: int) -> Wish:
        self.story, seed = self.story.drawn()
        settings = base.settings
        passages = [base.start.opening, *(one.result for one in base.turns)]
        before = [one for text in passages[-_LOOKED_BACK:] for one in sentences_of(text)]
        is_off = settings.filter == "off"
        return Wish(
            self._view(base, turn).text,
            settings.length,
            settings.sampling(seed, n_tried=n_tried),
            self.manner.stops,
            tuple(before),
            NO_WORDS if is_off else self.words,
            retells=settings.filter == "retell",
        )

    def _view(self, base: Story, turn: Turn) -> View:
        settings = base.settings
        room = room_of(settings.memory, settings.length, self.narrator.window)
        return view_of(base, self.manner, self.narrator.n_tokens, room=room, doing=turn)

    def _keep(self, turn: Turn, base: Story, result: str) -> Iterator[Event]:
        """Make a told turn a part of the story; nothing where nothing was told. Return what there is to say of it."""
        if not result:
            return iter(())
        self.story = replace(base, n_drawn=self.story.n_drawn).after(replace(turn, result=result))
        return iter(self._saved())

    def _kept(self, turn: Turn, base: Story, result: str) -> Iterator[Event]:
        notices = self._keep(turn, base, result)
        yield Told(result)
        yield from notices
        if (outcome := ending_of(result)) is not None:
            yield Ended(outcome, said_of(outcome))

    def _saved(self) -> list[Event]:
        """Save the story under its name; a disk that is full is no reason to stop playing."""
        try:
            self.saves.write(self.name, self.story)
        except TopworkError as error:
            return [Notice(f"The story could not be saved: {error}")]
        return []

    # --- commands ---------------------------------------------------------------------------------

    def _obeyed(self, command: Command) -> Iterator[Event]:
        known: dict[str, Callable[[str], Iterator[Event]]] = {
            "revert": self._revert,
            "retry": self._retry,
            "alter": self._alter,
            "remember": self._remember,
            "forget": self._forget,
            "context": self._context,
            "save": self._save,
            "load": self._load,
            "print": lambda _: iter([Shown(self.story.text)]),
            "set": self._set,
            "new": self._new,
            "help": lambda _: iter([Shown(HELP)]),
            "quit": lambda _: iter([Left()]),
        }
        return known[command.name](command.rest)

    def _change(self, story: Story) -> Iterator[Event]:
        self.story = story
        yield from self._saved()

    def _revert(self, rest: str) -> Iterator[Event]:
        yield from self._change(self.story.reverted(_count(rest or "1", "/revert")))
        yield Changed()

    def _retry(self, _: str) -> Iterator[Event]:
        base = self.story.reverted()
        last = self.story.turns[-1]
        yield from self._told(replace(last, result=""), base)

    def _alter(self, rest: str) -> Iterator[Event]:
        text = _needed(rest, "/alter", self.story.turns[-1].result if self.story.turns else "")
        yield from self._change(self.story.altered(self._cleaned(text)))
        yield Changed()

    def _remember(self, rest: str) -> Iterator[Event]:
        changed = self.story.remembering(self._cleaned(_needed(rest, "/remember")))
        room = room_of(changed.settings.memory, changed.settings.length, self.narrator.window)
        if (n := self.narrator.n_tokens(changed.pinned)) > room // 2:
            raise UsageError(
                f"What is never forgotten would have {n:,} tokens; it may take half of the {room:,} that the model "
                "sees.",
                next_step="/forget something, or say it in fewer words.",
            )
        yield from self._change(changed)
        yield Notice(f"Remembered as number {len(changed.remembered)}.")

    def _forget(self, rest: str) -> Iterator[Event]:
        story = self.story
        if rest == "all":
            changed = replace(story, remembered=())
        else:
            changed = story.forgetting(_count(rest or str(len(story.remembered)), "/forget"))
        yield from self._change(changed)
        yield Notice("Forgotten.")

    def _context(self, _: str) -> Iterator[Event]:
        story, view = self.story, self.view()
        lines = [story.start.context] if story.start.context else []
        lines += [f"{number}. {fact}" for number, fact in enumerate(story.remembered, 1)]
        opening = "the opening and " if view.shows_opening else ""
        room = room_of(story.settings.memory, story.settings.length, self.narrator.window)
        lines.append(
            f"The model sees {view.n_tokens:,} tokens of at most {room:,}: {view.n_pinned:,} that are never forgotten, "
            f"{opening}the newest {view.n_turns:,} of {len(story.turns):,} turns."
        )
        yield Shown("\n".join(lines))

    def _save(self, rest: str) -> Iterator[Event]:
        path = self.saves.write(rest or self.name, self.story)
        yield Notice(f"Saved as {path if self.saves.takes_paths else path.stem}.")

    def _load(self, rest: str) -> Iterator[Event]:
        if not rest:
            yield Shown("\n".join(self.saves.names()[:50]) or "No story is saved here yet.")
            return
        found = self.saves.read(rest)
        yield from self._put_aside()
        yield from self._change(found)
        yield Changed()

    def _set(self, rest: str) -> Iterator[Event]:
        if not rest:
            yield Shown(self.story.settings.listed())
            return
        name, _, word = rest.replace("=", " ").partition(" ")
        settings = self.story.settings.changed(name, word.strip())
        room_of(settings.memory, settings.length, self.narrator.window)
        yield from self._change(replace(self.story, settings=settings))
        yield Notice(f"{name} is {getattr(settings, name)}.")

    def _new(self, rest: str) -> Iterator[Event]:
        story, seed = self.story.drawn()
        genre = rest.lower() or (story.start.genre if story.start.genre in GENRES else next(iter(GENRES)))
        start = drawn_start(genre, seed) if genre in GENRES else own_start(self._cleaned(rest))
        yield from self._put_aside()
        self.story = Story(start, seed, settings=story.settings)
        yield Changed()

    def _put_aside(self) -> Iterator[Event]:
        """Keep the story that another one takes the place of, under a name of its own."""
        if not self.story.turns:
            return
        taken, number = set(self.saves.names()), 1
        while (name := f"{self.name} {number}") in taken:
            number += 1
        self.saves.write(name, self.story)
        yield Notice(f"The story so far is kept as {name!r}.")

    def _cleaned(self, text: str) -> str:
        return text if self.story.settings.filter == "off" else self.words.masked(text)


def _needed(rest: str, command: str, now: str = "") -> str:
    if not rest:
        raise UsageError(f"{command} needs a text.", next_step=f"It is now: {now}" if now else "")
    return rest


def _count(rest: str, command: str) -> int:
    if not rest.isascii() or not rest.isdigit() or len(rest) > 6:
        raise UsageError(f"{command} takes a number; received {rest[:40]!r}.")
    return int(rest)
