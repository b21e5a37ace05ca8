"""`embed`: inputs in, the features of a pretrained network out; nothing is fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from topwork.contracts import Array, Modality
from topwork.data.memory import dataset_of, items_of, kind_of_items, rows_of
from topwork.engines.grafting import FEATURES
from topwork.engines.machine import survey
from topwork.errors import DataError
from topwork.inputs import modality
from topwork.steps.embedding import Embedder, open_embedder, unit_length
from topwork.steps.options import Surroundings
from topwork.training.reading import Reading, Runner, read_features
from topwork.trunks import DEFAULTS

__all__ = ["Embeddings", "embed"]


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """What a network sees in inputs.

    Attributes
    ----------
    vectors
        ``float32 [n, d]``: one row per input, in order; NaN where an input could not be read.
    problems
        Number of such an input to why it could not be read.
    trunk
        Name of the network.
    """

    vectors: Array
    problems: Mapping[int, str]
    trunk: str


def embed(
    inputs: Sequence[object] | Array,
    trunk: str | None = None,
    *,
    normalize: bool = False,
    around: Surroundings | None = None,
) -> Embeddings:
    """Turn inputs into the features of a pretrained network, for a search, a clustering or a model of one's own.

    Every call opens the network and proves it, so give all inputs at once.

    Parameters
    ----------
    inputs
        Texts as strings, photos as paths, PIL images or arrays, files as `Path`, or rows of numbers.
    trunk
        As for `fit`, or the path of a bundle, whose network is taken without its heads; by default the one for the kind
        of the inputs.
    normalize
        Whether vectors are brought to length 1 (L2), so that the product of two is the cosine of their angle.

    Raises
    ------
    DataError
        There are no inputs, or nothing says of what kind they are.
    UsageError
        There is no such trunk, or it does not take the inputs.
    WeightsError
        Its weights cannot be had.
    ProofError
        It does not give what it should.
    """
    around = around or Surroundings()
    items, kind = _items(inputs)
    name = trunk or DEFAULTS[_known(kind, items).name]
    embedder = open_embedder(name, around, normalized=normalize)
    embedder.prove()
    reading = _read(items, embedder, around)
    problems = {row: one.problem for row, one in enumerate(reading.inspections) if one.problem is not None}
    vectors = unit_length(reading.features) if normalize else reading.features
    vectors[list(problems)] = np.nan
    return Embeddings(vectors, problems, embedder.name)


def _items(inputs: Sequence[object] | Array) -> tuple[Sequence[object] | Array, Modality | None]:
    """Return inputs one by one, and their kind where that is sure: rows of numbers are vectors."""
    if (alone := items_of(inputs)) is not None:
        return alone, None
    if (rows := rows_of(inputs)) is not None:
        return rows, modality("vector")
    raise DataError(
        f"Received {type(inputs).__name__} that is no list of inputs, or an empty one.",
        next_step="Give a list, also of a single input.",
    )


def _known(kind: Modality | None, items: Sequence[object] | Array) -> Modality:
    return kind_of_items(list(items)) if kind is None else kind


def _read(items: Sequence[object] | Array, embedder: Embedder, around: Surroundings) -> Reading:
    network = embedder.network
    runner = Runner(lambda: network.engine, {FEATURES: embedder.n_features})
    decode = partial(network.modality.decode, preprocessing=network.preprocessing)
    source = dataset_of(items, {}, network.modality)
    return read_features(source, decode, runner, n_threads=survey().n_cores, progress=around.progress)
