"""The commands and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from topwork import __version__
from topwork.cli.batch import batch
from topwork.cli.checking import data_check
from topwork.cli.flags import Given, with_flags
from topwork.cli.generate import generate
from topwork.cli.keys import keys_app
from topwork.cli.machines import bundle_export, bundle_optimize
from topwork.cli.options import (
    STYLE,
    BudgetOption,
    Bundle,
    BundleEngine,
    Bundles,
    Data,
    Device,
    Engine,
    Event,
    FormatWord,
    Group,
    Input,
    Json,
    LayoutOption,
    LogWord,
    Only,
    ProofWord,
    Quiet,
    ReportWord,
    Seed,
    Settings,
    Target,
    Task,
    Time,
    Trunk,
    path_of,
)
from topwork.cli.play import play
from topwork.cli.sources import around_of, elapsed_s, options_of

__all__ = ["app"]

app = typer.Typer(
    name="topwork",
    help="Data in, a proven model out, a production API behind it.",
    epilog="Begin with:  topwork fit FOLDER   (one sub-folder of photos per label)",
    **STYLE,
)
data_app = typer.Typer(help="Look at data before a fit.", **STYLE)
trunks_app = typer.Typer(help="Pretrained networks.", **STYLE)
bundle_app = typer.Typer(help="Look into bundles.", **STYLE)
cache_app = typer.Typer(help="The cache of weights and features.", **STYLE)
for name, noun in (("data", data_app), ("trunks", trunks_app), ("bundle", bundle_app), ("cache", cache_app)):
    app.add_typer(noun, name=name)
app.add_typer(keys_app, name="keys")


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


@app.command(epilog="Example:  topwork fit photos/   writes photos.topwork and a report")
def fit(
    context: typer.Context,
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", parser=path_of, help="Bundle to write; by default the data's name here."
        ),
    ] = None,
    trunk: Trunk = None,
    recipe: Annotated[str, typer.Option(metavar="NAME", help="How it is fitted.")] = "ladder",
    set: Settings = None,  # noqa: A002 - the option's name
    hidden: Annotated[
        str | None,
        typer.Option(metavar="WIDTHS", help="Hidden layers of the recipe head: 1024, or 512,256, or none."),
    ] = None,
    task: Task = None,
    budget: BudgetOption = "5m",
    steps: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Steps of training, in place of a length that time decides."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the same fit, which was killed.")
    ] = False,
    seed: Seed = 0,
    input: Input = None,  # noqa: A002 - the option's name
    target: Target = None,
    event: Event = None,
    group: Group = None,
    time: Time = None,
    layout: LayoutOption = "auto",
    no_training_data: Annotated[
        bool,
        typer.Option(
            "--no-training-data", help="Keep pictures of the training set out of bundle and report."
        ),
    ] = False,
    no_examples: Annotated[
        bool,
        typer.Option(
            "--no-examples",
            help="Keep no training inputs in the bundle to calibrate on, for `bundle optimize`.",
        ),
    ] = False,
    golden: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", parser=path_of, help="Inputs for golden examples, in place of training data."
        ),
    ] = None,
    proof: Annotated[
        ProofWord,
        typer.Option(help="How much is found out: none, quick, standard (also from scratch), full."),
    ] = "standard",
    log: Annotated[
        LogWord | None, typer.Option(help="Also write the finished fit where runs are kept.")
    ] = None,
    slice: Annotated[  # noqa: A002 - the option's name
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Column to tell the score apart by; may be given several times."),
    ] = None,
    onward: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="BUNDLE", parser=path_of, help="Go on from a bundle, in place of a trunk."
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", parser=path_of, help="Corrected labels: the edited .labels.csv of a fit."
        ),
    ] = None,
    adapter_only: Annotated[
        bool,
        typer.Option(
            "--adapter-only", help="Leave the trunk's own weights out of the bundle; it names them."
        ),
    ] = False,
    error_cost: Annotated[
        float | None,
        typer.Option(metavar="COST", min=0, help="What a wrong answer costs, in times of asking a person."),
    ] = None,
    engine: Engine = "auto",
    device: Device = "auto",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Fit a model on labelled data, or on texts to write like."""
    from dataclasses import replace

    from topwork.cli.interruption import stop_asked
    from topwork.cli.output import show_fit
    from topwork.cli.sources import fitted, settings_of, tasks_of
    from topwork.steps.places import default_bundle
    from topwork.verbs.tracking import require_tracker, track

    options = options_of(input, target, group, time, layout, keep=not no_training_data, golden=golden)
    options = replace(options, task=tasks_of(task), steps=steps, resume=resume, proof=proof, event=event)
    options = replace(options, slices=tuple(slice or ()), labels=labels, error_cost=error_cost, onward=onward)
    options = replace(options, adapter_only=adapter_only, keep_examples=not no_examples)
    options = replace(
        options,
        recipe_settings=settings_of([*(set or ()), *([] if hidden is None else [f"hidden={hidden}"])]),
    )
    around = replace(around_of(context, engine, quiet=quiet), device=device, should_stop=stop_asked)
    if log is not None:
        require_tracker(log)
    model = fitted(
        data,
        out or default_bundle(data),
        trunk=trunk,
        recipe=recipe,
        budget=budget,
        seed=seed,
        options=options,
        around=around,
    )
    show_fit(model, data, as_json=json, quiet=quiet, seconds=elapsed_s(around))
    if log is not None:
        around.progress.say(f"Logged to {track(model.record, model.path.parent, log)}")


