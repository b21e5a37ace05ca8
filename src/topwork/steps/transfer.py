"""From the name of a trunk to an engine that gives its features.

The exported graph is kept beside the weights, so that only the first fit with a trunk imports torch. All of it
can run while the data are being read: see `Preparation`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from topwork.contracts import Array, Dataset, Engine, Exportable, Graph, Modality, Trunk, padded
from topwork.engines.choice import EngineChoice, build, choose, reference
from topwork.engines.export import export
from topwork.engines.linear import LinearEngine
from topwork.engines.machine import Machine, limited_to, shared, survey
from topwork.errors import StorageError, UsageError
from topwork.steps.options import Surroundings
from topwork.steps.order import Order
from topwork.storage import write_atomically
from topwork.training.cache import FeatureCache, FeatureKey
from topwork.training.fingerprint import version_of, versions_of
from topwork.training.reading import Reading, Runner, read_features

__all__ = [
    "Part",
    "Preparation",
    "choice_for",
    "exportable_of",
    "features_of",
    "graph_identity",
    "load_graph",
    "open_cache",
    "packages",
    "read_part",
    "start_engine",
]

_LAYOUT = 1
"""Counts changes in how topwork itself decodes and exports."""
_TOPOLOGY = "topology"
_LIBRARIES = ("numpy", "pillow", "onnx", "openvino", "onnxruntime", "torch", "timm")


def choice_for(machine: Machine, wanted: str) -> EngineChoice:
    """Return the engine to use; ``auto`` is the fastest one here.

    Raises
    ------
    UsageError
        The wanted one is not installed.
    """
    if wanted == "auto":
        return choose(machine)
    if wanted not in machine.engines:
        raise UsageError(
            f"The engine {wanted!r} is not installed; there are {', '.join(sorted(machine.engines)) or 'none'}.",
            next_step="Leave the engine to topwork, or install it.",
        )
    narrowed = Machine(**{**_fields(machine), "engines": frozenset({wanted})})
    return choose(narrowed)


def _fields(machine: Machine) -> dict[str, Any]:
    return {name: getattr(machine, name) for name in machine.__dataclass_fields__}


def load_graph(trunk: Trunk, modality: Modality, around: Surroundings) -> Graph:
    """Return the trunk's graph: the one that came with it, one out of the cache, or by exporting it once.

    Raises
    ------
    WeightsError
        The weights cannot be had.
    MissingExtraError
        It must be exported, and torch or timm is not installed.
    """
    weights = trunk.fetch(around.cache_dir, around.progress)
    if (shipped := trunk.graph(weights)) is not None:
        return shipped
    stored = around.cache_dir / "graphs" / f"{graph_identity(trunk)}.safetensors"
    if (graph := _read_graph(stored)) is not None:
        return graph
    graph = export(exportable_of(trunk, modality, weights))
    with suppress(StorageError):  # a cache that cannot be written costs time the next time, nothing else
        _write_graph(stored, graph)
    return graph


def exportable_of(trunk: Trunk, modality: Modality, weights: Path) -> Exportable:
    """Load a trunk, with an example batch."""
    examples = modality.synthetic(4, 0, trunk.preprocessing)
    tensors = [modality.decode(one, trunk.preprocessing).tensor for one in examples]
    batch = padded(tensors)
    return Exportable(
        trunk.load(weights), batch, ("features",), ragged=len({one.shape for one in tensors}) > 1
    )


def graph_identity(trunk: Trunk) -> str:
    """Return the SHA-256 of all that decides what the exported graph computes."""
    parts = {
        "trunk": trunk.identity,
        "inputs": trunk.preprocessing.to_json(),
        "layout": _LAYOUT,
        **{name: version_of(name) for name in ("torch", "timm")},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def packages() -> str:
    """Return the versions of the libraries that numbers depend on."""
    return versions_of(_LIBRARIES)


def _read_graph(path: Path) -> Graph | None:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays = load_file(path)
        topology = arrays.pop(_TOPOLOGY)
    except (OSError, SafetensorError, KeyError):
        return None
    return Graph(topology.tobytes(), arrays, ("features",))


def _write_graph(path: Path, graph: Graph) -> None:
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(array) for name, array in graph.weights.items()}
    content = save({**arrays, _TOPOLOGY: np.frombuffer(graph.topology, dtype=np.uint8)})
    write_atomically(path, content)


def start_engine(
    graph: Graph,
    choice: EngineChoice,
    *,
    machine: Machine,
    module: Callable[[], Exportable],
    shelf: Path | None = None,
) -> Engine:
    """Compile a graph, or give the module itself to torch, which runs no graphs."""
    if choice.name != "torch" or LinearEngine.of(graph) is not None:
        return build(choice, graph, n_threads=machine.n_cores, n_streams=machine.n_cores, shelf=shelf)
    from topwork.engines.torch import TorchEngine

    return TorchEngine(module(), "cuda" if machine.has_cuda else "cpu", choice.precision)


def open_cache(around: Surroundings) -> FeatureCache:
    """Open the user's feature cache."""
    path = around.cache_dir / "features.sqlite"
    return FeatureCache(path, limit_bytes=around.cache_limit_bytes, now=around.wall_clock)


