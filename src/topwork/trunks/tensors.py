"""Tensors in one safetensors file that carries its own hash and the order the tensors once had.

safetensors sorts what it stores. Weights that are mapped onto a network in their order keep that order in
the file's metadata, beside a SHA-256 of everything else, so that one atomic rename brings the file and its
proof together and two processes that write it at once cannot mix them up.

It knows nothing of networks and nothing of where the tensors came from.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from topwork.errors import WeightsError
from topwork.storage import write_atomically

if TYPE_CHECKING:
    import torch

__all__ = ["is_intact", "read_order", "sha256_of", "write"]

_CHUNK_BYTES = 1 << 20
_LONGEST_HEADER_BYTES = 100_000_000
"""The limit of the format itself."""


def write(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write tensors atomically, with their order and their hash."""
    from safetensors.torch import save

    solid = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    metadata = {"order": json.dumps(list(tensors))}
    blank = save(solid, metadata | {"sha256": ""})
    write_atomically(path, save(solid, metadata | {"sha256": _seal(blank)}))


def is_intact(path: Path) -> bool:
    """Tell whether a file written by `write` is there and still is what was written.

    A process hashes it once, and again when the file system says that it was written or changed since.
    """
    try:
        told = path.stat()
        return _is_sealed(path, (told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns))
    except (OSError, WeightsError):
        return False


def read_order(path: Path) -> tuple[str, ...]:
    """Return the names of the tensors in the order in which `write` was given them.

    Raises
    ------
    WeightsError
        The file is damaged, or was not written by `write`.
    """
    with path.open("rb") as stream:
        order = _header(stream).get("__metadata__", {}).get("order")
    if order is None:
        raise WeightsError(f"{path} does not say in which order its tensors stood.")
    return tuple(json.loads(order))


def sha256_of(path: Path) -> str:
    """Hash a file of any size; return 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@lru_cache(maxsize=64)
def _is_sealed(path: Path, marks: tuple[int, ...]) -> bool:
    """Compare a file with the hash in it; ``marks`` change with the file."""
    del marks
    with path.open("rb") as stream:
        header = _header(stream)
        seal = header.get("__metadata__", {}).get("sha256")
        return bool(seal == _digest(header, stream))


def _seal(content: bytes) -> str:
    import io

    stream = io.BytesIO(content)
    return _digest(_header(stream), stream)


def _header(stream: IO[bytes]) -> dict[str, Any]:
    """Read the header at the beginning of a safetensors file; the stream stands at the data then."""
    try:
        (length,) = struct.unpack("<Q", stream.read(8))
        if length > _LONGEST_HEADER_BYTES:
            raise WeightsError("The file is not in the safetensors format: its header is too long.")
        header = json.loads(stream.read(length))
    except (struct.error, ValueError) as error:
        raise WeightsError("The file is not in the safetensors format, or it is cut off.") from error
    if not isinstance(header, dict):
        raise WeightsError("The file is not in the safetensors format: its header is no object.")
    return header


def _digest(header: dict[str, Any], data: IO[bytes]) -> str:
    """Hash the header, but for the hash that it holds, and all data behind it."""
    rest = header | {"__metadata__": header.get("__metadata__", {}) | {"sha256": ""}}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    while chunk := data.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()
