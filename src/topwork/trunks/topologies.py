"""Networks of the catalogue as they were exported when topwork was made, without their weights.

With one of these, features need neither torch nor timm, and nothing is exported on the user's time. Each is an
ONNX file of some tens of kilobytes in ``topologies/`` (that of a language model, which has many layers, packed), and
beside it a table from the names of its weights to the names in the file that the weights are distributed in.
``tools/ship_topologies.py`` makes them; a test holds them against the networks that timm builds. This module knows no
architecture.
"""

from __future__ import annotations

import gzip
import json
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from topwork.contracts import Graph
from topwork.errors import WeightsError

__all__ = ["graph", "shipped"]


def shipped() -> tuple[str, ...]:
    """Return the names of the topologies that came along."""
    return tuple(
        sorted(one.name.removesuffix(".onnx") for one in _folder().iterdir() if one.name.endswith(".onnx"))
    )


def graph(name: str, weights: Path, output_names: tuple[str, ...] = ("features",)) -> Graph:
    """Fill a topology with weights.

    Raises
    ------
    WeightsError
        The file is damaged, or lacks a tensor.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    names: dict[str, str] = json.loads(_folder().joinpath(f"{name}.json").read_text(encoding="utf-8"))
    try:
        tensors = load_file(weights)
        filled = {ours: tensors[theirs] for ours, theirs in names.items()}
    except (OSError, SafetensorError, KeyError) as error:
        raise WeightsError(
            f"{weights} does not hold the weights of {name}: {error}.",
            next_step="Remove the file; it is fetched again.",
        ) from error
    return Graph(_topology(name), filled, output_names)


def _topology(name: str) -> bytes:
    packed = _folder().joinpath(f"{name}.onnx.gz")
    return (
        gzip.decompress(packed.read_bytes())
        if packed.is_file()
        else _folder().joinpath(f"{name}.onnx").read_bytes()
    )


def _folder() -> Traversable:
    return files("topwork.trunks").joinpath("topologies")
