"""Words of the command line turned into what the verbs take."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from topwork.errors import UsageError

if TYPE_CHECKING:
    from datetime import datetime

    import typer

    from topwork.cli.options import EngineWord, LayoutWord
    from topwork.contracts import Modality
    from topwork.steps.options import FitOptions, Surroundings
    from topwork.verbs import Model, Writer

__all__ = [
    "around_of",
    "asked_again",
    "elapsed_s",
    "expiry_of",
    "fitted",
    "inputs_of",
    "options_of",
    "process_age_s",
    "settings_of",
    "tasks_of",
    "writes",
]

_WRITING = "writing"
"""Task of texts to write like."""


def inputs_of(words: Sequence[str], modality: Modality) -> list[object]:
    """Return the paths that the words name, and the bytes on standard input for ``-``.

    A path that does not exist is returned as it is: among a thousand others it costs a line, not the run. Where the
    model takes texts, a word that names no file is a text itself.
    """
    found: list[object] = []
    for word in words:
        found += [_stdin(modality)] if word == "-" else _files(word, modality)
    return found


def _files(word: str, modality: Modality) -> Sequence[object]:
    from topwork.verbs.predicting import input_files

    # `os.path` because a name too long for the system is no folder and no file, and no fault.
    if os.path.isdir(word):  # noqa: PTH112
        return input_files([Path(word)], modality)
    if modality.wire.in_json != "text":
        return [word]
    is_named_like_a_file = Path(word[-20:]).suffix.lower() in modality.suffixes and len(word.split()) == 1
    is_file = is_named_like_a_file or os.path.isfile(word)  # noqa: PTH113
    return [Path(word) if is_file else word]


def _stdin(modality: Modality) -> bytes:
    """Read one input from standard input, and no more of it than an input may have."""
    limit = modality.wire.max_bytes
    read = sys.stdin.buffer.read(limit + 1)
    if len(read) > limit:
        raise UsageError(
            f"Standard input holds more than {limit} bytes, the most that one {modality.wire.noun} may have.",
            next_step="Give one input at a time.",
        )
    return read


def expiry_of(word: str, now: datetime) -> datetime | None:
    """Return when a key ends that lasts ``12h``, ``90d`` or ``8w``, or until a day or time (UTC where it has no zone).

    Raises
    ------
    UsageError
        The word says no such time, or one beyond all calendars.
    """
    from datetime import UTC, datetime, timedelta

    if word == "never":
        return None
    try:
        if lasts := re.fullmatch(r"(\d{1,6})([hdw])", word, re.ASCII):
            hours = {"h": 1, "d": 24, "w": 7 * 24}[lasts[2]]
            return (now + timedelta(hours=int(lasts[1]) * hours)).replace(microsecond=0)
        found = datetime.fromisoformat(word)
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{word!r} is no time at which a key can end.",
            next_step="Give something like 12h, 90d or 8w, a day such as 2027-01-31, or never.",
        ) from None


def settings_of(words: Sequence[str]) -> dict[str, str]:
    """Return the settings that words such as ``epochs=5`` give, still as words; the last of a name counts.

    Raises
    ------
    UsageError
        A word has no ``=``, or nothing before it.
    """
    for word in words:
        if word.find("=") < 1:
            raise UsageError(
                f"--set takes NAME=VALUE, such as epochs=5; received {word!r}.",
                next_step="`docs/recipes.md` lists the settings of each recipe.",
            )
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def tasks_of(words: Sequence[str] | None) -> str | dict[str, str]:
    """Return the task for all targets, or that of each one which words such as ``age=regression`` name.

    Raises
    ------
    UsageError
        Several tasks are given for all targets, or some for all and others for single ones.
    """
    from topwork.steps.options import DEFAULT_TASK

    given = [word.rpartition("=") for word in words or ()]
    if all(sign for _, sign, _ in given):
        return {target: task for target, _, task in given} or DEFAULT_TASK
    if len(given) > 1:
        raise UsageError(
            f"--task is given {len(given)} times, and as {next(task for _, sign, task in given if not sign)!r} for no "
            "target; expected one task for all targets, or TARGET=TASK each time.",
            next_step="Write it as in --task age=regression --task species=classification.",
        )
    return given[0][2]


def asked_again(options: FitOptions) -> str:
    """Return the words that say once more how the data are read and what is predicted, with a blank in front."""
    from topwork.steps.options import DEFAULT_TASK, FitOptions

    words = [part for name in options.target for part in ("--target", name)]
    if isinstance(options.task, str):
        words += [] if options.task == DEFAULT_TASK else ["--task", options.task]
    else:
        words += [part for name, task in options.task.items() for part in ("--task", f"{name}={task}")]
    columns = {"event": options.event, "input": options.input, "group": options.group, "time": options.time}
    words += [part for name, one in columns.items() if one is not None for part in (f"--{name}", one)]
    words += [] if options.layout == FitOptions().layout else ["--layout", options.layout]
    return "".join(f" {shlex.quote(word)}" for word in words)


def process_age_s() -> float:
    """Return how long this process has been running, in seconds; 0 where the system does not tell."""
    with suppress(OSError, ValueError, IndexError, AttributeError):
        stat = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace")
        ticks = int(stat.rpartition(")")[2].split()[19])
        up_s = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
        return max(0.0, up_s - ticks / os.sysconf("SC_CLK_TCK"))
    return 0.0


def options_of(
    input_column: str | None,
    target: list[str] | None,
    group: str | None,
    time: str | None,
    layout: LayoutWord,
    *,
    event: str | None = None,
    keep: bool = True,
    golden: Path | None = None,
) -> FitOptions:
    """Return what options say of the data, of the split and of what is kept."""
    from topwork.verbs import FitOptions

    return FitOptions(
        input=input_column,
        target=tuple(target or ()),
        group=group,
        time=time,
        layout=layout,
        keep_training_data=keep,
        golden=golden,
        event=event,
    )


def writes(data: Path, options: FitOptions) -> bool:
    """Tell whether data are texts to write like: by the task, or by what they look like where nothing is said.

    Texts that several columns are given to are such ones: labelled data have a single column of inputs.
    """
    from topwork.data.corpus import looks_like_corpus
    from topwork.steps.options import DEFAULT_TASK

    says_nothing = options.task == DEFAULT_TASK and not options.target
    is_given = "," in (options.input or "")
    return options.task == _WRITING or (says_nothing and (is_given or looks_like_corpus(data)))


def fitted(
    data: Path,
    out: Path,
    *,
    trunk: str | None,
    recipe: str,
    budget: str | None,
    seed: int,
    options: FitOptions,
    around: Surroundings,
) -> Model | Writer:
    """Fit a model on labelled data; a language model where the data are texts beside which no label stands."""
    from topwork import verbs
    from topwork.steps.options import DEFAULT_RECIPE

    is_writer = writes(data, options)
    fit = verbs.fit_writer if is_writer else verbs.fit
    if is_writer and recipe == DEFAULT_RECIPE:
        recipe = verbs.DEFAULT_WRITING_RECIPE
    return fit(
        data, out, trunk=trunk, recipe=recipe, budget=budget, seed=seed, options=options, around=around
    )


def around_of(context: typer.Context, engine: EngineWord = "auto", *, quiet: bool = False) -> Surroundings:
    """Return what stands around a command; the whole of its words is the root context's object."""
    from time import perf_counter

    from topwork import progress
    from topwork.engines.memory import keep_memory, rest_while_waiting, sum_in_order
    from topwork.steps.recording import command_line
    from topwork.verbs import Surroundings

    keep_memory()
    rest_while_waiting()
    sum_in_order()
    return Surroundings(
        command=command_line(["topwork", *(context.find_root().obj or ())]),
        engine=engine,
        progress=progress.Quiet() if quiet else progress.on(sys.stderr),
        clock=perf_counter,
        began_s=perf_counter() - process_age_s(),
    )


def elapsed_s(around: Surroundings) -> float:
    """Return the seconds since the process began."""
    return around.clock() - (around.began_s or 0.0)
