"""The minimiser finds minima."""

from __future__ import annotations

import numpy as np
import pytest

from topwork.contracts import Array
from topwork.training.lbfgs import minimise


def test_a_quadratic_of_any_shape() -> None:
    rng = np.random.default_rng(0)
    curvature = np.geomspace(0.01, 1, 40)
    target = rng.normal(size=40)

    def objective(x: Array) -> tuple[float, Array]:
        gap = x - target
        return float(1 + 0.5 * (curvature * gap**2).sum()), curvature * gap

    assert minimise(objective, np.zeros(40), tolerance=1e-14) == pytest.approx(target, abs=1e-3)


def test_the_value_never_rises_and_the_start_stays_as_it_is() -> None:
    seen: list[float] = []

    def objective(x: Array) -> tuple[float, Array]:
        value = float(np.log(np.cosh(3 * x)).sum())
        return value, 3 * np.tanh(3 * x)

    start = np.array([5.0, -4.0, 0.1])
    found = minimise(objective, start)
    seen += [objective(start)[0], objective(found)[0]]
    assert seen[1] < 1e-6
    assert list(start) == [5.0, -4.0, 0.1]


def test_a_minimum_as_start_is_returned() -> None:
    assert list(minimise(lambda x: (float((x**2).sum()), 2 * x), np.zeros(3))) == [0, 0, 0]


def test_steps_are_bounded() -> None:
    calls = []

    def objective(x: Array) -> tuple[float, Array]:
        calls.append(x)
        scale = np.geomspace(1e-4, 1, len(x))
        return float((scale * x**4).sum()), 4 * scale * x**3

    minimise(objective, np.full(30, 2.0), max_steps=3)
    assert 3 < len(calls) < 60
