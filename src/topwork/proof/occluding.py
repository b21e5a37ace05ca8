"""Heat over the words of mistakes and of typical texts: by how much the answer falls without them.

For a modality whose inputs have parts that can be taken away; see `training.occlusion`. It knows no words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from topwork.contracts import Array, Engine, Gallery, Graph, LinearHead, Modality, Picture, Shown
from topwork.errors import DecodeError
from topwork.steps.order import Order
from topwork.steps.recording import THUMBNAIL_PX
from topwork.steps.transfer import Preparation
from topwork.training.heatmaps import contrast
from topwork.training.occlusion import warmth

__all__ = ["Occluder"]

_LEGEND = "What is underlined spoke for the answer, what is dotted against it: the score falls, or rises, without it."


@dataclass(frozen=True, slots=True, eq=False)
class Occluder:
    """Draws heat over inputs; `of` gives None for a modality whose inputs have no parts to take away."""

    order: Order
    engine: Engine
    n_threads: int

    @classmethod
    def of(cls, order: Order, preparation: Preparation, graph: Graph) -> Occluder | None:
        """Start an engine on the trunk as it is now."""
        example = order.modality.synthetic(1, 0, order.trunk.preprocessing)[0]
        tensor = order.modality.decode(example, order.trunk.preprocessing).tensor
        if order.modality.parts(tensor) is None:
            return None
        return cls(order, preparation.engine_on(graph), preparation.machine.n_cores)

    def over(self, gallery: Gallery, head: LinearHead, labels: Sequence[str]) -> Gallery:
        """Add heat to the items of a gallery of answers: for what was said, against what is true."""
        numbers = {label: i for i, label in enumerate(labels)}
        rows_of = {key: row for row, key in enumerate(self.order.dataset.keys)}
        known = [one for one in gallery.pictures if one.key in rows_of and one.predicted in numbers]
        wanted = [
            (rows_of[one.key], contrast(head.weight, numbers[one.predicted], _truth_of(one, numbers)))
            for one in known
        ]
        warm = dict(zip((one.key for one in known), self.shown(wanted), strict=True))
        drawn = tuple(_warmed(one, warm.get(one.key)) for one in gallery.pictures)
        caption = f"{gallery.caption} {_LEGEND}" if any(one.pieces for one in drawn) else gallery.caption
        return replace(gallery, pictures=drawn, caption=caption)

    def shown(self, wanted: Sequence[tuple[int, Array]]) -> list[Shown | None]:
        """Return rows with the heat of their pieces, each for weights ``[d]`` of its own, as many at once as cores.

        None stands for an input that is gone, and for those that are left when the user stops it.
        """
        with ThreadPoolExecutor(self.n_threads, "occluder") as pool:
            return list(pool.map(lambda one: self._shown(*one), wanted))

    def _shown(self, row: int, weights: Array) -> Shown | None:
        if self.order.around.should_stop():
            return None
        modality: Modality = self.order.modality
        spec = self.order.trunk.preprocessing
        try:
            encoded = self.order.dataset.read(row)
            tensor = modality.decode(encoded, spec).tensor
        except DecodeError:
            return None
        parts = modality.parts(tensor)
        assert parts is not None
        heat = warmth(lambda batch: self.engine.run(batch)["features"] @ weights, tensor, parts)
        return modality.overlay(encoded, heat, spec, THUMBNAIL_PX)


def _truth_of(one: Picture, numbers: Mapping[str, int]) -> int | None:
    """Return the number of the true label, where something else was said."""
    return numbers.get(one.truth) if one.truth != one.predicted else None


def _warmed(one: Picture, shown: Shown | None) -> Picture:
    return one if shown is None else replace(one, heat_base64=shown.jpeg_base64, pieces=shown.pieces)
