"""The commands that make of a bundle what one machine, or another program, runs best. It knows no engine."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from topwork.cli.lines import put, put_json, put_table, say
from topwork.cli.options import (
    Bundle,
    Device,
    Event,
    Input,
    Json,
    LayoutOption,
    Only,
    Quiet,
    Target,
    path_of,
)
from topwork.cli.sources import around_of, options_of

if TYPE_CHECKING:
    from topwork.engines.pace import Pace
    from topwork.steps.contenders import Tried
    from topwork.verbs import Export, Optimization, WriterExport

__all__ = ["bundle_export", "bundle_optimize", "show_export", "show_optimization", "show_writer_export"]

AimWord = Literal["throughput", "latency", "size"]
ExportWord = Literal["auto", "onnx", "transformers"]


def bundle_optimize(
    context: typer.Context,
    bundle: Bundle,
    out: Annotated[Path, typer.Argument(metavar="OUT", parser=path_of, help="Bundle to write.")],
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            parser=path_of,
            help="Labelled inputs to measure on; without them int8 is not chosen.",
        ),
    ] = None,
    aim: Annotated[
        AimWord,
        typer.Option("--for", help="What counts: many inputs at once, a single one, or a small bundle."),
    ] = "throughput",
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="Rounds in which speeds are measured.")] = 9,
    input: Input = None,  # noqa: A002 - the option's name
    target: Target = None,
    event: Event = None,
    layout: LayoutOption = "auto",
    device: Device = "auto",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Write a bundle for this machine: the fastest engine that keeps the answers."""
    from dataclasses import replace

    from topwork import verbs

    options = options_of(input, target, None, None, layout, event=event)
    around = replace(around_of(context, quiet=quiet), device=device)
    found = verbs.optimize(bundle, out, data=data, aim=aim, n_rounds=rounds, options=options, around=around)
    show_optimization(found, as_json=json, quiet=quiet)


def bundle_export(
    context: typer.Context,
    bundle: Bundle,
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", parser=path_of, help="File to write, or folder."),
    ],
    form: Annotated[
        ExportWord, typer.Option("--format", help="What is written; by default what suits.")
    ] = "auto",
    only: Only = None,
    json: Json = False,
) -> None:
    """Write the network for other programs, its answers proven: ONNX, or a folder of transformers."""
    from topwork import verbs

    if form == "transformers" or (form == "auto" and verbs.writes_texts(bundle)):
        show_writer_export(verbs.export_writer(bundle, out), as_json=json)
    else:
        show_export(verbs.export(bundle, out, only=only or (), around=around_of(context)), as_json=json)


# --- optimize -------------------------------------------------------------------------------------------


def show_optimization(found: Optimization, *, as_json: bool, quiet: bool = False) -> None:
    """Tell what was tried, what was taken and why, and where it is."""
    if as_json:
        put_json(_optimization_json(found))
        return
    from topwork.cli.output import breakable
    from topwork.steps.standings import COLUMNS, rows_of

    *columns, _ = COLUMNS
    rows = rows_of(found.tried, found.reasons)
    put_table([_indented(columns), *(_indented([breakable(cell) for cell in row[:-1]]) for row in rows)])
    put()
    for row in rows:
        put(f"  {row[0]}: {breakable(row[-1])}")
    put()
    for line in _told(found):
        put(line)
    if not quiet:
        name = shlex.quote(str(found.model.path))
        say()
        say("Next:")
        say(f"  topwork serve {name}   an HTTP API that runs it with {found.chosen.contender.name}")


def _indented(cells: list[str]) -> list[str]:
    return [f"  {cells[0]}", *cells[1:]]


def _told(found: Optimization) -> list[str]:
    """Say what the figures are of, and what was written."""
    on = (
        f"on {found.n_rows:,} labelled inputs that it was not fitted on"
        if found.n_rows
        else "on no labelled inputs; --data gives some"
    )
    made = f"; int8 was calibrated on {found.n_examples} inputs" if found.n_examples else ""
    return [
        f"Speeds are medians and quartiles of rounds, batches of {found.batch}; accuracy was measured {on}{made}.",
        *(f"Note: {note}" for note in found.notes),
        f"Took    {found.seconds:.1f} s",
        f"Chosen  {found.chosen.contender.name}, for {found.aim}",
        f"Bundle  {found.model.path}  ({found.model.path.stat().st_size / 1e6:.1f} MB)",
    ]


