"""Weights in several safetensors files with an index of them, as transformers writes those of large networks.

It knows no network and no place that files come from; a single file is one shard without an index.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from topwork.errors import WeightsError
from topwork.trunks.origin import read_object
from topwork.trunks.tensors import sha256_of

if TYPE_CHECKING:
    import torch

__all__ = ["INDEX", "read_tensors", "seal_of", "sealed", "shards_in", "shards_of"]

INDEX: Final = "model.safetensors.index.json"
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.safetensors")
_MOST: Final = 10_000


def shards_in(index: str, where: str) -> tuple[str, ...]:
    """Return the names of the files that an index tells of, in the order of the alphabet; ``where`` names it in errors.

    Raises
    ------
    WeightsError
        It is no index, or tells of files that cannot stand beside it.
    """
    told = read_object(index, where).get("weight_map")
    names = sorted({str(name) for name in told.values()}) if isinstance(told, dict) else []
    if not 0 < len(names) <= _MOST or (wrong := [name for name in names if not _NAME.fullmatch(name)]):
        what = f"the file {wrong[0]!r:.80}" if 0 < len(names) <= _MOST else "no files"
        raise WeightsError(
            f'{where} tells of {what}; expected a "weight_map" from tensors to safetensors files beside it.',
            next_step="Copy the file again from where it comes.",
        )
    return tuple(names)


def shards_of(path: Path) -> tuple[Path, ...]:
    """Return the files that hold the tensors of a file of weights, or of an index.

    Raises
    ------
    WeightsError
        The index is none.
    OSError
        It cannot be read.
    """
    if path.name != INDEX:
        return (path,)
    return tuple(path.parent / name for name in shards_in(path.read_text(encoding="utf-8"), str(path)))


def seal_of(hashes: Mapping[str, str]) -> str:
    """Return one SHA-256 for shards, by their own and their names; that of a single one is its own."""
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    told = "".join(f"{name} {hashes[name]}\n" for name in sorted(hashes))
    return hashlib.sha256(told.encode("utf-8")).hexdigest()


def sealed(path: Path) -> str:
    """Return `seal_of` a file of weights, or of the files of an index.

    Raises
    ------
    WeightsError
        The index is none, or a file of it is missing.
    OSError
        A file cannot be read.
    """
    shards = shards_of(path)
    if missing := [shard.name for shard in shards if shard != path and not shard.is_file()]:
        raise WeightsError(
            f"{path.name} tells of {missing[0]}, which is not in {path.parent}.",
            next_step="Copy all files of the network again from where they come.",
        )
    return seal_of({shard.name: sha256_of(shard) for shard in shards})


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a file of weights, or of all files of an index, by name.

    Raises
    ------
    WeightsError
        A file cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    shards = shards_of(path)
    try:
        return {name: one for shard in shards for name, one in load_file(shard).items()}
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"Cannot read the weights in {path}: {error}.", next_step="Delete the file and fetch it again."
        ) from error
