from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from topwork.errors import WeightsError
from topwork.trunks.tensors import is_intact, read_order, sha256_of, write

TENSORS = {
    "z": torch.arange(6.0).reshape(2, 3),
    "a": torch.tensor(7),
    "m": torch.ones(3, dtype=torch.float16),
}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "deep" / "weights.safetensors"
    write(path, TENSORS)
    return path


def test_tensors_come_back_as_any_reader_of_the_format_reads_them(written: Path) -> None:
    from safetensors.torch import load_file

    found = load_file(written)
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_the_order_is_the_one_given_not_the_one_stored(written: Path) -> None:
    assert read_order(written) == ("z", "a", "m")


def test_views_and_shared_tensors_can_be_written(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    whole = torch.arange(12.0).reshape(3, 4)
    write(tmp_path / "w", {"turned": whole.T, "row": whole[1], "same": whole[1]})
    assert torch.equal(load_file(tmp_path / "w")["turned"], whole.T)


def test_what_was_written_is_intact(written: Path) -> None:
    assert is_intact(written)


def test_any_changed_byte_is_seen(written: Path) -> None:
    content = written.read_bytes()
    visited = 0
    for position in range(0, len(content), 7):
        changed = bytearray(content)
        changed[position] ^= 0x10
        written.write_bytes(bytes(changed))
        assert not is_intact(written), f"byte {position} of {len(content)}"
        visited += 1
    assert visited > 20


def test_a_byte_that_changes_after_the_file_was_found_intact_is_seen(written: Path) -> None:
    assert is_intact(written)
    changed = bytearray(written.read_bytes())
    changed[-1] ^= 0x10
    time.sleep(0.05)  # longer than a tick of the file system's clock
    written.write_bytes(bytes(changed))
    assert not is_intact(written)


@pytest.mark.parametrize("keep", [0, 4, 8, 50, -1])
def test_a_file_that_is_cut_off_is_seen(written: Path, keep: int) -> None:
    written.write_bytes(written.read_bytes()[:keep])
    assert not is_intact(written)


def test_a_file_that_is_not_there_is_not_intact(tmp_path: Path) -> None:
    assert not is_intact(tmp_path / "nothing")


def test_a_file_that_somebody_else_wrote_has_no_seal_and_no_order(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(TENSORS, tmp_path / "theirs")
    assert not is_intact(tmp_path / "theirs")
    with pytest.raises(WeightsError, match="order"):
        read_order(tmp_path / "theirs")


@pytest.mark.parametrize("content", [b"", b"\x02\0\0\0\0\0\0\0[]", b"\xff" * 40, b"\x05\0\0\0\0\0\0\0{bad}"])
def test_what_is_no_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(WeightsError, match="safetensors format"):
        read_order(tmp_path / "w")


def test_a_file_is_hashed_as_sha256sum_does(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc").startswith("ba7816bf8f01cfea414140de5dae2223")
