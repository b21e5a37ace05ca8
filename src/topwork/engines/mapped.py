"""A network as files that several processes map into their memory, so that the system holds its weights once.

It knows ONNX's format and no engine. A folder belongs to one network and is never changed: it is there, or is not.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from topwork.contracts import Graph
from topwork.engines.graphs import attach, parse, weight_of
from topwork.storage import explain

__all__ = ["MODEL", "WEIGHTS", "forget", "laid_out", "made"]

MODEL: Final = "model.onnx"
WEIGHTS: Final = "weights.bin"
_PAGE_BYTES: Final = 4096
"""Weights begin at pages, and smaller ones stay in the model: they are not worth one."""


def laid_out(graph: Graph, folder: Path) -> Path:
    """Return a complete ONNX model in a folder of its own, its weights in a file beside it; see `made`.

    Raises
    ------
    BundleError
        A weight is missing, or has another shape or type than the topology says.
    StorageError
        It cannot be written.
    """
    return made(folder, partial(_write, graph))


def made(folder: Path, write: Callable[[Path], None]) -> Path:
    """Return the path of the model in a folder; where there is none, ``write`` puts one into it.

    Where several processes do so at once, each has what one of them wrote.

    Raises
    ------
    StorageError
        It cannot be written.
    """
    path = folder / MODEL
    try:
        if not path.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            _make(folder, write)
        os.utime(folder)  # for `forget`
    except OSError as error:
        raise explain(error, folder) from error
    return path


def _make(folder: Path, write: Callable[[Path], None]) -> None:
    unfinished = Path(mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        write(unfinished)
        with suppress(FileExistsError):
            unfinished.rename(folder)
    except OSError:
        if not (folder / MODEL).exists():  # else another process was first
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def forget(shelf: Path, *, older_than_s: float, now_s: float) -> int:
    """Remove the folders of networks that nobody has asked for as long; return how many. Who maps one keeps its own."""
    removed = 0
    for folder in shelf.glob("*") if shelf.is_dir() else ():
        with suppress(OSError):
            if now_s - folder.stat().st_mtime > older_than_s:
                shutil.rmtree(folder)
                removed += 1
    return removed


def _write(graph: Graph, folder: Path) -> None:
    proto = parse(graph.topology)
    with (folder / WEIGHTS).open("wb") as stream:
        for initializer in proto.graph.initializer:
            if initializer.data_location != initializer.EXTERNAL:
                continue
            weight = weight_of(initializer, graph.weights)
            if weight.nbytes < _PAGE_BYTES:
                attach(initializer, weight)
                continue
            stream.write(bytes(-stream.tell() % _PAGE_BYTES))
            place = {"location": WEIGHTS, "offset": stream.tell(), "length": weight.nbytes}
            del initializer.external_data[:]
            for key, value in place.items():
                initializer.external_data.add(key=key, value=str(value))
            stream.write(weight.tobytes())
    (folder / MODEL).write_bytes(proto.SerializeToString())
