"""The commands and their options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from topwork import __version__

if TYPE_CHECKING:
    from topwork.verbs import FitOptions, Surroundings

__all__ = ["app"]

app = typer.Typer(
    name="topwork",
    help="Data in, a proven model out, a production API behind it.",
    epilog="Begin with:  topwork fit FOLDER   (one sub-folder of photos per label)",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
_COMMON = {"no_args_is_help": True, "rich_markup_mode": None}
data_app = typer.Typer(help="Look at data.", no_args_is_help=True, rich_markup_mode=None)
trunks_app = typer.Typer(help="Pretrained networks.", no_args_is_help=True, rich_markup_mode=None)
bundle_app = typer.Typer(help="Look into bundles.", no_args_is_help=True, rich_markup_mode=None)
cache_app = typer.Typer(
    help="The cache of weights and features.", no_args_is_help=True, rich_markup_mode=None
)
for name, noun in (("data", data_app), ("trunks", trunks_app), ("bundle", bundle_app), ("cache", cache_app)):
    app.add_typer(noun, name=name)

Data = Annotated[
    Path, typer.Argument(help="Class folders, split folders, a table (CSV, TSV, Parquet, JSONL), or a zip.")
]
Bundle = Annotated[Path, typer.Argument(help="A .topwork file.")]
Json = Annotated[bool, typer.Option("--json", help="End standard output with one JSON object.")]
Seed = Annotated[int, typer.Option(help="Of splits and everything else that is drawn at random.")]
Input = Annotated[str | None, typer.Option(help="Column of a table that names the files.")]
Target = Annotated[list[str] | None, typer.Option(help="Column to predict; may be given several times.")]
Group = Annotated[str | None, typer.Option(help="Column whose rows stay on one side, such as a patient.")]
Time = Annotated[str | None, typer.Option(help="Column to split by time; the last rows are the test.")]
LayoutOption = Annotated[str, typer.Option("--layout", help="auto, folders, split-folders or table.")]
Engine = Annotated[str, typer.Option(help="auto, openvino, onnxruntime or torch.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"topwork {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Take options that stand before a command."""


@app.command()
def fit(
    data: Data,
    out: Annotated[
        Path | None, typer.Option(help="Bundle to write; by default the data's name here.")
    ] = None,
    trunk: Annotated[
        str, typer.Option(help="Catalogue name, timm/NAME, hf/ORG/NAME, or a folder.")
    ] = "efficientnet-lite0",
    recipe: Annotated[str, typer.Option(help="How it is fitted.")] = "probe",
    budget: Annotated[str | None, typer.Option(help="Longest time for fitting, such as 90s or 2m.")] = None,
    seed: Seed = 0,
    input: Input = None,  # noqa: A002 - the option's name
    target: Target = None,
    group: Group = None,
    time: Time = None,
    layout: LayoutOption = "auto",
    no_training_data: Annotated[
        bool,
        typer.Option(
            "--no-training-data", help="Keep pictures of the training set out of bundle and report."
        ),
    ] = False,
    golden: Annotated[
        Path | None, typer.Option(help="Folder of inputs for the proof, in place of training data.")
    ] = None,
    engine: Engine = "auto",
    json: Json = False,
) -> None:
    """Fit a model on labelled data: writes a bundle and a report."""
    from topwork import verbs
    from topwork.cli.output import show_fit
    from topwork.verbs.places import default_bundle

    options = _options(input, target, group, time, layout, keep=not no_training_data, golden=golden)
    around = _around(engine)
    model = verbs.fit(
        data,
        out or default_bundle(data),
        trunk=trunk,
        recipe=recipe,
        budget=budget,
        seed=seed,
        options=options,
        around=around,
    )
    show_fit(model, as_json=json, seconds=_elapsed(around))


@app.command()
def evaluate(
    bundle: Bundle,
    data: Data,
    report: Annotated[Path | None, typer.Option(help="Where to write the report as HTML.")] = None,
    input: Input = None,  # noqa: A002 - the option's name
    target: Target = None,
    layout: LayoutOption = "auto",
    engine: Engine = "auto",
    json: Json = False,
) -> None:
    """Measure a bundle on labelled data that it has not seen."""
    from topwork import verbs
    from topwork.cli.output import show_evaluation

    options = _options(input, target, None, None, layout)
    record = verbs.evaluate(bundle, data, report=report, options=options, around=_around(engine))
    show_evaluation(record, bundle, report, as_json=json)


