"""`topwork data check`: what a fit would see, and a copy of texts with what is odd about them mended."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from topwork.cli.lines import prompt_for, put, put_json, say
from topwork.cli.options import (
    Data,
    Event,
    Group,
    Input,
    Json,
    LayoutOption,
    Quiet,
    Seed,
    Target,
    Task,
    Time,
    path_of,
)
from topwork.cli.sources import around_of, asked_again, options_of

if TYPE_CHECKING:
    from topwork.contracts import Rejected
    from topwork.data.corpus_check import CorpusFinding
    from topwork.verbs import FitOptions, MendedTexts, TextCheck

__all__ = ["data_check", "show_mended", "show_text_check"]

_MOST_SHOWN = 20
"""Texts that were left out."""


def data_check(
    context: typer.Context,
    data: Data,
    mend: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=path_of,
            help="Of texts to write like: write a mended copy, .jsonl; the data stay as they are.",
        ),
    ] = None,
    also: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Mend this, too: several, told or long; it leaves out texts. May be given several times.",
        ),
    ] = None,
    leave: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Do not mend this; may be given several times."),
    ] = None,
    seed: Seed = 0,
    input: Input = None,  # noqa: A002 - the option's name
    target: Target = None,
    event: Event = None,
    group: Group = None,
    time: Time = None,
    layout: LayoutOption = "auto",
    task: Task = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Show what a fit would see, and what it would refuse; mend a copy of texts."""
    from dataclasses import replace

    from topwork import verbs
    from topwork.cli.listings import show_check
    from topwork.cli.sources import tasks_of, writes

    options = replace(options_of(input, target, group, time, layout, event=event), task=tasks_of(task))
    around = around_of(context, quiet=quiet)
    is_writing = writes(data, options)
    _require_sense(data, mend, [*(also or ()), *(leave or ())], is_writing=is_writing)
    if mend is not None:
        mended = verbs.mend_texts(
            data, mend, also=also or (), leave=leave or (), seed=seed, options=options, around=around
        )
        raise typer.Exit(show_mended(mended, as_json=json))
    if is_writing:
        texts = verbs.check_texts(data, seed=seed, options=options, around=around)
        raise typer.Exit(show_text_check(texts, data, options, as_json=json))
    found = verbs.check(data, seed=seed, options=options, around=around)
    raise typer.Exit(show_check(found, as_json=json))


def _require_sense(data: Path, mend: Path | None, names: Sequence[str], *, is_writing: bool) -> None:
    from topwork.errors import UsageError

    if mend is None and names:
        raise UsageError(
            f"{names[0]!r} is to be mended or left, and there is no copy to write.",
            next_step="Add --mend FILE.jsonl.",
        )
    if (
        mend is not None and not is_writing and data.exists()
    ):  # else whoever reads it says that it is not there
        raise UsageError(
            f"--mend is for texts to write like; {data} looks like data with labels.",
            next_step="Leave it out, or add --task writing if they are such texts.",
        )


# --- texts to write like ------------------------------------------------------------------------------


def show_text_check(found: TextCheck, data: Path, options: FitOptions, *, as_json: bool) -> int:
    """Tell what texts to write like look like; return 1 when a fit would refuse them."""
    if as_json:
        put_json(_json_of(found))
        return _status(found)
    _put_head(found)
    _put_findings(found.findings)
    _put_left_out(found.corpus.rejected)
    put()
    _put_outcome(found)
    _say_how_to_mend(found.findings, data, options)
    return _status(found)


def show_mended(found: MendedTexts, *, as_json: bool) -> int:
    """Tell what was mended, and what is left to the user; return 1 when a fit would refuse the copy."""
    after = found.after
    if as_json:
        put_json({**_json_of(found.before), "mended": _mended_json(found)})
        return _status(after)
    done = [one for one in found.before.findings if one.mending == "done"]
    _put_head(found.before)
    _put_findings(done)
    _put_left_out(found.before.corpus.rejected)
    put()
    put(f"Wrote {found.path}: {_sizes(after)}.")
    if not done:
        put("There was nothing to mend.")
    _put_findings(after.findings)
    put()
    _put_outcome(after)
    _say_what_now(found)
    return _status(after)