@app.command(epilog="Example:  topwork estimate photos/ --budget 10m")
def estimate(
    context: typer.Context,
    data: Data,
    trunk: Trunk = None,
    budget: BudgetOption = "5m",
    seed: Seed = 0,
    input: Input = None,  # noqa: A002 - the option's name
    target: Target = None,
    event: Event = None,
    layout: LayoutOption = "auto",
    task: Task = None,
    device: Device = "auto",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Tell what a fit would take, in time and memory."""
    from dataclasses import replace

    from topwork import verbs
    from topwork.cli.output import show_estimate
    from topwork.cli.sources import tasks_of, writes

    options = replace(options_of(input, target, None, None, layout, event=event), task=tasks_of(task))
    around = replace(around_of(context, "auto", quiet=quiet), device=device)
    estimated = verbs.estimate_writer if writes(data, options) else verbs.estimate
    found = estimated(data, trunk=trunk, budget=budget, seed=seed, options=options, around=around)
    show_estimate(found, data, options, as_json=json)


@app.command(
    "lr-find", epilog="Example:  topwork lr-find photos/   then  fit photos/ --recipe full --set rate=..."
)
def lr_find(
    context: typer.Context,
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", parser=path_of, help="Page with the curve; by default the data's name here."
        ),
    ] = None,
    trunk: Trunk = None,
    task: Task = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", min=9, help="Steps of the sweep.", show_default="100")
    ] = None,
    seed: Seed = 0,
    input: Input = None,  # noqa: A002 - the option's name
    target: Target = None,
    event: Event = None,
    group: Group = None,
    time: Time = None,
    layout: LayoutOption = "auto",
    device: Device = "auto",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Suggest learning rates from a sweep over all layers."""
    from dataclasses import replace

    from topwork import verbs
    from topwork.cli.interruption import stop_asked
    from topwork.cli.output import show_rates
    from topwork.cli.sources import tasks_of
    from topwork.steps.places import default_plot

    options = replace(options_of(input, target, group, time, layout, event=event), task=tasks_of(task))
    options = replace(options, steps=steps)
    around = replace(around_of(context, quiet=quiet), device=device, should_stop=stop_asked)
    found = verbs.find_rate(
        data, out or default_plot(data), trunk=trunk, seed=seed, options=options, around=around
    )
    show_rates(found, data, options, as_json=json)


@app.command(epilog="Example:  topwork evaluate photos.topwork others/")
def evaluate(
    context: typer.Context,
    bundle: Bundle,
    data: Data,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", parser=path_of, help="Where to write the report: .html, .md or .json."),
    ] = None,
    input: Input = None,  # noqa: A002 - the option's name
    target: Target = None,
    event: Event = None,
    only: Only = None,
    layout: LayoutOption = "auto",
    engine: BundleEngine = "auto",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Measure a bundle on labelled data it has not seen."""
    from topwork import verbs
    from topwork.cli.output import show_evaluation

    options = options_of(input, target, None, None, layout, event=event)
    around = around_of(context, engine, quiet=quiet)
    record = verbs.evaluate(bundle, data, report=report, only=only or (), options=options, around=around)
    show_evaluation(record, bundle, report, as_json=json)


@app.command(epilog="Example:  topwork predict photos.topwork new.jpg others/")
def predict(
    context: typer.Context,
    bundle: Bundle,
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUTS", help="Files, folders, or - for one input on standard input."),
    ],
    output: Annotated[FormatWord, typer.Option("--format", help="How answers are written.")] = "text",
    json: Annotated[bool, typer.Option("--json", help="The same as --format jsonl.")] = False,
    only: Only = None,
    engine: BundleEngine = "auto",
) -> None:
    """Predict for files and folders."""
    from topwork import verbs
    from topwork.cli.output import show_predictions
    from topwork.cli.sources import inputs_of

    model = verbs.load(bundle, only=only or (), around=around_of(context, engine))
    found = inputs_of(inputs, model.servable.modality)
    raise typer.Exit(show_predictions(model, found, "jsonl" if json else output))


app.command(epilog='Example:  topwork generate smollm2-135m "Once upon a time"')(generate)
app.command(epilog="Example:  topwork play --start fantasy")(play)
app.command(epilog="Example:  topwork batch photos.topwork new/ --out answers.csv")(batch)


@app.command(epilog="Example:  topwork serve photos.topwork --port 8080")
@with_flags
def serve(
    context: typer.Context,
    bundles: Bundles = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", metavar="FILE", parser=path_of, help="Settings in YAML; flags beat them."
        ),
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of a settings file, and end.")
    ] = False,
    given: Given = None,
) -> None:
    """Serve bundles: an HTTP API and a page to try it."""
    from topwork.cli.output import put_schema, show_changes, show_server
    from topwork.verbs.serving import operate, reader

    if schema:
        put_schema()
        return
    if (
        not bundles
        and config is None
        and not any((given or {}).get(name) for name in ("trunk", "models_dir"))
    ):
        raise typer.BadParameter(
            "it is missing; give one, or --config, --trunk or --models-dir.",
            ctx=context,
            param_hint="'BUNDLE'",
        )
    operate(
        reader(config, bundles or (), given or {}),
        on_ready=show_server,
        on_change=show_changes,
        on_hangup=config is not None,
        around=around_of(context),
    )


@app.command(epilog="Example:  topwork top http://127.0.0.1:8000")
def top(
    url: Annotated[str, typer.Argument(metavar="URL", help="Of a server, as serve says it.")],
    every: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="Between two looks.")] = 2.0,
    once: Annotated[
        bool, typer.Option("--once", help="Look once and end, in place of until Ctrl-C.")
    ] = False,
    key: Annotated[
        str | None,
        typer.Option(metavar="KEY", envvar="TOPWORK_KEY", help="API key, where the server asks for one."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="A line of JSON for each look.")] = False,
) -> None:
    """Show what a server does: load, latency, queues, drift."""
    from topwork.cli import watching

    (watching.once if once else watching.follow)(url, key, every, as_json=json)


@app.command()
def plugins(json: Json = False) -> None:
    """List the installed tasks, trunks and recipes."""
    from topwork.cli.listings import show_plugins

    show_plugins(as_json=json)


data_app.command("check", epilog="Status 1 says that a fit would refuse the data.")(data_check)


@trunks_app.command("list")
def trunks_list(context: typer.Context, json: Json = False) -> None:
    """List them: size, source, licence, speed here."""
    from topwork.cli.listings import show_trunks

    show_trunks(around_of(context), as_json=json)


@bundle_app.command("inspect")
def bundle_inspect(context: typer.Context, bundle: Bundle, json: Json = False) -> None:
    """Show what a bundle holds, and prove it again."""
    from topwork import verbs
    from topwork.cli.listings import show_bundle

    show_bundle(verbs.load(bundle, around=around_of(context)), as_json=json)


@bundle_app.command("report", epilog="Example:  topwork bundle report photos.topwork --format md > report.md")
def bundle_report(
    bundle: Bundle,
    form: Annotated[ReportWord, typer.Option("--format", help="A page, Markdown, or JSON.")] = "md",
) -> None:
    """Print the report of a bundle's fit."""
    from topwork.bundle import open_bundle
    from topwork.report.forms import FORMS

    typer.echo(FORMS[form](open_bundle(bundle).record()), nl=False)


@bundle_app.command("keep", epilog="Example:  topwork bundle keep photos.topwork small.topwork --only label")
def bundle_keep(
    context: typer.Context,
    bundle: Bundle,
    out: Annotated[Path, typer.Argument(metavar="OUT", parser=path_of, help="Bundle to write.")],
    only: Annotated[
        list[str], typer.Option(metavar="TARGET", help="Target to keep; may be given several times.")
    ],
    json: Json = False,
) -> None:
    """Write a smaller bundle: some targets of another, nothing fitted."""
    from topwork import verbs
    from topwork.cli.listings import show_bundle

    show_bundle(verbs.keep(bundle, out, only, around=around_of(context)), as_json=json)


@bundle_app.command("compare", epilog="Example:  topwork bundle compare old.topwork new.topwork photos/")
def bundle_compare(
    context: typer.Context,
    a: Annotated[Path, typer.Argument(metavar="A", parser=path_of, help="A .topwork file.")],
    b: Annotated[Path, typer.Argument(metavar="B", parser=path_of, help="Another one.")],
    data: Data,
    input: Input = None,  # noqa: A002 - the option's name
    target: Target = None,
    event: Event = None,
    layout: LayoutOption = "auto",
    engine: BundleEngine = "auto",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Set two bundles side by side on labelled data that neither was fitted on."""
    from topwork import verbs
    from topwork.cli.listings import show_comparison

    options = options_of(input, target, None, None, layout, event=event)
    found = verbs.compare(a, b, data, options=options, around=around_of(context, engine, quiet=quiet))
    show_comparison(found, as_json=json)


bundle_app.command(
    "optimize", epilog="Example:  topwork bundle optimize a.topwork fast.topwork --data photos/"
)(bundle_optimize)
bundle_app.command("export", epilog="Example:  topwork bundle export photos.topwork photos.onnx")(
    bundle_export
)


@cache_app.command("info")
def cache_info(context: typer.Context, json: Json = False) -> None:
    """Show where the cache is and how full."""
    from topwork.cli.listings import show_cache

    show_cache(around_of(context), as_json=json)


@cache_app.command("clear")
def cache_clear(context: typer.Context) -> None:
    """Forget cached features; weights and networks stay."""
    from topwork.steps.transfer import open_cache

    open_cache(around_of(context)).clear()
    typer.echo("The feature cache is empty.")