class Preparation:
    """Makes a trunk ready in a thread of its own, while the caller reads data."""

    def __init__(self, trunk: Trunk, modality: Modality, around: Surroundings) -> None:
        self.machine = shared(limited_to(survey(), around.device), around.n_cores)
        self.choice = choice_for(self.machine, around.engine)
        self._trunk, self._modality, self._around = trunk, modality, around
        thread = ThreadPoolExecutor(1, "prepare")
        self._graph = thread.submit(load_graph, trunk, modality, around)
        thread.shutdown(wait=False)
        self._engine: Engine | None = None
        self._starting = Lock()

    def graph(self) -> Graph:
        """Wait until the trunk's graph is there, and return it; raises what went wrong."""
        return self._graph.result()

    def engine(self) -> Engine:
        """Return the engine on the trunk, started when it is first asked for: a fit may find all features cached."""
        with self._starting:
            if self._engine is None:
                self._engine = start_engine(
                    self.graph(), self.choice, machine=self.machine, module=self._module, shelf=self._shelf()
                )
            return self._engine

    def engine_on(self, graph: Graph) -> Engine:
        """Start an engine on another graph, such as the trunk after training; torch, which runs none, is replaced."""
        choice = self.choice if self.choice.name != "torch" else reference()
        return build(choice, graph, n_threads=self.machine.n_cores, n_streams=self.machine.n_cores)

    def _shelf(self) -> Path | None:
        shelf = self._around.shelf
        return None if shelf is None else shelf / graph_identity(self._trunk)[:32]

    def _module(self) -> Exportable:
        weights = self._trunk.fetch(self._around.cache_dir, self._around.progress)
        return exportable_of(self._trunk, self._modality, weights)

    def key(self) -> FeatureKey:
        """Return the key of this trunk's features; does not wait."""
        return FeatureKey(
            graph=graph_identity(self._trunk),
            preprocessing=self._trunk.preprocessing.to_json(),
            decoder=self._modality.decoder,
            engine=self.choice.name,
            precision=self.choice.precision,
            version=version_of(self.choice.name),
        )


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a data set, as a reading pass takes them."""

    dataset: Dataset
    rows: Array

    def __len__(self) -> int:
        """Return how many."""
        return len(self.rows)

    def read(self, row: int) -> bytes:
        """Return the encoded input of the row at a place among them."""
        return self.dataset.read(int(self.rows[row]))


def features_of(preparation: Preparation, graph: Graph, order: Order, rows: Array) -> Array:
    """Return the features ``float32 [n, d]`` of some rows by another graph than the trunk's; nothing is cached."""
    return read_part(preparation, preparation.engine_on(graph), order, rows).features


def read_part(preparation: Preparation, engine: Engine, order: Order, rows: Array) -> Reading:
    """Read some rows of the data set through an engine; nothing is cached."""
    runner = Runner(lambda: engine, {"features": order.trunk.card.n_features})
    decode = partial(order.modality.decode, preprocessing=order.trunk.preprocessing)
    part = Part(order.dataset, rows)
    n_threads, progress = preparation.machine.n_cores, order.around.progress
    return read_features(part, decode, runner, n_threads=n_threads, progress=progress)