def _put_head(found: TextCheck) -> None:
    put(found.corpus.layout)
    put(f"{_sizes(found)}.")


def _sizes(found: TextCheck) -> str:
    n = len(found.corpus.documents)
    return f"{n:,} {'text' if n == 1 else 'texts'}, {found.n_tokens:,} tokens"


def _put_findings(findings: Sequence[CorpusFinding]) -> None:
    for one in findings:
        put()
        put(f"{'Mended' if one.mending == 'done' else one.kind.capitalize()}: {one.what}")
        put(f"  {one.remedy}")
        if one.mending == "offered" and one.kind == "recommended":
            put(f"  Can be mended{' on request: --also' if _is_on_request(one) else ':'} {one.name}")


def _put_left_out(rejected: Sequence[Rejected]) -> None:
    if rejected:
        put()
        put("Left out:")
    for one in rejected[:_MOST_SHOWN]:
        put(f"  {one.key}: {one.reason}")
    if len(rejected) > _MOST_SHOWN:
        put(f"  … and {len(rejected) - _MOST_SHOWN:,} more")


def _put_outcome(found: TextCheck) -> None:
    sides = found.sides
    if sides is None:
        put(f"A fit would refuse these data: {found.obstacle}")
        return
    put(
        f"{len(sides.train):,} texts to learn from, {len(sides.valid):,} to validate by, "
        f"{len(sides.test):,} to test; {sides.method}."
    )


def _say_how_to_mend(findings: Sequence[CorpusFinding], data: Path, options: FitOptions) -> None:
    offered = [one for one in findings if one.mending == "offered" and one.kind == "recommended"]
    if not offered:
        return
    by_itself = list(dict.fromkeys(one.name for one in offered if not _is_on_request(one)))
    on_request = [one.name for one in offered if _is_on_request(one)]
    words = "" if by_itself else f" --also {on_request[0]}"
    say()
    say("To have that mended in a copy:")
    say(
        f"  topwork data check {shlex.quote(str(data))}{asked_again(options)} "
        f"--mend {shlex.quote(str(_copy_of(data)))}{words}"
    )
    if by_itself:
        say(f"  --leave NAME   leaves one of these as it is: {', '.join(by_itself)}")
    if on_request:
        say(f"  --also NAME    leaves such texts out, too: {', '.join(on_request)}")


def _copy_of(data: Path) -> Path:
    """Return a name in this folder that is not taken."""
    stem = data.stem.replace("*", "").removesuffix(".mended") or "texts"
    names = (Path(f"{stem}.mended{'' if n == 1 else f'-{n}'}.jsonl") for n in itertools.count(1))
    return next(one for one in names if not one.exists())


def _say_what_now(found: MendedTexts) -> None:
    given = f" --input {shlex.quote(found.columns)}" if found.columns else ""
    say()
    say(f"  topwork fit {shlex.quote(str(found.path))}{given}")
    if found.ending is not None:
        say(f"Whatever the model is asked has to end as the prompts do now, in {found.ending!r}:")
        say(f"  topwork generate {shlex.quote(f'{found.path.stem}.topwork')} {prompt_for(found.ending)}")


def _is_on_request(finding: CorpusFinding) -> bool:
    from topwork.data.corpus_mending import ON_REQUEST

    return finding.name in ON_REQUEST


def _json_of(found: TextCheck) -> dict[str, Any]:
    sides = found.sides
    return {
        "schema": 1,
        "layout": found.corpus.layout,
        "n_texts": len(found.corpus.documents),
        "n_tokens": found.n_tokens,
        "findings": [asdict(one) for one in found.findings],
        "split": None
        if sides is None
        else {"train": len(sides.train), "valid": len(sides.valid), "test": len(sides.test)},
        "obstacle": found.obstacle,
    }


def _mended_json(found: MendedTexts) -> dict[str, Any]:
    counts = {"counts": dict(found.counts), "prompt_ending": found.ending, "input": found.columns}
    return {"path": str(found.path), **_json_of(found.after), **counts}


def _status(found: TextCheck) -> int:
    return 0 if found.sides is not None else 1
