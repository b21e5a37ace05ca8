"""Scoring labelled data with a bundle: every row read and run, and which rows the bundle was fitted on.

It judges nothing: what the scores are worth is for the verbs that call it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from topwork.bundle.model import scores_output
from topwork.contracts import Array, Dataset
from topwork.errors import UsageError
from topwork.steps.options import Surroundings
from topwork.training.reading import Reading, Runner, read_features
from topwork.verbs.model import Model

__all__ = ["Scored", "fitted_on", "require_modality", "score"]


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What reading showed of every row of a data set, and its scores ``float32 [n, k]`` by target.

    The scores of a row that could not be read are zero.
    """

    reading: Reading
    scores: Mapping[str, Array]


def require_modality(model: Model, dataset: Dataset) -> None:
    """Refuse data of another modality than the bundle's.

    Raises
    ------
    UsageError
        The bundle takes something else than the data hold.
    """
    if dataset.modality != model.servable.modality.name:
        raise UsageError(
            f"The bundle takes {model.servable.modality.name}s; the data hold {dataset.modality}s."
        )


def score(model: Model, dataset: Dataset, around: Surroundings) -> Scored:
    """Read every row as the bundle reads its inputs, and run it."""
    servable = model.servable
    widths = {scores_output(name): one.n_outputs for name, one in servable.targets.items()}
    runner = Runner(lambda: servable.engine, widths)
    decode = partial(servable.modality.decode, preprocessing=servable.preprocessing)
    reading = read_features(dataset, decode, runner, n_threads=2, progress=around.progress)
    edges = np.cumsum(list(widths.values()))[:-1]
    parts = np.split(reading.features, edges, axis=1)
    return Scored(reading, dict(zip(servable.targets, parts, strict=True)))


def fitted_on(model: Model, reading: Reading) -> Array:
    """Tell of each row whether the bundle was fitted on its content, ``bool [n]``."""
    sides = model.servable.bundle.sides()
    return np.array([sides.get(one.content.hex()) in ("train", "valid") for one in reading.inspections], bool)
