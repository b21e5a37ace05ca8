"""Training that is killed or stopped: `--resume` comes to the very same weights, Ctrl-C to the best so far."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from commands import Desk, end
from sound import assert_sound
from tiny_material import stripes
from topwork.storage import TEMPORARY_SUFFIX

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's"),
    pytest.mark.timeout(1200),
]
N_KILLS = 10
N_CHECKPOINTS = 30
"""How many a whole fit writes: one every three steps."""
WORDS = ("--recipe", "ladder", "--steps", "90", "--proof", "none", "--out", "model")
UNFINISHED = "model.unfinished"


@pytest.fixture(scope="module")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos whose colours say nothing, so that the probe is not good enough to be the model."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("data") / "patterns"
    pictures, truth = stripes(180)
    for number, (picture, label) in enumerate(zip(pictures, truth, strict=True)):
        place = folder / ("across", "down", "neither")[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.kron(picture, np.ones((5, 5, 1), np.uint8))).save(place / f"{number:03}.png")
    return folder


def started(desk: Desk, patterns: Path, trunk: Path, *more: str) -> subprocess.Popen[bytes]:
    return desk.start("fit", str(patterns), "--trunk", str(trunk), *WORDS, *more)


def wait_for(there: Callable[[], bool], process: subprocess.Popen[bytes]) -> bool:
    """Wait until something is there; return whether it came before the process ended."""
    while not there():
        if process.poll() is not None:
            return False
        time.sleep(0.001)
    return True


def has_plan(folder: Path) -> bool:
    return (folder / UNFINISHED / "plan.json").exists()


def is_writing(folder: Path) -> bool:
    """Whether a checkpoint is half on the disk."""
    return any((folder / UNFINISHED).glob(f".state*{TEMPORARY_SUFFIX}"))


class Checkpoints:
    """Tells when the state on the disk has been replaced so many times."""

    def __init__(self, folder: Path, n: int) -> None:
        self._path, self._n, self._seen = folder / UNFINISHED / "state.safetensors", n, set[int]()

    def __call__(self) -> bool:
        with suppress(FileNotFoundError):
            self._seen.add(self._path.stat().st_mtime_ns)
        return len(self._seen) >= self._n


def outcome(folder: Path) -> tuple[bytes, list[tuple[object, ...]]]:
    """Return the model's weights, and what validation said of every rung to the last digit, chosen or not."""
    with zipfile.ZipFile(folder / "model.topwork") as bundle:
        weights = bundle.read("weights.safetensors")
    rungs = record(folder)["rungs"]
    assert isinstance(rungs, list)
    return weights, [(one["name"], one["n_steps"], one["log_loss"], one["validation"]) for one in rungs]


def record(folder: Path) -> dict[str, object]:
    with zipfile.ZipFile(folder / "model.topwork") as bundle:
        found: dict[str, object] = json.loads(bundle.read("record.json"))
        return found


