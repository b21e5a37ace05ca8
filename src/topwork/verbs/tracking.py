"""`track`: a finished fit into the tool in which a person keeps runs, TensorBoard or MLflow.

It writes what the record holds: settings, rungs, validation over time, and the test metrics with their bounds. It knows
nothing of how these came about, and nothing is logged while a fit is under way.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import Any, Literal, TypeAlias

from topwork.contracts import Chart, Estimate, FitRecord
from topwork.errors import MissingExtraError, StorageError
from topwork.steps.recording import VALIDATION_OVER_TIME
from topwork.storage import explain

__all__ = ["TrackerName", "require_tracker", "track"]

TrackerName = Literal["tensorboard", "mlflow"]
Load: TypeAlias = Callable[[str], Any]
"""Imports a module by its name."""

_PACKAGES = {"tensorboard": "tensorboard", "mlflow": "mlflow-skinny"}
_EXPERIMENT = "topwork"
_BATCH = 1000
"""Metrics that MLflow takes at once."""
_NOT_IN_NAMES = re.compile(r"[^\w\-. :/]", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Scalar:
    """One number of a run: its step, and the seconds since the fit began that it belongs to."""

    name: str
    value: float
    step: int = 0
    seconds: float = 0.0


def require_tracker(kind: TrackerName, find: Callable[[str], object | None] = find_spec) -> None:
    """Find out before any work is done that the package is missing.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    if find(kind) is None:
        raise _missing(kind)


def track(record: FitRecord, where: Path, kind: TrackerName, *, load: Load = import_module) -> str:
    """Write a record as one run, and return where it is.

    Parameters
    ----------
    where
        Folder of the bundle. TensorBoard gets ``runs/NAME/MOMENT`` in it; MLflow gets ``mlruns`` in it unless
        ``MLFLOW_TRACKING_URI`` names another place.
    load
        Imports the packages.

    Raises
    ------
    MissingExtraError
        The package is not installed.
    StorageError
        Nothing can be written there.
    """
    return _TRACKERS[kind](record, where, load)


# --- what is told ---------------------------------------------------------------------------------------


def _parameters(record: FitRecord) -> dict[str, str]:
    """Return every choice that changes the result, and what the data were."""
    chosen = [rung.name for rung in record.rungs if rung.chosen]
    return {
        "trunk": record.trunk.name,
        "recipe": record.recipe,
        "data": record.data.name,
        "train inputs": str(record.split.n_train),
        "validation inputs": str(record.split.n_valid),
        "test inputs": str(record.split.n_test),
        "rungs": ", ".join(rung.name for rung in record.rungs),
        "chosen rung": ", ".join(chosen),
        "command": record.command,
        "topwork": record.topwork,
        **record.settings,
    }


def _scalars(record: FitRecord) -> Iterator[_Scalar]:
    """Yield every number that is finite."""
    told = (*_of_rungs(record), *_of_history(record), *_of_test(record))
    yield from (one for one in told if isfinite(one.value))


def _of_rungs(record: FitRecord) -> Iterator[_Scalar]:
    for step, rung in enumerate(record.rungs):
        yield _Scalar("rungs/validation", rung.validation, step)
        yield _Scalar("rungs/seconds", rung.seconds, step)
        if rung.log_loss is not None:
            yield from _bounded("rungs/log_loss", rung.log_loss, step)
        if rung.gain is not None:
            yield from _bounded("rungs/gain", rung.gain, step)
        if rung.trained_share is not None:
            yield _Scalar("rungs/trained_share", rung.trained_share, step)


def _of_history(record: FitRecord) -> Iterator[_Scalar]:
    charts = [one for one in record.sections if isinstance(one, Chart) and one.title == VALIDATION_OVER_TIME]
    for series in (series for chart in charts for series in chart.series):
        for step, point in enumerate(series.points):
            yield _Scalar(f"validation/{series.name}", point.y, step, point.x)


def _of_test(record: FitRecord) -> Iterator[_Scalar]:
    for target, result in record.targets.items():
        for part, metrics in (("test", result.test), ("held_out", result.validation)):
            for metric, found in metrics.items():
                yield from _bounded(f"{part}/{target}/{metric}", found, seconds=record.seconds)


def _bounded(name: str, found: Estimate, step: int = 0, seconds: float = 0.0) -> Iterator[_Scalar]:
    yield _Scalar(name, found.value, step, seconds)
    yield _Scalar(f"{name}_low", found.low, step, seconds)
    yield _Scalar(f"{name}_high", found.high, step, seconds)


