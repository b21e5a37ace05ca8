"""A checkpoint is the whole state or the one before, and never half of one."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from topwork.errors import StorageError
from topwork.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint


def state(number: int, size: int = 100) -> Checkpoint:
    tensors = {
        "weights": torch.full((size,), float(number)),
        "half": torch.arange(6, dtype=torch.bfloat16).reshape(2, 3).T,
        "planes": torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last),
    }
    return Checkpoint(tensors, {"n_steps": number, "best": float("inf"), "name": "é"})


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state.safetensors"
    written = state(3)
    write_checkpoint(path, written)
    found = read_checkpoint(path)
    assert found is not None
    assert found.values == written.values
    assert found.tensors.keys() == written.tensors.keys()
    for name, tensor in written.tensors.items():
        assert found.tensors[name].dtype == tensor.dtype
        assert torch.equal(found.tensors[name], tensor)


def test_a_parameter_is_taken_as_it_is(tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.randn(4))
    write_checkpoint(tmp_path / "s", Checkpoint({"a": parameter}, {}))
    found = read_checkpoint(tmp_path / "s")
    assert found is not None
    assert torch.equal(found.tensors["a"], parameter)
    assert not found.tensors["a"].requires_grad


def test_what_was_read_does_not_hang_on_the_file(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    write_checkpoint(path, state(1))
    found = read_checkpoint(path)
    assert found is not None
    write_checkpoint(path, state(2))
    path.unlink()
    assert (found.tensors["weights"] == 1).all()


@pytest.mark.parametrize("damage", ["missing", "empty", "cut short", "a flipped header", "other", "folder"])
def test_what_cannot_be_read_is_none(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    write_checkpoint(path, state(1))
    whole = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage == "other":
        from safetensors.torch import save_file

        save_file({"a": torch.zeros(2)}, path)
    elif damage != "missing":
        content = {
            "empty": b"",
            "cut short": whole[:-7],
            "a flipped header": whole[:12] + b"\xff" + whole[13:],
        }
        path.write_bytes(content[damage])
    assert read_checkpoint(path) is None


WRITER = """
import sys, torch
from pathlib import Path
from topwork.training.checkpoint import Checkpoint, write_checkpoint
for number in range(10**6):
    write_checkpoint(Path(sys.argv[1]), Checkpoint({"a": torch.full((2_000_000,), float(number))}, {"n": number}))
    print(number, flush=True)
"""


def test_a_kill_while_writing_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    program = (sys.executable, "-c", WRITER, str(path))
    with subprocess.Popen(program, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"0\n"
        killer = threading.Thread(target=kill_while_writing, args=(process, tmp_path))
        killer.start()
        told = [0, *map(int, process.stdout)]
        killer.join()
    assert list(tmp_path.glob(".*-part")), "the kill did not come in the middle of a write"
    found = read_checkpoint(path)
    assert found is not None
    assert found.values["n"] in (told[-1], told[-1] + 1)
    assert (found.tensors["a"] == found.values["n"]).all()


def kill_while_writing(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait for a file that is being written, and kill its writer."""
    while process.poll() is None:
        if any(part.stat().st_size for part in parts(folder)):
            process.kill()
            return


def parts(folder: Path) -> list[Path]:
    return [part for part in folder.glob(".*-part") if part.exists()]


def test_a_place_that_cannot_be_written_to_says_so_and_keeps_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    with pytest.raises(StorageError):
        write_checkpoint(tmp_path / "file" / "state", state(1))
