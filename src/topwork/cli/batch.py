"""`topwork batch`: many inputs to a file of answers. It knows no file's form and no server's routes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from topwork.cli.lines import put, put_json, say
from topwork.cli.options import BundleEngine, Json, Only, Quiet, path_of
from topwork.cli.sources import around_of
from topwork.errors import UsageError
from topwork.storage import explain

if TYPE_CHECKING:
    from topwork.verbs.batching import BatchOutcome, Trial

__all__ = ["batch"]


def batch(
    context: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A .topwork file, or the address of a server.")
    ],
    inputs: Annotated[
        Path,
        typer.Argument(
            metavar="INPUTS",
            parser=path_of,
            help="A folder, a table (CSV, TSV, JSONL, Parquet), or a .txt with one input in each line.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="FILE", parser=path_of, help="Answers to write: .jsonl, .csv or .parquet."),
    ],
    failed: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=path_of,
            help="Rows without an answer, as JSON lines.",
            show_default="beside the answers",
        ),
    ] = None,
    input: Annotated[  # noqa: A002 - the option's name
        str | None,
        typer.Option(metavar="COLUMN", help="Column of a table that holds or names the inputs."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the same batch, or begin where there is none.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Try a few rows, tell how long all take; write nothing.")
    ] = False,
    only: Only = None,
    engine: BundleEngine = "auto",
    parallel: Annotated[
        int, typer.Option(metavar="N", min=1, max=256, help="Requests to a server at once.")
    ] = 4,
    tries: Annotated[
        int, typer.Option(metavar="N", min=1, help="How often a request to a server is sent.")
    ] = 8,
    key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", parser=path_of, help="File that holds an API key of the server."),
    ] = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Answer many inputs, each once, into a file."""
    from topwork.steps.remote import Patience
    from topwork.verbs.batching import BatchOptions, rehearse
    from topwork.verbs.batching import batch as run

    options = BatchOptions(
        column=input,
        only=tuple(only or ()),
        failed=failed,
        resume=resume,
        key=None if key_file is None else _key(key_file),
        patience=Patience(n_parallel=parallel, n_tries=tries),
    )
    around = around_of(context, engine, quiet=quiet)
    if dry_run:
        _show_trial(rehearse(source, inputs, out, options=options, around=around), as_json=json)
        return
    found = run(source, inputs, out, options=options, around=around)
    _show(found, as_json=json)
    if found.n_rows and found.n_failed == found.n_rows:
        raise typer.Exit(1)


def _key(path: Path) -> str:
    try:
        key = path.read_text("utf-8", "replace").strip()
    except OSError as error:
        raise explain(error, path, doing="read") from error
    if not key or not key.isprintable() or not key.isascii():
        raise UsageError(f"{path} holds no API key.", next_step="`topwork keys create` shows one, once.")
    return key


def _show(found: BatchOutcome, *, as_json: bool) -> None:
    """Tell where the answers are, and how many rows have none."""
    if as_json:
        put_json(
            {
                "schema": 1,
                "out": str(found.out),
                "failed": None if found.failed is None else str(found.failed),
                "n_rows": found.n_rows,
                "n_failed": found.n_failed,
                "n_resumed": found.n_resumed,
                "seconds": found.seconds,
                "was_done": found.was_done,
            }
        )
        return
    if found.was_done:
        put(f"{found.out} was there already; nothing was done.")
        return
    put(f"Answers {found.out}  ({found.n_rows - found.n_failed:,} of {found.n_rows:,} rows)")
    if found.failed is not None:
        put(f"Failed  {found.failed}  ({found.n_failed:,} rows, each with its reason)")
    if found.n_resumed:
        put(f"Resumed {found.n_resumed:,} rows were done before")
    put(f"Took    {found.seconds:.1f} s")


def _show_trial(found: Trial, *, as_json: bool) -> None:
    """Tell what a batch would take and write."""
    if as_json:
        put_json(
            {
                "schema": 1,
                "n_rows": found.n_rows,
                "n_tried": found.n_tried,
                "n_failed": found.n_failed,
                "seconds_per_row": found.seconds_per_row,
                "seconds": found.seconds,
                "column": found.column,
                "out": str(found.out),
                "failed": str(found.failed),
                "example": found.example,
            }
        )
        return
    from topwork.report.quantities import duration

    put(f"{found.n_rows:,} rows" + (f", of column {found.column!r}" if found.column else ""))
    told = f"; {found.n_failed} of them have no answer" if found.n_failed else ""
    took = duration(found.seconds).replace("\u00a0", " ")
    put(f"About {took}, by {found.n_tried} of them that were tried{told}")
    put(f"Would write {found.out}, and rows without an answer to {found.failed}")
    if found.example is not None:
        put_json(found.example)
    say("Nothing was written.")
