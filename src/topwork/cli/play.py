"""`topwork play`: a story game on a language model, here or as a web page. It knows no rule of the game."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from topwork.cli.generate import PrecisionWord
from topwork.cli.lines import say
from topwork.cli.options import Quiet, path_of
from topwork.cli.sources import around_of

__all__ = ["play"]

MannerWord = Literal["auto", "marked", "prose"]


def play(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="BUNDLE",
            help="A bundle of a language model, a catalogue name, hf/ORG/NAME, or a folder of transformers.",
            show_default="smollm2-135m",
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(metavar="GENRE", help="How it begins: fantasy, mystery, space, ashes, sea, ghosts."),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Begin with these words of your own.")
    ] = None,
    load: Annotated[
        str | None, typer.Option(metavar="FILE", help="Go on with a saved story: its name, or a file.")
    ] = None,
    saves: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", parser=path_of, help="Where stories are saved.", show_default="your own folder"
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="The same again; without one, another each time.")
    ] = None,
    filter: Annotated[  # noqa: A002 - the option's name
        Path | None,
        typer.Option(metavar="FILE", parser=path_of, help="Words that are not to be read, one on each line."),
    ] = None,
    set: Annotated[  # noqa: A002 - the option's name
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="A setting of the game, such as temperature=0.9; may be given several times.",
        ),
    ] = None,
    manner: Annotated[
        MannerWord,
        typer.Option(help="How actions stand in what the model sees: behind a >, or as prose."),
    ] = "auto",
    web: Annotated[bool, typer.Option("--web", help="Play on a web page of this machine.")] = False,
    port: Annotated[int, typer.Option(metavar="N", help="Port of the page; 0 takes a free one.")] = 8000,
    precision: Annotated[PrecisionWord, typer.Option(help="What the model computes in.")] = "auto",
    quiet: Quiet = False,
) -> None:
    """Play a story that a language model tells."""
    from dataclasses import replace

    from topwork.cli.playing import choose_genre, play_here
    from topwork.cli.sources import settings_of
    from topwork.play.starts import GENRES
    from topwork.verbs.playing import PlayOptions, new_game, open_table, serve_games

    given = tuple(settings_of(set or ()).items())
    options = PlayOptions(start, prompt, load, seed, given, filter, saves, manner)
    if not web and sys.stdin.isatty() and start is None and prompt is None and load is None:
        chosen = choose_genre().strip()
        genres = dict(zip(map(str, range(1, len(GENRES) + 1)), GENRES, strict=True))
        named = genres.get(chosen, chosen.lower())
        options = replace(options, **({"start": named} if named in GENRES else {"prompt": chosen or None}))
    around = around_of(context, quiet=quiet)
    computed = None if precision == "auto" else precision
    table = open_table(model, options, precision=computed, around=around, takes_paths=not web)
    if web:
        serve_games(table, port=port, on_ready=lambda url: say(f"Play at {url} ; Ctrl-C ends."))
    else:
        play_here(new_game(table), model or "")
