"""Where the model looks: heat maps over its mistakes and over typical examples of each class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from topwork.contracts import Array, Gallery, Graph, LinearHead
from topwork.engines.feature_maps import MAP, expose_feature_map
from topwork.errors import DecodeError
from topwork.evaluation.classification import softmax
from topwork.steps.order import Order, Rows
from topwork.steps.recording import THUMBNAIL_PX, pictured
from topwork.steps.transfer import Preparation
from topwork.training.heatmaps import contrast, heat

__all__ = ["Looker", "typical"]

_HEAT_PX = 64
_TYPICAL_PER_LABEL = 2
_MOST_LABELS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Looker:
    """Draws heat over inputs; `of` gives None for a network whose features are no mean of a map."""

    order: Order
    preparation: Preparation
    graph: Graph

    @classmethod
    def of(cls, order: Order, preparation: Preparation, graph: Graph) -> Looker | None:
        """Look into the trunk's graph for the map that its features are the mean of."""
        exposed = expose_feature_map(graph)
        return None if exposed is None else cls(order, preparation, exposed)

    def maps(self, rows: Sequence[int]) -> Iterator[tuple[int, Array]]:
        """Yield each row with its feature map ``[c, h, w]``; one that cannot be read any more is left out."""
        engine = self.preparation.engine_on(self.graph)
        spec = self.order.trunk.preprocessing
        for row in rows:
            try:
                tensor = self.order.modality.decode(self.order.dataset.read(row), spec).tensor
            except DecodeError:
                continue
            yield row, engine.run(tensor[None])[MAP][0]

    def heats(
        self, rows: Sequence[int], head: LinearHead, wanted: Sequence[tuple[int, int | None]]
    ) -> list[str]:
        """Return a JPEG in base64 for each row: what spoke for class ``wanted[0]``, against ``wanted[1]``.

        A row that cannot be read any more gives an empty text.
        """
        engine = self.preparation.engine_on(self.graph)
        spec = self.order.trunk.preprocessing
        found = []
        for row, (said, against) in zip(rows, wanted, strict=True):
            try:
                encoded = self.order.dataset.read(int(row))
                tensor = self.order.modality.decode(encoded, spec).tensor
                feature_map = engine.run(tensor[None])[MAP][0]
                warm = heat(feature_map, contrast(head.weight, said, against), _HEAT_PX)
                drawn = self.order.modality.overlay(encoded, warm, spec, THUMBNAIL_PX)
                found.append(drawn.jpeg_base64)
            except DecodeError:
                found.append("")
        return found

    def over(self, gallery: Gallery, head: LinearHead, labels: Sequence[str]) -> Gallery:
        """Add heat to the pictures of a gallery of answers: for what was said, against what is true."""
        numbers = {label: i for i, label in enumerate(labels)}
        rows_of = {key: row for row, key in enumerate(self.order.dataset.keys)}
        shown = [one for one in gallery.pictures if one.key in rows_of and one.predicted in numbers]
        wanted = [
            (
                numbers[one.predicted],
                numbers[one.truth] if one.truth in numbers and one.truth != one.predicted else None,
            )
            for one in shown
        ]
        drawn = dict(
            zip(
                (one.key for one in shown),
                self.heats([rows_of[one.key] for one in shown], head, wanted),
                strict=True,
            )
        )
        pictures = tuple(replace(one, heat_base64=drawn.get(one.key, "")) for one in gallery.pictures)
        return replace(gallery, pictures=pictures)


def typical(order: Order, rows: Rows, name: str, scores: Array) -> Gallery | None:
    """Show the test rows of each class that the model is surest of, and right about."""
    truth, labels = rows.truth[name][rows.split.test], rows.targets[name].labels
    probabilities = softmax(scores)
    predicted = probabilities.argmax(axis=1)
    pictures = []
    for label in range(min(len(labels), _MOST_LABELS)):
        right = np.flatnonzero((truth == label) & (predicted == label))
        for place in right[np.argsort(-probabilities[right, label], kind="stable")][:_TYPICAL_PER_LABEL]:
            row = int(rows.split.test[place])
            sure = float(probabilities[place, label])
            pictures.append(
                replace(
                    pictured(order.dataset, row, order.modality),
                    caption=f"{labels[label]} ({sure:.0%})",
                    truth=labels[label],
                    predicted=labels[label],
                    probability=sure,
                )
            )
    if not pictures or not order.options.keep_training_data:
        return None
    return Gallery(
        "Typical of each class", tuple(pictures), "Test rows that it is right about and surest of."
    )
