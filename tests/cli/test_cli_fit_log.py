"""`topwork fit --log`: the run is written beside the bundle, and said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from commands import Told
from quick import PROBE_WORDS
from topwork import load

Command = Callable[..., Told]


def test_a_fit_is_logged_beside_its_bundle(
    topwork: Command, photos: Path, tiny_trunk: Path, tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "there" / "photos.topwork"
    out.parent.mkdir()
    words = ("fit", photos, "--trunk", tiny_trunk, "--out", out, *PROBE_WORDS)
    told = topwork(*words, "--log", "tensorboard", "--json")
    [run] = (out.parent / "runs" / "photos").iterdir()
    assert (told.status, told.json["bundle"]) == (0, str(out))
    assert f"Logged to {run}" in told.err
    events = EventAccumulator(str(run))
    events.Reload()
    [accuracy] = {event.value for event in events.Scalars("test/label/accuracy")}
    assert accuracy == pytest.approx(load(out).record.targets["label"].test["accuracy"].value)


def test_without_the_option_nothing_is_logged(topwork: Command, photos: Path, tiny_trunk: Path) -> None:
    assert topwork("fit", photos, "--trunk", tiny_trunk, *PROBE_WORDS, "--quiet").status == 0
    assert not Path("runs").exists()


def test_an_unknown_word_is_refused_before_the_fit(topwork: Command, photos: Path, tmp_path: Path) -> None:
    told = topwork("fit", photos, "--log", "paper")
    assert told.status == 2
    assert "'paper' is not one of 'tensorboard', 'mlflow'" in told.err
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_told_before_the_fit(topwork: Command, photos: Path, tmp_path: Path) -> None:
    from importlib.util import find_spec

    if find_spec("mlflow") is not None:
        pytest.skip("mlflow is installed here")
    told = topwork("fit", photos, "--log", "mlflow")
    assert (told.status, told.out) == (1, "")
    assert told.err == (
        "Error: --log mlflow needs the package mlflow-skinny, which is not installed.\n"
        "Install topwork with its extra tracking.\n"
    )
    assert not list(tmp_path.iterdir())