@pytest.fixture(scope="module")
def whole(patterns: Path, tiny_trunk: Path, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """The undisturbed run."""
    folder = tmp_path_factory.mktemp("whole")
    desk = Desk(folder, folder / "cache")
    with started(desk, patterns, tiny_trunk) as process:
        told = end(process)
    assert told.status == 0, told.err
    assert not (folder / UNFINISHED).exists()
    return desk


def test_the_undisturbed_run_has_trained_the_network(whole: Desk) -> None:
    """Otherwise the tests below would compare what nothing has changed."""
    _, rungs = outcome(whole.folder)
    assert [(name, steps) for name, steps, *_ in rungs] == [("probe", None), ("top", 36), ("all", 54)]
    assert len({str(loss) for _, _, loss, _ in rungs}) == 3


def resumed(desk: Desk, patterns: Path, trunk: Path) -> None:
    with started(desk, patterns, trunk, "--resume") as process:
        told = end(process)
    assert told.status == 0, told.err
    assert not (desk.folder / UNFINISHED).exists()
    assert_sound(desk.folder)


def test_a_fit_killed_at_ten_moments_goes_on_to_the_same_weights(
    whole: Desk, patterns: Path, tiny_trunk: Path, tmp_path: Path
) -> None:
    """The features are those of one cache: an engine may round them otherwise when it computes them again."""
    rng, n_killed = random.Random(0), 0
    for number in range(3 * N_KILLS):
        desk = Desk(tmp_path / str(number), whole.cache)
        desk.folder.mkdir()
        with started(desk, patterns, tiny_trunk) as process:
            assert wait_for(partial(has_plan, desk.folder), process)
            wait_for(Checkpoints(desk.folder, rng.randrange(N_CHECKPOINTS)), process)
            time.sleep(rng.uniform(0, 0.05))
            process.kill()
            process.communicate()
        if not has_plan(desk.folder):  # it was through with its training, and that is no kill
            continue
        n_killed += 1
        resumed(desk, patterns, tiny_trunk)
        assert outcome(desk.folder) == outcome(whole.folder)
        if n_killed == N_KILLS:
            return
    raise AssertionError(f"of {3 * N_KILLS} kills only {n_killed} came in time")


@pytest.mark.parametrize("n_checkpoints", [0, 1, 20])
def test_a_kill_while_a_checkpoint_is_written_goes_on_to_the_same_weights(
    n_checkpoints: int, whole: Desk, patterns: Path, tiny_trunk: Path, tmp_path: Path
) -> None:
    for number in range(10):
        desk = Desk(tmp_path / str(number), whole.cache)
        desk.folder.mkdir()
        with started(desk, patterns, tiny_trunk) as process:
            assert wait_for(Checkpoints(desk.folder, n_checkpoints), process)
            assert wait_for(partial(is_writing, desk.folder), process)
            process.kill()
            process.communicate()
        if is_writing(desk.folder):
            resumed(desk, patterns, tiny_trunk)
            assert outcome(desk.folder) == outcome(whole.folder)
            return
        shutil.rmtree(desk.folder)
    raise AssertionError("no kill came in the middle of a write")


def test_resuming_another_fit_is_refused_and_the_unfinished_one_stays(
    whole: Desk, patterns: Path, tiny_trunk: Path, tmp_path: Path
) -> None:
    desk = Desk(tmp_path, whole.cache)
    with started(desk, patterns, tiny_trunk) as process:
        assert wait_for(lambda: (tmp_path / UNFINISHED / "state.safetensors").exists(), process)
        process.kill()
        process.communicate()
    with started(desk, patterns, tiny_trunk, "--resume", "--seed", "1") as process:
        told = end(process)
    assert told.status == 1
    assert "seed was 0 and is 1" in told.err
    assert has_plan(tmp_path)
    resumed(desk, patterns, tiny_trunk)
    assert outcome(tmp_path) == outcome(whole.folder)


def test_there_is_nothing_to_resume_after_a_fit_that_ended(
    whole: Desk, patterns: Path, tiny_trunk: Path
) -> None:
    with started(whole, patterns, tiny_trunk, "--resume") as process:
        told = end(process)
    assert told.status == 1
    assert "There is no unfinished fit" in told.err
    assert "without --resume" in told.err


# --- Ctrl-C ---------------------------------------------------------------------------------------------


def in_training(desk: Desk, process: subprocess.Popen[bytes]) -> bool:
    """Wait until steps are taken, which is once the first checkpoint is there."""
    return wait_for(lambda: (desk.folder / UNFINISHED / "state.safetensors").exists(), process)


def test_ctrl_c_once_ends_training_with_the_best_so_far(
    whole: Desk, patterns: Path, tiny_trunk: Path, tmp_path: Path
) -> None:
    desk = Desk(tmp_path, whole.cache)
    with started(desk, patterns, tiny_trunk) as process:
        assert in_training(desk, process)
        process.send_signal(signal.SIGINT)
        told = end(process)
    assert told.status == 0, told.err
    assert "Stopping, with the best so far; Ctrl-C again ends without it." in told.err
    assert "accuracy" in told.out
    assert "Traceback" not in told.err
    assert not (tmp_path / UNFINISHED).exists()
    assert assert_sound(tmp_path) >= 2
    rungs = record(tmp_path)["rungs"]
    assert isinstance(rungs, list)
    assert any("stopped after" in note for rung in rungs for note in rung["notes"])


def test_ctrl_c_twice_ends_at_once_and_the_fit_can_be_resumed(
    whole: Desk, patterns: Path, tiny_trunk: Path, tmp_path: Path
) -> None:
    desk = Desk(tmp_path, whole.cache)
    with started(desk, patterns, tiny_trunk) as process:
        assert in_training(desk, process)
        assert process.stderr is not None
        process.send_signal(signal.SIGINT)
        lines = [process.stderr.readline()]
        while not lines[-1].startswith(b"Stopping"):
            assert lines[-1], "it ended without a word"
            lines.append(process.stderr.readline())
        process.send_signal(signal.SIGINT)
        told = end(process)
    assert told.status == 130
    assert told.err.splitlines()[-1] == "Stopped."
    assert "Traceback" not in told.err
    assert not (tmp_path / "model.topwork").exists()
    resumed(desk, patterns, tiny_trunk)
    assert outcome(tmp_path) == outcome(whole.folder)
