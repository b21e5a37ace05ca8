"""Training statistics: what they say, and what they cost."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from topwork.contracts import Goal
from topwork.training.moments import moments
from topwork.training.statistics import describe


def test_moments_are_those_of_numpy() -> None:
    features = (1000 + np.random.default_rng(0).normal(size=(9000, 5))).astype(np.float32)
    mean, deviation = moments(features)
    assert mean == pytest.approx(features.mean(axis=0, dtype=np.float64), rel=1e-6)
    assert deviation == pytest.approx(features.astype(np.float64).std(axis=0), rel=1e-5)


def test_statistics_describe_the_training_rows() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(3, 2, size=(1000, 40)).astype(np.float32)
    truth = np.array([0] * 600 + [1] * 390 + [-1] * 10)
    held_out = np.stack([np.full(1000, 2.0), np.zeros(1000)], axis=1)
    held_out[::2] = np.nan
    found = describe(features, {"label": Goal(truth, "softmax", 2)}, {"label": held_out})
    assert found["features.mean"] == pytest.approx(np.full(40, 3), abs=0.4)
    assert found["features.deviation"] == pytest.approx(np.full(40, 2), abs=0.3)
    assert list(found["label.class_counts"]) == [600, 390]
    assert found["label.confidence"] == pytest.approx(np.full(101, 1 / (1 + np.exp(-2))), rel=1e-5)
    distance = found["features.distance"]
    assert distance.shape == (101,)
    assert distance[50] == pytest.approx(1, abs=0.05)
    assert (np.diff(distance) >= 0).all()


def test_statistics_make_no_copy_of_the_features() -> None:
    features = np.random.default_rng(0).normal(size=(40_000, 64)).astype(np.float32)
    truth = np.zeros(40_000, dtype=np.int64)
    goals, held_out = {"a": Goal(truth, "softmax", 2)}, {"a": np.zeros((40_000, 2))}
    tracemalloc.start()
    describe(features, goals, held_out)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.8 * features.nbytes
