"""`track`: what TensorBoard and MLflow read back is what the record holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from records import chess_record
from topwork import MissingExtraError, StorageError
from topwork.contracts import Chart, Estimate, FitRecord
from topwork.verbs.tracking import require_tracker, track

BEGAN_S = datetime.fromisoformat("2026-11-21T01:20:13+00:00").timestamp()


def the_chart(record: FitRecord) -> Chart:
    [chart] = record.sections
    assert isinstance(chart, Chart)
    return chart


# --- TensorBoard ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    where = tmp_path_factory.mktemp("logged")
    told = track(chess_record(), where, "tensorboard")
    assert told == str(where / "runs" / "chess" / "2026-11-21T01-20-13+00-00")
    assert [p.name for p in where.iterdir()] == ["runs"]
    assert all(p.is_file() for p in Path(told).iterdir()), "everything is one run"
    found = EventAccumulator(told)
    found.Reload()
    return found


def test_tensorboard_gets_the_test_metrics_with_their_bounds(events: Any) -> None:
    metrics = chess_record().targets["label"].test
    assert len(metrics) >= 3
    for name, one in metrics.items():
        for tag, value in (("", one.value), ("_low", one.low), ("_high", one.high)):
            [found] = {event.value for event in events.Scalars(f"test/label/{name}{tag}")}
            assert found == pytest.approx(value, rel=1e-6)
    assert events.Scalars("held_out/label/accuracy")[0].value == pytest.approx(0.7432)


def test_tensorboard_gets_the_rungs_and_validation_over_time(events: Any) -> None:
    rungs = chess_record().rungs
    found = events.Scalars("rungs/log_loss")
    assert [(e.step, e.value) for e in found] == [
        (i, pytest.approx(r.log_loss.value)) for i, r in enumerate(rungs) if r.log_loss
    ]
    assert [e.step for e in events.Scalars("rungs/gain_low")] == [1, 2]
    for series in the_chart(chess_record()).series:
        points = events.Scalars(f"validation/{series.name}")
        assert [p.value for p in points] == [pytest.approx(p.y) for p in series.points]
        assert [p.step for p in points] == list(range(len(series.points)))
        assert [p.wall_time - BEGAN_S for p in points] == [
            pytest.approx(p.x, abs=1e-3) for p in series.points
        ]


def test_tensorboard_gets_the_settings(events: Any) -> None:
    from tensorboard.plugins.hparams import plugin_data_pb2

    [text] = events.Tensors("settings/text_summary")
    table = text.tensor_proto.string_val[0].decode()
    assert "| engine | openvino 2026.4.1 |" in table
    assert "| chosen rung | upper stages |" in table
    started = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    parameters = plugin_data_pb2.HParamsPluginData.FromString(started).session_start_info.hparams
    assert parameters["precision"].string_value == "bf16"
    assert parameters["trunk"].string_value == chess_record().trunk.name


def test_two_fits_of_one_name_are_two_runs(tmp_path: Path) -> None:
    first = track(chess_record(), tmp_path, "tensorboard")
    later = replace(chess_record(), created="2026-11-21T01:25:00+00:00")
    assert first != track(later, tmp_path, "tensorboard")
    assert len(list((tmp_path / "runs" / "chess").iterdir())) == 2


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("in the way", encoding="utf-8")
    with pytest.raises(StorageError, match="Cannot write"):
        track(chess_record(), tmp_path, "tensorboard")


# --- MLflow, by a double that records what its client is told ---------------------------------------------


class FakeMlflowError(Exception):
    pass


@dataclass
class FakeClient:
    """The part of `mlflow.MlflowClient` that is used, with the limits that MLflow has."""

    tracking_uri: str
    refuses: bool = False
    experiments: dict[str, str] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    allowed: str | None = None

    def get_experiment_by_name(self, name: str) -> Any:
        return SimpleNamespace(experiment_id=self.experiments[name]) if name in self.experiments else None

    def create_experiment(self, name: str) -> str:
        assert name not in self.experiments
        self.experiments[name] = f"e{len(self.experiments)}"
        return self.experiments[name]

    def create_run(self, experiment: str, start_time: int, run_name: str) -> Any:
        self.allowed = os.environ.get("MLFLOW_ALLOW_FILE_STORE")
        name = f"r{len(self.runs)}"
        self.runs[name] = {"experiment": experiment, "name": run_name, "start": start_time, "end": None}
        self.runs[name] |= {"params": {}, "metrics": {}}
        return SimpleNamespace(info=SimpleNamespace(run_id=name))

    def log_batch(self, run: str, metrics: tuple[Any, ...] = (), params: tuple[Any, ...] = ()) -> None:
        if self.refuses:
            raise FakeMlflowError("no\nroom")
        assert len(metrics) <= 1000
        assert len(params) <= 100
        for one in metrics:
            assert set(one.key) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-. :/")
            self.runs[run]["metrics"].setdefault(one.key, []).append((one.step, one.timestamp, one.value))
        names = list(self.runs[run]["metrics"])
        folders = {"/".join(name.split("/")[:i]) for name in names for i in range(1, name.count("/") + 1)}
        assert not folders & set(names), (
            "a name is a file in the file store, so it cannot be a folder as well"
        )
        for one in params:
            assert one.key not in self.runs[run]["params"]
            self.runs[run]["params"][one.key] = one.value

    def set_terminated(self, run: str, end_time: int) -> None:
        self.runs[run]["end"] = end_time


@dataclass
class FakeMlflow:
    """The module; keeps one client for each place."""

    refuses: bool = False
    clients: dict[str, FakeClient] = field(default_factory=dict)
    entities: Any = field(
        default_factory=lambda: SimpleNamespace(
            Metric=lambda key, value, timestamp, step: SimpleNamespace(
                key=key, value=value, timestamp=timestamp, step=step
            ),
            Param=lambda key, value: SimpleNamespace(key=key, value=value),
        )
    )
    exceptions: Any = field(default_factory=lambda: SimpleNamespace(MlflowException=FakeMlflowError))

    def MlflowClient(self, tracking_uri: str) -> FakeClient:  # noqa: N802 - its name there
        return self.clients.setdefault(tracking_uri, FakeClient(tracking_uri, self.refuses))

    def load(self, name: str) -> Any:
        assert name == "mlflow"
        return self


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_ALLOW_FILE_STORE"):
        monkeypatch.delenv(name, raising=False)
    yield
    assert "MLFLOW_ALLOW_FILE_STORE" not in os.environ


def test_mlflow_gets_the_same_as_a_run(tmp_path: Path) -> None:
    mlflow, record = FakeMlflow(), chess_record()
    told = track(record, tmp_path, "mlflow", load=mlflow.load)
    [(place, client)] = mlflow.clients.items()
    assert place == (tmp_path / "mlruns").as_uri()
    assert told == f"{place}, run r0"
    run = client.runs["r0"]
    assert (list(client.experiments), run["experiment"], run["name"]) == (["topwork"], "e0", "chess")
    assert client.allowed == "true"
    assert run["start"] == round(1000 * BEGAN_S)
    assert run["end"] - run["start"] == 68_400
    assert run["params"]["engine"] == "openvino 2026.4.1"
    assert run["params"]["command"] == record.command
    accuracy = record.targets["label"].test["accuracy"]
    for tag, value in (("", accuracy.value), ("_low", accuracy.low), ("_high", accuracy.high)):
        assert [value] == [found for *_, found in run["metrics"][f"test/label/accuracy{tag}"]]
    [*_, last] = the_chart(record).series
    points = run["metrics"][f"validation/{last.name}"]
    assert [(step, at - run["start"], y) for step, at, y in points] == [
        (i, pytest.approx(1000 * p.x, abs=1), p.y) for i, p in enumerate(last.points)
    ]


def test_a_second_run_joins_the_experiment_and_settings_of_mlflow_are_heeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = FakeMlflow()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://runs.example")
    for _ in range(2):
        track(chess_record(), tmp_path, "mlflow", load=mlflow.load)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "pieces")
    track(chess_record(), tmp_path, "mlflow", load=mlflow.load)
    [(place, client)] = mlflow.clients.items()
    assert place == "http://runs.example"
    assert [run["experiment"] for run in client.runs.values()] == ["e0", "e0", "e1"]
    assert list(client.experiments) == ["topwork", "pieces"]


def test_odd_names_and_numbers_stay_within_what_mlflow_takes(tmp_path: Path) -> None:
    mlflow, record = FakeMlflow(), chess_record()
    result = replace(
        record.targets["label"],
        test={"accuracy": Estimate(0.5, float("nan"), 1.0), "loss": Estimate(1, 0, 9e9)},
    )
    many = {f"Größe {i}?": replace(result, validation={}) for i in range(200)} | {"数": result, "字": result}
    track(replace(record, targets=many), tmp_path, "mlflow", load=mlflow.load)
    [client] = mlflow.clients.values()
    metrics = client.runs["r0"]["metrics"]
    names = [name for name in metrics if name.startswith("test/") and name.endswith("/accuracy")]
    assert len(names) == 202
    assert all(len(found) == 1 for name, found in metrics.items() if name.startswith("test/"))
    assert not any(name.endswith("accuracy_low") and name.startswith("test/") for name in metrics)


def test_what_mlflow_refuses_is_told_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        StorageError, match=r"could not be logged to file://.*: no room\. Its bundle is written"
    ) as told:
        track(chess_record(), tmp_path, "mlflow", load=FakeMlflow(refuses=True).load)
    assert "MLFLOW_TRACKING_URI" in told.value.next_step


def test_the_real_mlflow_reads_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not among what is needed to develop")
    told = track(chess_record(), tmp_path, "mlflow")
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        client = mlflow.MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())
        data = client.get_run(told.rpartition(" ")[2]).data
        points = client.get_metric_history(told.rpartition(" ")[2], "validation/upper stages")
    assert data.params["chosen rung"] == "upper stages"
    assert data.metrics["test/label/accuracy"] == pytest.approx(90 / 111)
    assert len(points) == 11


# --- packages that are not there ------------------------------------------------------------------------


def not_there(name: str) -> Any:
    raise ImportError(name)


@pytest.mark.parametrize(("kind", "package"), [("tensorboard", "tensorboard"), ("mlflow", "mlflow-skinny")])
def test_a_missing_package_says_what_to_install(kind: Any, package: str, tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError, match=f"needs the package {package}") as told:
        require_tracker(kind, find=lambda _: None)
    assert told.value.next_step == "Install topwork with its extra tracking."
    with pytest.raises(MissingExtraError, match=f"needs the package {package}"):
        track(chess_record(), tmp_path, kind, load=not_there)
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_missed() -> None:
    require_tracker("tensorboard")
