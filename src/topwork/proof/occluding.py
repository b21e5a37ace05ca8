"""What of an input drives the answer, found by taking its parts away one at a time (Zeiler & Fergus 2014).

For inputs whose parts can be gone, as a word of a text can. A part is as warm as the score falls without it. It needs
no more than the network's answers, and knows no network and no words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from topwork.contracts import Array, Engine, Gallery, Graph, LinearHead, Modality, Picture, Shown
from topwork.errors import DecodeError
from topwork.steps.order import Order
from topwork.steps.recording import THUMBNAIL_PX
from topwork.steps.transfer import Preparation
from topwork.training.heatmaps import contrast

__all__ = ["Occluder", "warmth"]

_BATCH = 16
_LEGEND = "What is underlined spoke for the answer, what is dotted against it: the score falls, or rises, without it."


def warmth(engine: Engine, tensor: Array, parts: Array, row: Array) -> Array:
    """Return by how much a score falls without each part of an input.

    Parameters
    ----------
    parts
        ``bool [m, ...]`` over the places of ``tensor``.
    row
        Weights ``[d]`` of the score, as `contrast` gives them.

    Returns
    -------
    ``float32 [...]`` over the places of the tensor, the largest of them 1 or -1: above 0 where what is there spoke for
    the score, below where against.
    """
    without = np.where(parts, 0, tensor[None]).astype(tensor.dtype)
    whole = engine.run(tensor[None])["features"][0] @ row
    told = [
        engine.run(without[start : start + _BATCH])["features"] @ row
        for start in range(0, len(without), _BATCH)
    ]
    falls = whole - np.concatenate(told)
    places = np.zeros(tensor.shape, np.float32)
    for part, fall in zip(parts, falls, strict=True):
        places[part] = fall / max(1, int(part.sum()))
    most = float(np.abs(places).max())
    return places / most if most > 0 else places


@dataclass(frozen=True, slots=True, eq=False)
class Occluder:
    """Draws heat over inputs; `of` gives None for a modality whose inputs have no parts to take away."""

    order: Order
    engine: Engine

    @classmethod
    def of(cls, order: Order, preparation: Preparation, graph: Graph) -> Occluder | None:
        """Start an engine on the trunk as it is now."""
        example = order.modality.synthetic(1, seed=0)[0]
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
        modality: Modality = self.order.modality
        spec = self.order.trunk.preprocessing
        try:
            encoded = self.order.dataset.read(row)
            tensor = modality.decode(encoded, spec).tensor
            parts = modality.parts(tensor)
            assert parts is not None
            shown: Shown = modality.overlay(
                encoded, warmth(self.engine, tensor, parts, weights), spec, THUMBNAIL_PX
            )
        except DecodeError:
            return one
        return replace(one, heat_base64=shown.jpeg_base64, pieces=shown.pieces)
