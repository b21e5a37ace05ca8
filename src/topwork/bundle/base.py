"""A bundle without its base: it holds what training changed, and takes the rest from the pretrained network by name.

What is left out is taken from a trunk that is named and hashed in the manifest; what a low-rank product was added to
is made again from it. It knows no architecture and no place where weights come from: a trunk does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

import numpy as np

from topwork.bundle.manifest import ADAPTER, Base
from topwork.contracts import Array, Graph, LanguageModel, LowRank, Trunk
from topwork.engines.graphs import parse
from topwork.errors import BundleError, MissingExtraError, UsageError, WeightsError
from topwork.progress import Quiet
from topwork.storage import cache_folder

__all__ = ["FindTrunk", "Omission", "complete", "find_trunk", "find_writer", "products_of", "trunk_for"]

_UP, _DOWN = ".up", ".down"

FindTrunk: TypeAlias = Callable[[str, Path], Trunk | LanguageModel]
"""Gives a trunk by its name, for a bundle that stands in a folder."""


@dataclass(frozen=True, slots=True, eq=False)
class Omission:
    """What a bundle need not hold.

    Attributes
    ----------
    trunk
        Where to take it from.
    tensors
        The trunk's, by their names in the graph.
    products
        What was added to some of them.
    """

    trunk: Trunk | LanguageModel
    tensors: Mapping[str, Array]
    products: Mapping[str, LowRank]

    def base(self, graph: Graph) -> Base:
        """Name and hash what a graph takes from the trunk."""
        taken = {name: self.tensors[name] for name in self._taken(graph)}
        return Base(self.trunk.card.name, self.trunk.card.weights_sha256, _hash_of(taken))

    def kept(self, graph: Graph) -> dict[str, Array]:
        """Return the weights of a graph that are to be held."""
        taken = self._taken(graph)
        return {name: value for name, value in graph.weights.items() if name not in taken}

    def adapter(self) -> dict[str, Array]:
        """Return the products as named arrays."""
        ups = {f"{name}{_UP}": one.up for name, one in self.products.items()}
        return ups | {f"{name}{_DOWN}": one.down for name, one in self.products.items()}

    def _taken(self, graph: Graph) -> set[str]:
        return {
            name
            for name, value in graph.weights.items()
            if name in self.products
            or (name in self.tensors and np.array_equal(value, self.tensors[name], equal_nan=True))
        }


def find_trunk(name: str, folder: Path) -> Trunk:
    """Find a trunk of the catalogue, of the hub, or in a folder of that name beside the bundle.

    Raises
    ------
    UsageError
        The name means nothing.
    WeightsError
        A folder or a repository is not what it should be, or cannot be had.
    """
    from topwork import plugins, trunks

    catalogue = plugins.trunks()
    beside = folder / name
    if name not in catalogue and name == beside.name and beside.is_dir():
        return trunks.resolve(str(beside.resolve()), catalogue)
    return trunks.resolve(name, catalogue)


def find_writer(name: str, folder: Path) -> LanguageModel:
    """Find a language model, where `find_trunk` looks for a trunk."""
    from topwork import plugins, trunks

    catalogue = plugins.writers()
    beside = folder / name
    if name not in catalogue and name == beside.name and beside.is_dir():
        return trunks.resolve_writer(str(beside.resolve()), catalogue)
    return trunks.resolve_writer(name, catalogue)


def trunk_for(base: Base, folder: Path, find: FindTrunk = find_trunk) -> Trunk | LanguageModel:
    """Find the base of a bundle that stands in a folder.

    Raises
    ------
    WeightsError
        It cannot be had.
    """
    try:
        return find(base.name, folder)
    except (UsageError, WeightsError, MissingExtraError) as error:
        raise WeightsError(
            f"The bundle holds an adapter alone, and its base {base.name!r:.80} (weights of SHA-256 "
            f"{base.weights_sha256:.64}) cannot be had: {error.problem}",
            next_step=f"Put the network into a folder {base.name!r:.80} beside the bundle. {error.next_step}",
        ) from error


def products_of(adapter: Mapping[str, Array]) -> dict[str, LowRank]:
    """Return what `Omission.adapter` gave."""
    names = [key.removesuffix(_UP) for key in adapter if key.endswith(_UP)]
    return {name: LowRank(adapter[f"{name}{_UP}"], adapter[f"{name}{_DOWN}"]) for name in names}


def complete(stored: Graph, adapter: Mapping[str, Array], base: Base, trunk: Trunk | LanguageModel) -> Graph:
    """Take what a graph lacks from its base, and add the adapter's products to it.

    Raises
    ------
    WeightsError
        The base is another network than the one that the bundle was made on, or cannot be had.
    BundleError
        The graph lacks what the base has not, or a product has another shape.
    """
    _require_same("weights", base.name, base.weights_sha256, trunk.card.weights_sha256)
    tensors = _tensors_of(trunk)
    wanted = _names(stored) - set(stored.weights)
    if missing := sorted(wanted - set(tensors)):
        raise BundleError(f"It lacks {missing[0]!r:.80}, and so does its base {base.name!r:.80}.")
    taken = {name: tensors[name] for name in wanted}
    _require_same("tensors", base.name, base.tensors_sha256, _hash_of(taken))
    made = {name: _added(name, tensor, adapter) for name, tensor in taken.items()}
    return Graph(stored.topology, {**stored.weights, **made}, stored.output_names)


def _names(graph: Graph) -> set[str]:
    initializers = parse(graph.topology).graph.initializer
    return {one.name for one in initializers if one.data_location == one.EXTERNAL}


def _tensors_of(trunk: Trunk | LanguageModel) -> Mapping[str, Array]:
    """Return the trunk's tensors by name; neither torch nor timm is imported where its graph came with it."""
    weights = trunk.fetch(cache_folder(), Quiet())
    if (graph := trunk.graph(weights)) is not None:
        return graph.weights
    return {name: value.numpy() for name, value in trunk.load(weights).state_dict().items()}


def _added(name: str, tensor: Array, adapter: Mapping[str, Array]) -> Array:
    up, down = adapter.get(f"{name}{_UP}"), adapter.get(f"{name}{_DOWN}")
    if up is None or down is None:
        return tensor
    try:
        return LowRank(up, down).added_to(tensor)
    except ValueError as error:
        raise BundleError(
            f"{ADAPTER} holds a product of {list(up.shape)} and {list(down.shape)} for {name!r:.80}, which is "
            f"{list(tensor.shape)}."
        ) from error


def _require_same(what: str, name: str, expected: str, found: str) -> None:
    if found != expected:
        raise WeightsError(
            f"The bundle was made on {name!r:.80} with {what} of SHA-256 {expected:.64}; here those of that name have "
            f"{found:.64}.",
            next_step=f"Get the network that it was made on; one in a folder is called {name!r:.80} and stands beside "
            "the bundle. Or fit again without --adapter-only.",
        )


def _hash_of(tensors: Mapping[str, Array]) -> str:
    found = sha256()
    for name in sorted(tensors):
        array = tensors[name]
        found.update(f"{name} {array.dtype.str} {list(array.shape)}\n".encode())
        found.update(array.tobytes())
    return found.hexdigest()