@app.command()
def predict(
    bundle: Bundle,
    inputs: Annotated[
        list[str], typer.Argument(help="Files, folders, or - for one input on standard input.")
    ],
    output: Annotated[str, typer.Option("--format", help="text, jsonl or csv.")] = "text",
    json: Annotated[bool, typer.Option("--json", help="The same as --format jsonl.")] = False,
    engine: Engine = "auto",
) -> None:
    """Predict for files and folders; what cannot be read costs one line, not the run."""
    from topwork import verbs
    from topwork.cli.output import show_predictions
    from topwork.cli.sources import inputs_of

    model = verbs.load(bundle, around=_around(engine))
    found = inputs_of(inputs, model.servable.modality)
    raise typer.Exit(show_predictions(model, found, "jsonl" if json else output))


@app.command()
def serve(
    bundle: Bundle,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 opens it to every network.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8000,
    engine: Engine = "auto",
) -> None:
    """Serve a bundle: an HTTP API, its documentation, and a page to try it on."""
    from topwork import verbs
    from topwork.cli.output import show_server

    verbs.serve(bundle, host, port=port, on_ready=show_server, around=_around(engine))


@app.command()
def plugins(json: Json = False) -> None:
    """List the tasks, trunks and recipes that are installed."""
    from topwork.cli.output import show_plugins

    show_plugins(as_json=json)


@data_app.command("check")
def data_check(
    data: Data,
    seed: Seed = 0,
    input: Input = None,  # noqa: A002 - the option's name
    target: Target = None,
    group: Group = None,
    time: Time = None,
    layout: LayoutOption = "auto",
    json: Json = False,
) -> None:
    """Show what a fit would see: layout, unreadable files, duplicates, leaks, classes, split."""
    from topwork import verbs
    from topwork.cli.output import show_check

    options = _options(input, target, group, time, layout)
    raise typer.Exit(
        show_check(verbs.check(data, seed=seed, options=options, around=_around("auto")), as_json=json)
    )


@trunks_app.command("list")
def trunks_list(json: Json = False) -> None:
    """List pretrained networks: size, source, licence, and speed here where it is known."""
    from topwork.cli.output import show_trunks

    show_trunks(_around("auto"), as_json=json)


@bundle_app.command("inspect")
def bundle_inspect(bundle: Bundle, json: Json = False) -> None:
    """Show what a bundle holds and whether it still proves itself."""
    from topwork import verbs
    from topwork.cli.output import show_bundle

    show_bundle(verbs.load(bundle), as_json=json)


@cache_app.command("info")
def cache_info(json: Json = False) -> None:
    """Show where the cache is and how full."""
    from topwork.cli.output import show_cache

    show_cache(_around("auto"), as_json=json)


@cache_app.command("clear")
def cache_clear() -> None:
    """Forget cached features; weights and exported networks stay."""
    from topwork.verbs.fitting import open_cache

    open_cache(_around("auto")).clear()
    typer.echo("The feature cache is empty.")


def _options(
    input_column: str | None,
    target: list[str] | None,
    group: str | None,
    time: str | None,
    layout: str,
    *,
    keep: bool = True,
    golden: Path | None = None,
) -> FitOptions:
    from topwork.cli.sources import layout_named
    from topwork.verbs import FitOptions

    return FitOptions(
        input=input_column,
        target=tuple(target or ()),
        group=group,
        time=time,
        layout=layout_named(layout),
        keep_training_data=keep,
        golden=golden,
    )


def _around(engine: str) -> Surroundings:
    import sys

    from topwork.cli.sources import engine_named, process_age_s
    from topwork.engines.memory import keep_memory
    from topwork.verbs import Surroundings
    from topwork.verbs.recording import command_line

    keep_memory()
    around = Surroundings(command=command_line(["topwork", *sys.argv[1:]]), engine=engine_named(engine))
    return Surroundings(
        command=around.command, engine=around.engine, began_s=around.clock() - process_age_s()
    )


def _elapsed(around: Surroundings) -> float:
    return around.clock() - (around.began_s or 0.0)
