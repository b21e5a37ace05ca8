"""The options that several commands share: their words, what they take and their lines of help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

__all__ = [
    "STYLE",
    "BudgetOption",
    "Bundle",
    "BundleEngine",
    "BundleEngineWord",
    "Bundles",
    "Data",
    "Device",
    "DeviceWord",
    "Engine",
    "EngineWord",
    "Event",
    "FormatWord",
    "Group",
    "Input",
    "Json",
    "LayoutOption",
    "LayoutWord",
    "LogWord",
    "Only",
    "ProofWord",
    "Quiet",
    "ReportWord",
    "Seed",
    "Settings",
    "Target",
    "Task",
    "Time",
    "Trunk",
    "path_of",
]

STYLE: dict[str, Any] = {
    "no_args_is_help": True,
    "add_completion": False,
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
}
"""How every command speaks: plain help, and no traceback but our own."""


def path_of(word: str) -> Path:
    """Refuse the empty word that an unset variable of a shell leaves; as a path it would be this folder."""
    if not word:
        raise typer.BadParameter("it is empty; expected a path.")
    return Path(word)


LayoutWord = Literal["auto", "folders", "split-folders", "table"]
EngineWord = Literal["auto", "openvino", "onnxruntime", "torch"]
BundleEngineWord = Literal["auto", "openvino", "onnxruntime"]
DeviceWord = Literal["auto", "cpu", "cuda"]
ProofWord = Literal["none", "quick", "standard", "full"]
LogWord = Literal["tensorboard", "mlflow"]
FormatWord = Literal["text", "jsonl", "csv"]
ReportWord = Literal["html", "md", "json"]

Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        parser=path_of,
        help="Class folders, split folders, a table (CSV, TSV, Parquet, JSONL), a zip of these, or a query (.sql).",
    ),
]
Bundle = Annotated[
    Path, typer.Argument(metavar="BUNDLE", parser=path_of, help="A .topwork file, as a fit writes it.")
]
Bundles = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="BUNDLE",
        parser=path_of,
        help="The .topwork files, in place of a settings file's models.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="End standard output with one JSON object.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show results alone, no progress.")]
Task = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="What the targets are: classification, multilabel, ordinal, regression, survival; of one TARGET=NAME.",
        show_default="classification",
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option(metavar="TARGET", help="Answer for this target alone; may be given several times."),
]
Seed = Annotated[
    int, typer.Option(metavar="N", min=0, help="Of splits and all else that is drawn at random.")
]
Input = Annotated[str | None, typer.Option(metavar="COLUMN", help="Column of a table that names the files.")]
Target = Annotated[
    list[str] | None, typer.Option(metavar="COLUMN", help="Column to predict; may be given several times.")
]
Event = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="Column that says whether the event happened, of times to survive."),
]
Group = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="Column whose rows stay on one side, such as a patient."),
]
Time = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Column to split by time; the last rows are the test.")
]
LayoutOption = Annotated[LayoutWord, typer.Option("--layout", help="What the data are.")]
Trunk = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Catalogue name, timm/NAME, hf/ORG/NAME, a folder; auto or auto:NAME,NAME tries several.",
        show_default="efficientnet-lite0 for photos, all-minilm-l6-v2 for texts, identity for numbers",
    ),
]
BudgetOption = Annotated[
    str,
    typer.Option(
        "--budget", metavar="TIME", help="Longest time for fitting, such as 90s or 1h; none for no limit."
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="A setting of the recipe; may be given several times."),
]
Engine = Annotated[EngineWord, typer.Option(help="What runs the network.")]
Device = Annotated[DeviceWord, typer.Option(help="Where to compute; cuda trains on the GPU too.")]
BundleEngine = Annotated[BundleEngineWord, typer.Option("--engine", help="What runs the network.")]
