"""What is kept of the training data so that a server can later tell whether its inputs still look like them.

Arrays in, named arrays out; it knows no file and no label name.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from topwork.contracts import Array, Goal
from topwork.training.moments import CHUNK_ROWS, moments

__all__ = ["describe"]

_QUANTILES = np.linspace(0, 1, 101)


def describe(features: Array, goals: Mapping[str, Goal], held_out: Mapping[str, Array]) -> dict[str, Array]:
    """Return the training statistics.

    Returns
    -------
    dict
        ``features.mean`` and ``features.deviation`` ``float32 [d]``; ``features.distance`` ``float32 [101]``,
        percentiles of the root mean square of the standardised features of a row; and for each target
        ``NAME.class_counts int64 [k]`` and ``NAME.confidence float32 [101]``, percentiles of the highest
        probability on rows that were held out.
    """
    mean, deviation = moments(features)
    found: dict[str, Array] = {
        "features.mean": mean,
        "features.deviation": deviation,
        "features.distance": _percentiles(_distances(features, mean, deviation)),
    }
    for name, goal in goals.items():
        known = goal.truth[goal.truth >= 0]
        found[f"{name}.class_counts"] = np.bincount(known, minlength=goal.n_outputs).astype(np.int64)
        found[f"{name}.confidence"] = _percentiles(_confidences(held_out[name]))
    return found


def _distances(features: Array, mean: Array, deviation: Array) -> Array:
    scale = np.where(deviation > 0, 1 / np.maximum(deviation, 1e-12), 0)
    chunks = (features[start : start + CHUNK_ROWS] for start in range(0, len(features), CHUNK_ROWS))
    return np.concatenate([np.sqrt((((chunk - mean) * scale) ** 2).mean(axis=1)) for chunk in chunks])


def _confidences(scores: Array) -> Array:
    known = scores[~np.isnan(scores[:, 0])]
    odds = np.exp(known - known.max(axis=1, keepdims=True)) if len(known) else np.ones((1, 1))
    return np.asarray(1 / odds.sum(axis=1))


def _percentiles(values: Array) -> Array:
    return np.quantile(values, _QUANTILES).astype(np.float32)
