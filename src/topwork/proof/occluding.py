"""Heat over the words of mistakes and of typical texts: by how much the answer falls without them.

For a modality whose inputs have parts that can be taken away; see `training.occlusion`. It knows no words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from topwork.contracts import Array, Engine, Gallery, Graph, LinearHead, Modality, Picture, Piece, Shown
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

    @classmethod
    def of(cls, order: Order, preparation: Preparation, graph: Graph) -> Occluder | None:
        """Start an engine on the trunk as it is now."""
        example = order.modality.synthetic(1, 0, order.trunk.preprocessing)[0]
        tensor = order.modality.decode(example, order.trunk.preprocessing).tensor
        if order.modality.parts(tensor) is None:
            return None
        return cls(order, preparation.engine_on(graph))

    def over(self, gallery: Gallery, head: LinearHead, labels: Sequence[str]) -> Gallery:
        """Add heat to the items of a gallery of answers: for what was said, against what is true."""
        numbers = {label: i for i, label in enumerate(labels)}
        rows_of = {key: row for row, key in enumerate(self.order.dataset.keys)}
        drawn = []
        for one in gallery.pictures:
            if one.key not in rows_of or one.predicted not in numbers or self.order.around.should_stop():
                drawn.append(one)
                continue
            against = numbers[one.truth] if one.truth in numbers and one.truth != one.predicted else None
            drawn.append(
                self._warmed(one, rows_of[one.key], contrast(head.weight, numbers[one.predicted], against))
            )
        caption = f"{gallery.caption} {_LEGEND}" if any(one.pieces for one in drawn) else gallery.caption
        return replace(gallery, pictures=tuple(drawn), caption=caption)

    def _warmed(self, one: Picture, row: int, weights: Array) -> Picture:
        try:
            shown = self._shown(row, weights)
        except DecodeError:
            return one
        return replace(one, heat_base64=shown.jpeg_base64, pieces=shown.pieces)

    def pieces(self, row: int, weights: Array) -> tuple[Piece, ...]:
        """Return an input piece by piece with the heat of each for ``weights [d]``; nothing where it is gone."""
        try:
            return self._shown(row, weights).pieces
        except DecodeError:
            return ()

    def _shown(self, row: int, weights: Array) -> Shown:
        modality: Modality = self.order.modality
        spec = self.order.trunk.preprocessing
        encoded = self.order.dataset.read(row)
        tensor = modality.decode(encoded, spec).tensor
        parts = modality.parts(tensor)
        assert parts is not None
        heat = warmth(lambda batch: self.engine.run(batch)["features"] @ weights, tensor, parts)
        return modality.overlay(encoded, heat, spec, THUMBNAIL_PX)