def _began(record: FitRecord) -> float:
    """Return when the fit began, in seconds since 1970."""
    return datetime.fromisoformat(record.created).timestamp()


# --- TensorBoard ----------------------------------------------------------------------------------------


def _to_tensorboard(record: FitRecord, where: Path, load: Load) -> str:
    folder = where / "runs" / record.name / record.created.replace(":", "-")
    with _extra("tensorboard"):
        open_writer = load("torch.utils.tensorboard").SummaryWriter
    try:
        with open_writer(str(folder)) as writer:
            _fill(writer, record)
    except OSError as error:
        raise explain(error, folder) from error
    return str(folder)


def _fill(writer: Any, record: FitRecord) -> None:
    began_s, parameters = _began(record), _parameters(record)
    for one in _scalars(record):
        writer.add_scalar(one.name, one.value, one.step, walltime=began_s + one.seconds)
    rows = (f"| {_cell(name)} | {_cell(value)} |" for name, value in parameters.items())
    writer.add_text("settings", "\n".join(("| setting | value |", "|---|---|", *rows)), 0, walltime=began_s)
    scores = {
        f"test/{name}/{metric}": found.value
        for name, result in record.targets.items()
        for metric, found in result.test.items()
        if isfinite(found.value)
    }
    # In the run's own folder; by default it would become a run beside it.
    writer.add_hparams(parameters, scores, run_name=".")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


# --- MLflow ---------------------------------------------------------------------------------------------


def _to_mlflow(record: FitRecord, where: Path, load: Load) -> str:
    with _extra("mlflow"):
        mlflow = load("mlflow")
    chosen = os.environ.get("MLFLOW_TRACKING_URI")
    place = chosen or (where / "mlruns").resolve().as_uri()
    try:
        with _file_store_allowed():
            return _log(mlflow, mlflow.MlflowClient(tracking_uri=place), record)
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise StorageError(
            f"The fit could not be logged to {place}: {' '.join(str(error).split()):.300}. Its bundle is written.",
            next_step="Check MLFLOW_TRACKING_URI and that the place can be written.",
        ) from error


def _log(mlflow: Any, client: Any, record: FitRecord) -> str:
    """Write one run into the experiment of topwork, or the one that the environment names, and say where it is."""
    began_ms = round(1000 * _began(record))
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or _EXPERIMENT
    known = client.get_experiment_by_name(name)
    experiment = client.create_experiment(name) if known is None else known.experiment_id
    run = client.create_run(experiment, start_time=began_ms, run_name=record.name).info.run_id
    Metric, Param = mlflow.entities.Metric, mlflow.entities.Param
    client.log_batch(run, params=[Param(_allowed(key), value) for key, value in _parameters(record).items()])
    metrics = [
        Metric(_allowed(one.name), one.value, began_ms + round(1000 * one.seconds), one.step)
        for one in _scalars(record)
    ]
    for start in range(0, len(metrics), _BATCH):
        client.log_batch(run, metrics=metrics[start : start + _BATCH])
    client.set_terminated(run, end_time=began_ms + round(1000 * record.seconds))
    return f"{client.tracking_uri}, run {run}"


def _allowed(name: str) -> str:
    """Return a name in the characters that MLflow allows, others by their numbers, so that names stay apart."""
    return _NOT_IN_NAMES.sub(lambda found: f"_{ord(found[0]):x}", name)


@contextmanager
def _file_store_allowed() -> Iterator[None]:
    """Let MLflow write into a folder, the only store that it has without a database or a server.

    Since version 3 it refuses unless this variable is set.
    """
    name = "MLFLOW_ALLOW_FILE_STORE"
    if name in os.environ:
        yield
        return
    os.environ[name] = "true"
    try:
        yield
    finally:
        del os.environ[name]


@contextmanager
def _extra(kind: TrackerName) -> Iterator[None]:
    """Turn a failing import into advice."""
    try:
        yield
    except ImportError as error:
        raise _missing(kind) from error


def _missing(kind: TrackerName) -> MissingExtraError:
    return MissingExtraError(
        f"--log {kind} needs the package {_PACKAGES[kind]}, which is not installed.",
        next_step="Install topwork with its extra tracking.",
    )


_TRACKERS: dict[TrackerName, Callable[[FitRecord, Path, Load], str]] = {
    "tensorboard": _to_tensorboard,
    "mlflow": _to_mlflow,
}
