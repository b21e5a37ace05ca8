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

__all__ = ["TrunkMaterial", "apart", "resources_of", "unlabelled"]

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

    ``rows`` are the rows of ``dataset`` that are fitted on, in their order; ``further`` are texts without a label, and
    ``kept_apart`` fingerprints ``uint8 [h, m]`` of rows that validate or test, whose near copies are not learnt from.
    """

    trunk: Trunk
    around: Surroundings
    dataset: Dataset
    modality: Modality
    rows: Array
    resources: Resources
    further: tuple[bytes, ...] = ()
    kept_apart: Array = field(default_factory=lambda: np.zeros((0, 0), np.uint8))
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

    @property
    def is_ragged(self) -> bool:
        """Whether inputs come in several sizes, as two of nobody's show that differ in length."""
        short, long = self.modality.synthetic(2, 0, self.trunk.preprocessing)
        shapes = {self.modality.decode(one, self.trunk.preprocessing).tensor.shape for one in (short, long)}
        return len(shapes) > 1

    @property
    def has_words(self) -> bool:
        """Whether the trunk can have scores of words beside its features."""
        return isinstance(self.trunk, TextTrunk)

    def words(self, network: torch.nn.Module) -> Words | None:
        """Show the network token by token, with the texts that have no label."""
        found = self.trunk.words(network) if isinstance(self.trunk, TextTrunk) else None
        if found is None:
            return None
        return replace(found, further=tuple(partial(self._decoded, text) for text in self._unlike()))

    def _unlike(self) -> tuple[bytes, ...]:
        """Return the texts without a label that are no near copy of a row that is kept apart."""
        preprocessing = self.modality.inspection_preprocessing()
        seen = [(one, _fingerprint(self.modality, one, preprocessing)) for one in self.further]
        readable = [(one, mark) for one, mark in seen if mark is not None]
        if not readable or not len(self.kept_apart):
            return self.further
        n_apart = len(self.kept_apart)
        pairs = self.modality.near_duplicates(
            np.concatenate([self.kept_apart, np.stack([mark for _, mark in readable])])
        )
        alike = {int(b) - n_apart for a, b in pairs if a < n_apart <= b}
        if alike:
            self.around.progress.say(
                f"{len(alike):,} of {len(self.further):,} inputs without a label are left out: they show nearly the "
                "same as inputs that validate or test."
            )
        return tuple(one for place, (one, _) in enumerate(readable) if place not in alike)

    def _decoded(self, encoded: bytes) -> Array:
        """Decode an input without a label; one that cannot be read is shown as nothing."""
        try:
            return self.modality.decode(encoded, self.trunk.preprocessing).tensor
        except DecodeError:
            return self._stand_in(0, self.trunk.preprocessing)

    def example(self, row: int) -> Array:
        """Decode a row as serving does, once where memory allows if it is never varied."""
        preprocessing = self.trunk.preprocessing
        if self.modality.canvas(preprocessing) == preprocessing:
            return self._canvas(row)
        return self._decode(row, preprocessing)

    def variant(self, row: int, draw: np.random.Generator) -> Array:
        """Vary a row; what it is cut from is decoded once where memory allows."""
        return self.modality.vary(self._canvas(row), self.trunk.preprocessing, draw)

    def _canvas(self, row: int) -> Array:
        canvas = self._canvases.get(row)
        if canvas is None:
            canvas = self._decode(row, self.modality.canvas(self.trunk.preprocessing))
            self._keep(row, canvas)
        return canvas

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


def _fingerprint(modality: Modality, encoded: bytes, preprocessing: Preprocessing) -> Array | None:
    """Return the fingerprint of an input; None where it cannot be read."""
    try:
        return modality.decode(encoded, preprocessing).fingerprint
    except DecodeError:
        return None


def apart(rows: Rows) -> Array:
    """Return the fingerprints ``uint8 [h, m]`` of the rows that validate or test."""
    found = [rows.inspections[row].fingerprint for row in _held(rows).tolist()]
    return np.stack([one for one in found if one is not None])


def _held(rows: Rows) -> Array:
    return np.concatenate([rows.fit_rows[rows.folds[0].valid], rows.split.test])


def unlabelled(dataset: Dataset, rows: Rows) -> tuple[bytes, ...]:
    """Return the inputs without a label that are none of the rows that validate or test."""
    contents = {rows.inspections[row].content for row in _held(rows).tolist()}
    return tuple(one for one in dataset.unlabelled if sha256(one).digest() not in contents)
