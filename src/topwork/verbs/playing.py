"""`play`: a story game on a language model. It brings the model to `topwork.play`, and a game to its player."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

from topwork.contracts import Precision, Sampling
from topwork.data.corpus import TREE_LAYOUT
from topwork.errors import UsageError
from topwork.play.game import Game
from topwork.play.manners import MARKED, PROSE, Manner
from topwork.play.saves import Saves
from topwork.play.settings import Settings
from topwork.play.site import Site
from topwork.play.starts import GENRES, drawn_start, own_start
from topwork.play.story import Story
from topwork.play.words import NO_WORDS, Words, read_words
from topwork.serving.server import run
from topwork.steps.options import Surroundings
from topwork.storage import stories_folder
from topwork.trunks import DEFAULT_WRITER
from topwork.verbs.writing import Writer, writer

__all__ = [
    "MannerWord",
    "PlayOptions",
    "Table",
    "WriterNarrator",
    "new_game",
    "open_table",
    "serve_games",
    "site_of",
]

MannerWord: TypeAlias = Literal["auto", "marked", "prose"]
_AUTO = "auto-"
"""How names begin under which games are saved by themselves."""


@dataclass(frozen=True, slots=True)
class PlayOptions:
    """What a game is to be.

    Attributes
    ----------
    start, prompt, load
        A genre, a beginning of one's own, or a saved story; at most one of them.
    seed
        Of all that is drawn; another one each time without.
    settings
        Those of `topwork.play.settings.Settings` that are not to be as they are, by name.
    filter
        File of words that are not to be read.
    saves
        Folder of saved stories; by default the user's own.
    manner
        How actions stand in what the model sees: ``marked`` by ``>``, as in texts of story trees, or as ``prose``;
        ``auto`` for marked where the model has learned from such.
    """

    start: str | None = None
    prompt: str | None = None
    load: str | None = None
    seed: int | None = None
    settings: tuple[tuple[str, str], ...] = ()
    filter: Path | None = None
    saves: Path | None = None
    manner: MannerWord = "auto"


@dataclass(frozen=True, slots=True, eq=False)
class WriterNarrator:
    """A language model as the game asks it."""

    writer: Writer

    @property
    def name(self) -> str:
        """What the model is called."""
        return self.writer.name

    @property
    def window(self) -> int:
        """Tokens that it sees at most."""
        return self.writer.vocabulary.window

    def n_tokens(self, text: str) -> int:
        """Return how many tokens a text has."""
        return len(self.writer.vocabulary.opening(text))

    def tell(self, prompt: str, *, n_tokens: int, sampling: Sampling, stops: Sequence[str]) -> Generator[str]:
        """Go on with a text, piece by piece."""
        yield from self.writer.stream(prompt, length=n_tokens, sampling=sampling, stops=stops)


@dataclass(frozen=True, slots=True)
class Table:
    """A model that is ready to be played with, and what is the same for all games on it."""

    narrator: WriterNarrator
    manner: Manner
    words: Words
    saves: Saves
    options: PlayOptions

    def seat(self, name: str, story: Story) -> Game:
        """Return a game of a story."""
        return Game(self.narrator, story, self.saves, name, self.manner, self.words)


def open_table(
    model: str | Path | None = None,
    options: PlayOptions | None = None,
    *,
    precision: Precision | None = None,
    around: Surroundings | None = None,
    takes_paths: bool = False,
) -> Table:
    """Open a model to play with; what is wrong with the options is found before that takes time.

    Raises
    ------
    UsageError
        There is no such model, or the options make no sense.
    WeightsError, BundleError
        As of `topwork.verbs.writing.writer`.
    StorageError
        A file cannot be read.
    """
    options = options or PlayOptions()
    saves = Saves(options.saves or stories_folder(), takes_paths=takes_paths)
    words = NO_WORDS if options.filter is None else read_words(options.filter)
    _story(options, saves)
    opened = writer(DEFAULT_WRITER if model is None else model, precision=precision, around=around)
    return Table(WriterNarrator(opened), _manner(opened, options.manner), words, saves, options)


def new_game(table: Table, *, now: Callable[[], datetime] = datetime.now) -> Game:
    """Begin the game that a table's options say, or go on with it.

    Raises
    ------
    UsageError, DataError, StorageError
        It cannot be begun so.
    """
    options = table.options
    story = _story(options, table.saves)
    loaded = Path(options.load or "").stem
    if loaded.startswith(_AUTO) and table.saves.path_of(loaded).exists():
        return table.seat(loaded, story)
    name = f"{_AUTO}{story.start.genre}-{now():%Y-%m-%d-%H%M%S}"
    return table.seat(name, story)


def site_of(table: Table) -> Site:
    """Return the page of a table, as an ASGI application."""
    options = table.options
    asks = options.start is None and options.prompt is None and options.load is None
    return Site(
        table.seat, draw=lambda: secrets.randbits(32), first=partial(_story, options, table.saves), asks=asks
    )


def serve_games(table: Table, *, port: int = 8000, on_ready: Callable[[str], None] = lambda _: None) -> None:
    """Serve the page on this machine alone, until SIGTERM or Ctrl-C.

    Raises
    ------
    UsageError
        The port cannot be had.
    MissingExtraError
        The packages for serving are not installed.
    """
    run(site_of(table), port=port, on_ready=on_ready)


def _story(options: PlayOptions, saves: Saves) -> Story:
    given = [one for one in (options.start, options.prompt, options.load) if one is not None]
    if len(given) > 1:
        raise UsageError(
            "A story begins in one way; received several.",
            next_step="Leave out all but one of --start, --prompt and --load.",
        )
    if options.load is not None:
        return _set(replace(saves, takes_paths=True).read(options.load), options)
    seed = secrets.randbits(32) if options.seed is None else options.seed
    genres = list(GENRES)
    genre = options.start or genres[seed % len(genres)]
    start = drawn_start(genre, seed) if options.prompt is None else own_start(options.prompt)
    return _set(Story(start, seed), options)


def _set(story: Story, options: PlayOptions) -> Story:
    settings: Settings = story.settings
    for name, word in options.settings:
        settings = settings.changed(name, word)
    return replace(story, settings=settings)


def _manner(opened: Writer, word: MannerWord) -> Manner:
    if word != "auto":
        return MARKED if word == "marked" else PROSE
    if opened.bundle is None:
        return PROSE
    record = opened.record
    has_learned = any(rung.chosen for rung in record.rungs[1:])  # the first one is the model as it was
    return MARKED if has_learned and record.data.layout.startswith(TREE_LAYOUT) else PROSE
