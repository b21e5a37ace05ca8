"""`topwork generate`: a language model goes on with a text. It knows no network."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from topwork.cli.lines import printable, put_json, say
from topwork.cli.options import Json, Quiet, path_of
from topwork.cli.sources import around_of

if TYPE_CHECKING:
    from topwork.contracts import Sampling
    from topwork.verbs import Writer

__all__ = ["generate"]

PrecisionWord = Literal["auto", "fp32", "bf16", "fp16", "int8"]


def generate(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A bundle, a catalogue name, hf/ORG/NAME, or a folder of transformers."
        ),
    ],
    prefix: Annotated[
        str, typer.Argument(metavar="TEXT", help="What to go on from; - for standard input.")
    ] = "",
    length: Annotated[int, typer.Option(metavar="N", min=1, help="Tokens to write at most.")] = 200,
    samples: Annotated[int, typer.Option(metavar="N", min=1, help="Texts, written all at once.")] = 1,
    temperature: Annotated[
        float | None,
        typer.Option(
            metavar="T",
            help="Above 1 wilder, below 1 tamer; 0 always takes the likeliest. By default the model's own.",
        ),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(metavar="N", help="Only so many likeliest tokens; 0 for all.")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(metavar="P", help="Only the likeliest tokens with this probability together."),
    ] = None,
    min_p: Annotated[
        float | None,
        typer.Option(metavar="P", help="Only tokens at least this share as likely as the likeliest."),
    ] = None,
    repetition_penalty: Annotated[
        float | None, typer.Option(metavar="X", help="Above 1, what was there becomes less likely.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="The same again; without one, another each time.")
    ] = None,
    stop: Annotated[
        list[str] | None,
        typer.Option(metavar="WORDS", help="End there; may be given several times."),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="What it is written by, of a fit on several columns."),
    ] = None,
    no_prefix: Annotated[bool, typer.Option("--no-prefix", help="Leave out what it goes on from.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", parser=path_of, help="Write the texts there.")
    ] = None,
    precision: Annotated[
        PrecisionWord,
        typer.Option(help="What it computes in; fp32 for transformers' own answers, int8 for speed."),
    ] = "auto",
    device: Annotated[
        Literal["auto", "cuda"],
        typer.Option(help="Where it is computed: auto on the processor, cuda on a GPU."),
    ] = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a text."""
    from topwork.contracts import Sampling
    from topwork.engines.sampling import said
    from topwork.inputs.drafts import DELIMITER
    from topwork.verbs.writing import writer

    values = _values(given or ())
    said_of = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    said_of |= {"repetition_penalty": repetition_penalty, "seed": seed}
    said(Sampling(), said_of)  # what makes no sense is told before the model is opened
    text = _given(prefix)
    around = replace(around_of(context, quiet=quiet), device=device)
    found = writer(model, precision=None if precision == "auto" else precision, around=around)
    sampling = said(found.vocabulary.sampling, said_of)
    whole = found.beginning(values) + text
    if found.vocabulary.asks_otherwise(text):
        ending = found.vocabulary.prompt_ending
        say(f"Note: prompts ended in {ending!r} when this model was fitted, and this one does not.")
    if out is None and not json and samples == 1:
        _stream(found, whole, length, sampling, tuple(stop or ()), "" if no_prefix else text)
        return
    passages = found.passages(
        whole, length=length, n_samples=samples, sampling=sampling, stops=tuple(stop or ())
    )
    texts = [one.text if no_prefix else text + one.text for one in passages]
    if out is not None:
        from topwork.storage import write_atomically

        content = "".join(f"{one}\n{DELIMITER}\n" for one in texts)
        write_atomically(out, content.encode("utf-8"))
        say(f"{len(texts):,} texts in {out}")
    if json:
        put_json(
            [
                {"text": shown, "n_tokens": len(one.tokens), "ending": one.ending}
                for shown, one in zip(texts, passages, strict=True)
            ]
        )
    elif out is None:
        print(f"\n{DELIMITER}\n".join(printable(one) for one in texts))


def _values(words: Sequence[str]) -> dict[str, str]:
    """Read what the text is written by.

    Raises
    ------
    UsageError
        A word has no ``=``.
    """
    from topwork.errors import UsageError

    parts = [word.partition("=") for word in words]
    for word, (name, sign, _) in zip(words, parts, strict=True):
        if not sign or not name:
            raise UsageError(
                f"--given is {word!r}; expected NAME=VALUE.", next_step="Write --given genre=fantasy."
            )
    return {name: value for name, _, value in parts}


def _given(prefix: str) -> str:
    return sys.stdin.read() if prefix == "-" else prefix


def _stream(
    found: Writer, text: str, length: int, sampling: Sampling, stops: tuple[str, ...], shown: str
) -> None:
    """Print a text as it is written."""
    print(printable(shown), end="", flush=True)
    for piece in found.stream(text, length=length, sampling=sampling, stops=stops):
        print(printable(piece), end="", flush=True)
    print()