def _optimization_json(found: Optimization) -> dict[str, Any]:
    return {
        "schema": 1,
        "bundle": str(found.model.path),
        "identity": found.model.servable.bundle.identity,
        "original": str(found.original),
        "aim": found.aim,
        "chosen": _named(found.chosen),
        "n_rows": found.n_rows,
        "n_examples": found.n_examples,
        "batch": found.batch,
        "tried": [
            {**_tried_json(one, found.tried[0]), "chosen": place == found.place, "finding": reason}
            for place, (one, reason) in enumerate(zip(found.tried, found.reasons, strict=True))
        ],
        "notes": list(found.notes),
        "seconds": found.seconds,
    }


def _named(one: Tried) -> dict[str, Any]:
    return {
        "engine": one.contender.engine,
        "precision": one.contender.precision,
        "device": one.contender.device,
    }


def _tried_json(one: Tried, first: Tried) -> dict[str, Any]:
    from topwork.steps.recording import metrics_json

    def of_targets(told: Mapping[str, Any]) -> dict[str, Any]:
        return {name: metrics_json(metrics) for name, metrics in told.items()}

    return {
        **_named(one),
        "speed": None if one.pace is None or first.pace is None else _speed_json(one.pace, first.pace),
        "golden_error": one.golden_error,
        "n_goldens_same": one.n_same,
        "metrics": of_targets(one.metrics),
        "difference": of_targets(one.difference),
    }


def _speed_json(pace: Pace, first: Pace) -> dict[str, Any]:
    from dataclasses import asdict

    from topwork.engines.pace import Spread

    return {
        "single_s": asdict(Spread.of(pace.single_s)),
        "items_per_s": asdict(Spread.of(pace.items_per_s)),
        "times_the_first": asdict(pace.times(first)),
        "sooner_than_the_first": asdict(pace.sooner(first)),
    }


# --- export ---------------------------------------------------------------------------------------------


def show_export(found: Export, *, as_json: bool) -> None:
    """Tell what was written, and how near its answers are to those of the fit."""
    if as_json:
        put_json(
            {"schema": 1, "file": str(found.path), "bytes": found.n_bytes, "opset": found.opset}
            | {"inputs": _listed(found.inputs), "outputs": _listed(found.outputs)}
            | {"n_goldens": found.n_goldens, "largest_difference": found.largest_difference}
            | {"allowed": found.allowed, "runtime": found.runtime}
        )
        return
    put(f"File    {found.path}  ({found.n_bytes / 1e6:.1f} MB), ONNX with operators of version {found.opset}")
    for word, values in (("Input", found.inputs), ("Output", found.outputs)):
        for name, shape in values.items():
            put(f"{word:<8}{name}  [{', '.join(map(str, shape))}]")
    put(
        f"Proven  {found.runtime} gives the outputs of the fit for all {found.n_goldens} golden examples, each alone "
        f"and all together: off by {found.largest_difference:.2g} of their spread, {found.allowed:g} is allowed."
    )
    say()
    say("What the input must look like and what the outputs mean stand in its metadata_props, as topwork.….")


def show_writer_export(found: WriterExport, *, as_json: bool) -> None:
    """Tell the same of a language model."""
    if as_json:
        put_json(
            {"schema": 1, "folder": str(found.path), "bytes": found.n_bytes, "files": list(found.files)}
            | {"n_goldens": found.n_goldens, "largest_difference": found.largest_difference}
            | {"allowed": found.allowed, "runtime": found.runtime}
        )
        return
    put(f"Folder  {found.path}  ({found.n_bytes / 1e6:.1f} MB): {', '.join(found.files)}")
    put(
        f"Proven  {found.runtime} says the {found.n_goldens} golden texts with the probabilities of the fit: off by "
        f"{found.largest_difference:.2g} nats, {found.allowed:g} is allowed."
    )
    say()
    say("Next:")
    say(f"  AutoModelForCausalLM.from_pretrained({str(found.path)!r}) opens it in transformers")


def _listed(values: Mapping[str, tuple[int | str, ...]]) -> dict[str, Any]:
    return {name: list(shape) for name, shape in values.items()}
