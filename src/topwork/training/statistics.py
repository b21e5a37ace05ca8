"""What is kept of the training data so that a server can later tell whether its inputs still look like them.

Arrays in, named arrays out; it knows no file and no label name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from topwork.contracts import Array, Goal, Link, known_rows
from topwork.training.moments import CHUNK_ROWS, moments

__all__ = ["describe", "seen_truth"]

_QUANTILES = np.linspace(0, 1, 101)


def describe(features: Array, goals: Mapping[str, Goal], held_out: Mapping[str, Array]) -> dict[str, Array]:
    """Return the training statistics.

    Returns
    -------
    dict
        ``features.mean`` and ``features.deviation`` ``float32 [d]``; ``features.distance`` ``float32 [101]``,
        percentiles of the root mean square of the standardised features of a row; and for each target of classes
        ``NAME.class_counts int64 [k]`` and ``NAME.confidence float32 [101]``, percentiles of the highest probability
        on rows that were held out; for each target of numbers ``NAME.values float32 [101]``, percentiles of the
        truth, and ``NAME.errors float32 [101]``, those of the errors of held-out rows; for each target of several
        labels a row ``NAME.label_counts int64 [k + 1]``, rows with each label and all rows; of ordered classes only
        ``NAME.class_counts``; of times ``NAME.event_counts int64 [2]``, rows without and with an event, and
        ``NAME.times float32 [101, 2]``, percentiles of the times of each.
    """
    mean, deviation = moments(features)
    found: dict[str, Array] = {
        "features.mean": mean,
        "features.deviation": deviation,
        "features.distance": _percentiles(_distances(features, mean, deviation)),
    }
    for name, goal in goals.items():
        found |= {f"{name}.{what}": told for what, told in _ABOUT[goal.link](goal, held_out[name]).items()}
    return found


def seen_truth(statistics: Mapping[str, Array], target: str) -> Array:
    """Return truth that is distributed as that of the training rows was, encoded as it was."""
    if (counts := statistics.get(f"{target}.class_counts")) is not None:
        return np.repeat(np.arange(len(counts)), counts)
    if (n_events := statistics.get(f"{target}.event_counts")) is not None:
        return _seen_times(statistics[f"{target}.times"], n_events)
    if (counts := statistics.get(f"{target}.label_counts")) is not None:
        # Labels that go together cannot be told from counts; each label's share is as it was.
        return (np.arange(counts[-1])[:, None] < counts[:-1]).astype(np.int8)
    return np.asarray(statistics[f"{target}.values"], np.float64)


def _of_classes(goal: Goal, held_out: Array) -> dict[str, Array]:
    counts = np.bincount(goal.truth[known_rows(goal.truth)], minlength=goal.n_outputs)
    return {"class_counts": counts.astype(np.int64), "confidence": _percentiles(_confidences(held_out))}


def _of_numbers(goal: Goal, held_out: Array) -> dict[str, Array]:
    known = known_rows(goal.truth)
    errors = (held_out[:, 0] - goal.truth)[known & ~np.isnan(held_out[:, 0])]
    return {
        "values": _percentiles(goal.truth[known]),
        "errors": _percentiles(errors if len(errors) else np.zeros(1)),
    }


def _of_ranks(goal: Goal, held_out: Array) -> dict[str, Array]:
    del held_out
    counts = np.bincount(goal.truth[known_rows(goal.truth)], minlength=goal.n_outputs + 1)
    return {"class_counts": counts.astype(np.int64)}


def _of_label_sets(goal: Goal, held_out: Array) -> dict[str, Array]:
    del held_out
    seen = goal.truth[known_rows(goal.truth)]
    return {"label_counts": np.append((seen > 0).sum(axis=0), len(seen)).astype(np.int64)}


def _of_times(goal: Goal, held_out: Array) -> dict[str, Array]:
    del held_out
    seen = goal.truth[known_rows(goal.truth)]
    each = [seen[seen[:, 1] == event, 0] for event in (0, 1)]
    times = [_percentiles(one if len(one) else np.zeros(1)) for one in each]
    return {
        "event_counts": np.array([len(one) for one in each], np.int64),
        "times": np.stack(times, axis=1).astype(np.float32),
    }


def _seen_times(times: Array, n_events: Array) -> Array:
    """Return as many times without and with an event as there were, spread over their percentiles."""
    parts = []
    for event, n in enumerate(n_events.tolist()):
        spread = np.interp(np.linspace(0, 1, n), _QUANTILES, times[:, event]) if n else np.zeros(0)
        parts.append(np.stack([spread, np.full(n, float(event))], axis=1))
    return np.concatenate(parts)


_ABOUT: Final[Mapping[Link, Callable[[Goal, Array], dict[str, Array]]]] = MappingProxyType(
    {
        "softmax": _of_classes,
        "identity": _of_numbers,
        "sigmoid": _of_label_sets,
        "cumulative": _of_ranks,
        "hazard": _of_times,
    }
)


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
