"""What a recipe needs that trains the trunk: the network, and the rows as the network will see them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from topwork.contracts import (
    Array,
    Dataset,
    Modality,
    Preprocessing,
    Rates,
    Resources,
    Stage,
    TextTrunk,
    Trunk,
    Words,
)
from topwork.engines.machine import DeviceName, Machine
from topwork.errors import DecodeError, UsageError
from topwork.steps.options import Surroundings
from topwork.steps.order import Rows

if TYPE_CHECKING:
    import torch

__all__ = ["TrunkMaterial", "resources_of", "unlabelled"]

_FAST_BF16 = frozenset({"avx512_bf16", "amx_bf16"})
_CANVASES = 0.2
"""Part of the memory that decoded inputs may fill; what does not fit is decoded every time."""
_UNKNOWN_MEMORY = 4 * 2**30


def resources_of(machine: Machine, device: DeviceName = "auto") -> Resources:
    """Return what a machine has to train with: its GPU where that is asked for, else its processor."""
    on_gpu = device == "cuda"
    return Resources(
        device="cuda" if on_gpu else "cpu",
        n_threads=machine.n_cores,
        memory_bytes=machine.memory_bytes,
        has_fast_bf16=machine.has_cuda_bf16 if on_gpu else bool(_FAST_BF16 & machine.cpu_flags),
    )


@dataclass(eq=False)
class TrunkMaterial:
    """See `topwork.contracts.Material`.

    ``rows`` are the rows of ``dataset`` that are fitted on, in their order; ``further`` are texts without a label.
    """

    trunk: Trunk
    around: Surroundings
    dataset: Dataset
    modality: Modality
    rows: Array
    resources: Resources
    further: tuple[bytes, ...] = ()
    _canvases: dict[int, Array] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)
    _n_bytes: int = 0

    @property
    def rates(self) -> Rates:
        """Return the trunk's."""
        return self.trunk.rates

    def network(self) -> torch.nn.Module:
        """Load the pretrained network.

        Raises
        ------
        UsageError
            There is nothing in it that could be trained.
        """
        if not self.trunk.card.n_parameters:
            raise UsageError(
                f"The trunk {self.trunk.card.name!r} has no weights that could be trained.",
                next_step="Use a recipe that fits a head alone: probe or head.",
            )
        return self.trunk.load(self.trunk.fetch(self.around.cache_dir, self.around.progress))

    def stages(self, network: torch.nn.Module) -> tuple[Stage, ...]:
        """Cut it into the trunk's stages."""
        return self.trunk.stages(network)

    def words(self, network: torch.nn.Module) -> Words | None:
        """Show the network token by token, with the texts that have no label."""
        found = self.trunk.words(network) if isinstance(self.trunk, TextTrunk) else None
        if found is None:
            return None
        return replace(found, further=tuple(partial(self._decoded, text) for text in self.further))

    def _decoded(self, encoded: bytes) -> Array:
        """Decode an input without a label; one that cannot be read is shown as nothing."""
        try:
            return self.modality.decode(encoded, self.trunk.preprocessing).tensor
        except DecodeError:
            return self._stand_in(0, self.trunk.preprocessing)

    def example(self, row: int) -> Array:
        """Decode a row as serving does."""
        return self._decode(row, self.trunk.preprocessing)

    def variant(self, row: int, draw: np.random.Generator) -> Array:
        """Vary a row; what it is cut from is decoded once where memory allows."""
        canvas = self._canvases.get(row)
        if canvas is None:
            canvas = self._decode(row, self.modality.canvas(self.trunk.preprocessing))
            self._keep(row, canvas)
        return self.modality.vary(canvas, self.trunk.preprocessing, draw)

    def held_bytes(self, n_rows: int) -> int:
        """Return the most memory that what is decoded once may take."""
        one = self._decode(int(self.rows[0]), self.modality.canvas(self.trunk.preprocessing))
        return min(n_rows * one.nbytes, int(self._limit_bytes()))

    def _limit_bytes(self) -> float:
        return _CANVASES * (self.resources.memory_bytes or _UNKNOWN_MEMORY)

    def _keep(self, row: int, canvas: Array) -> None:
        limit = self._limit_bytes()
        with self._lock:
            if row not in self._canvases and self._n_bytes + canvas.nbytes <= limit:
                self._canvases[row] = canvas
                self._n_bytes += canvas.nbytes

    def _decode(self, row: int, preprocessing: Preprocessing) -> Array:
        """Decode a row; one that was readable before and is gone now is shown as nothing."""
        try:
            return self.modality.decode(self.dataset.read(int(self.rows[row])), preprocessing).tensor
        except DecodeError:
            return self._stand_in(row, preprocessing)

    def _stand_in(self, seed: int, preprocessing: Preprocessing) -> Array:
        return self.modality.decode(self.modality.synthetic(1, seed, preprocessing)[0], preprocessing).tensor


def unlabelled(dataset: Dataset, rows: Rows) -> tuple[bytes, ...]:
    """Return the inputs without a label that are none of the rows that validate or test."""
    held = np.concatenate([rows.fit_rows[rows.folds[0].valid], rows.split.test])
    contents = {rows.inspections[row].content for row in held.tolist()}
    return tuple(one for one in dataset.unlabelled if sha256(one).digest() not in contents)
