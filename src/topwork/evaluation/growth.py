"""How an error falls with the number of examples, and what twice as many would bring.

The curve is the piecewise power law of Jain et al. (2023, arXiv 2303.01598): on the log-log scale a parabola
up to a break and a straight line after it, which meet with one slope; few examples bend a curve, many do not.
To it comes a floor that more examples do not break through. No single curve is trusted: all curves of a grid
are weighted by how well they explain what was seen, and the range is what they say together. It knows neither
the model nor what the error counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from topwork.contracts import Array, Estimate
from topwork.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LearningCurve", "grow", "one_minus"]

_SLOPES = np.linspace(0.0, 1.5, 31)
"""How fast the error above the floor falls after the break: with this power of the number of examples."""

_USUAL_SLOPE = 0.7
"""Steeper ones are believed less and less: the width of half a normal distribution over the slopes."""

_FLOORS = {0.0: 4.0, 0.25: 2.0, 0.5: 2.0, 0.75: 1.0, 0.9: 1.0}
"""The share of the present error that no number of examples removes, and how much each is believed in."""

_BENDS = np.array([-0.4, -0.2, -0.1, 0.1, 0.2, 0.4])
"""The parabola's curvature before the break: below 0 where the fall sets in late."""

_LEVELS = np.linspace(-4.0, 4.0, 33)
"""The present error around the one that was seen, on the log scale, in units of what it is unsure by."""

_MISFIT = 0.03
"""How far a real curve strays from any of these, as a share of the error."""

_PRIOR_FREEDOM = 4
"""The noise of a run is taken for a test set's binomial noise, with the weight of this many runs."""

_DRAWS = 4000


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """The error at sizes up to twice the largest one seen, and the likeliest single curve behind it.

    Attributes
    ----------
    sizes
        ``float [p]``, ascending; the last is twice the largest size that was seen.
    errors
        The error at each, with its 95 % range for a single model on fresh rows like those tested.
    slope
        Power of the number of examples with which the error above the floor falls after the break.
    floor
        The error that more examples do not remove.
    break_at
        Size where the parabola ends; None for a plain power law.
    """

    sizes: tuple[float, ...]
    errors: tuple[Estimate, ...]
    slope: float
    floor: float
    break_at: float | None


@dataclass(frozen=True, slots=True)
class _Family:
    """Curves by the thousand; each field is ``float [c]``, sizes are logarithms relative to the largest."""

    level: Array
    slope: Array
    floor: Array
    bend: Array
    turn: Array
    prior: Array

    def at(self, x: Array) -> Array:
        """Return the errors ``[c, p]`` at the log sizes ``x [p]``; 0 is the largest size that was seen."""
        before = np.minimum(x - self.turn[:, None], 0.0)
        fall = -self.slope[:, None] * x + self.bend[:, None] * before**2
        floor = self.floor[:, None]
        return np.asarray(np.minimum(self.level[:, None] * (floor + (1 - floor) * np.exp(fall)), 1.0))

    def only(self, rows: Array) -> _Family:
        """Keep the curves with these numbers."""
        return _Family(
            *(v[rows] for v in (self.level, self.slope, self.floor, self.bend, self.turn, self.prior))
        )


def grow(sizes: Array, errors: Array, n_test: int, *, seed: int) -> tuple[LearningCurve, Estimate, Estimate]:
    """Fit a learning curve and tell the error at the largest size and at twice that size.

    Parameters
    ----------
    sizes
        ``int [m]``, numbers of training examples, ascending, three at least.
    errors
        ``float [m, r]``, 0 to 1: the error (1 minus the main metric) of r runs at each size, where a run's
        smaller sets are parts of its larger ones and all runs draw from the same examples.
    n_test
        How many rows every error was measured on.
    seed
        Of the draws.

    Returns
    -------
    curve, now, doubled
        ``now`` and ``doubled`` are errors with their 95 % ranges, for one model trained on so many examples
        and fresh rows like those tested: the doubt about the curve, the luck of a run and that of the test set.
        `one_minus` turns them into the metric.

    Raises
    ------
    UsageError
        The sizes are fewer than three or not ascending, or the errors do not fit to them.
    """
    sizes, errors = np.asarray(sizes, np.float64), np.asarray(errors, np.float64)
    _check(sizes, errors, n_test)
    noise = _noise(sizes, errors, n_test)
    family = _family(np.log(sizes / sizes[-1]), errors, noise, n_test)
    chances = _chances(family, sizes, errors, noise)
    at = np.concatenate(
        [np.geomspace(sizes[0], sizes[-1], 16), sizes[-1] * 2 ** np.array([0.25, 0.5, 0.75, 1])]
    )
    rng = np.random.default_rng(seed)
    drawn = family.only(rng.choice(len(chances), _DRAWS, p=chances)).at(np.log(at / sizes[-1]))
    ranges = tuple(_ranges(drawn, noise, n_test, rng))
    best = family.only(np.array([chances.argmax()]))
    curve = LearningCurve(
        sizes=tuple(at.tolist()),
        errors=ranges,
        slope=float(best.slope[0]),
        floor=float(best.floor[0] * best.level[0]),
        break_at=float(sizes[-1] * np.exp(best.turn[0])) if best.bend[0] else None,
    )
    return curve, ranges[15], ranges[-1]


def one_minus(estimate: Estimate) -> Estimate:
    """Turn the estimate of an error into that of the metric, or back."""
    return Estimate(1 - estimate.value, 1 - estimate.high, 1 - estimate.low)


def _noise(sizes: Array, errors: Array, n_test: int) -> float:
    """Return the variance of a run's error, as a multiple of ``error * (1 - error)``.

    Measured where runs were trained on different examples: two runs on a share f of all examples have about
    that share of each other's, so that they differ by 1 - f of what independent runs would.
    """
    apart = 1 - sizes / sizes[-1]
    mean = np.clip(errors.mean(axis=1), 0.5 / n_test, 1 - 0.5 / n_test)
    squares = ((errors - errors.mean(axis=1, keepdims=True)) ** 2).sum(axis=1) / (mean * (1 - mean))
    usable = apart > 0.2
    freedom = usable.sum() * (errors.shape[1] - 1)
    total = (squares[usable] / apart[usable]).sum() + _PRIOR_FREEDOM / n_test
    return float(total / (freedom + _PRIOR_FREEDOM))


def _family(x: Array, errors: Array, noise: float, n_test: int) -> _Family:
    """Lay out the grid of curves that never rise."""
    seen = float(np.clip(errors[-1].mean(), 0.5 / n_test, 1 - 0.5 / n_test))
    unsure = min(1.0, float(np.hypot(np.sqrt(noise * (1 - seen) / seen), _MISFIT)))
    shapes = [(0.0, 0.0, 0.5), *_bent(x)]
    levels = np.minimum(seen * np.exp(_LEVELS * unsure), 1.0)
    index = np.meshgrid(levels, _SLOPES, list(_FLOORS), np.arange(len(shapes)), indexing="ij")
    level, slope, floor = (v.ravel() for v in index[:3])
    bend, turn, prior = np.array(shapes)[index[3].ravel()].T
    believed = np.array(list(_FLOORS.values()))[np.searchsorted(list(_FLOORS), floor)]
    prior = prior * believed * np.exp(-((slope / _USUAL_SLOPE) ** 2) / 2)
    family = _Family(level, slope, floor, bend, turn, prior)
    # Before the break the slope is -slope + 2 bend (x - turn): it must not be above 0 at the smallest size.
    return family.only(np.flatnonzero(2 * bend * np.minimum(x[0] - turn, 0.0) <= slope))


def _bent(x: Array) -> Iterator[tuple[float, float, float]]:
    """Yield bend, break and prior weight of the shapes with a break; two sizes at least lie after it."""
    turns = x[1:-1]
    for turn in turns:
        for bend in _BENDS:
            yield float(bend), float(turn), 0.5 / (len(turns) * len(_BENDS))


def _chances(family: _Family, sizes: Array, errors: Array, noise: float) -> Array:
    """Return how likely each curve is, ``float [c]`` that adds up to 1.

    What the test set has in common at all sizes moves the curve as a whole and says nothing on its shape.
    """
    told = family.at(np.log(sizes / sizes[-1]))
    shared = sizes / sizes[-1]
    of_mean = noise * (shared + (1 - shared) / errors.shape[1])
    variance = np.maximum(of_mean * told * (1 - told) + (_MISFIT * told) ** 2, 1e-12)
    fit = -0.5 * ((errors.mean(axis=1) - told) ** 2 / variance + np.log(variance)).sum(axis=1)
    chances = np.exp(fit - fit.max()) * family.prior
    return np.asarray(chances / chances.sum())


def _ranges(drawn: Array, noise: float, n_test: int, rng: np.random.Generator) -> Iterator[Estimate]:
    """Yield the mean of the curves ``[draws, p]`` at each size, with the range of one model on fresh rows."""
    luck = rng.normal(size=(len(drawn), 1))
    for error in drawn.T:
        run = np.clip(error + np.sqrt(noise * error * (1 - error)) * luck[:, 0], 0, 1)
        # What a test set of so many rows with so many errors says of all rows, if nothing was known before.
        fresh = rng.beta(n_test * run + 1, n_test * (1 - run) + 1)
        low, high = np.quantile(fresh, [0.025, 0.975])
        value = float(error.mean())
        yield Estimate(value, min(value, float(low)), max(value, float(high)))


def _check(sizes: Array, errors: Array, n_test: int) -> None:
    if sizes.ndim != 1 or len(sizes) < 3 or sizes[0] <= 0 or not (np.diff(sizes) > 0).all():
        raise UsageError(
            f"Got the sizes {sizes.tolist()}; expected three or more numbers of examples, ascending.",
            next_step="Train on more parts of the data, such as 1/8, 1/4, 1/2 and all of it.",
        )
    if errors.ndim != 2 or len(errors) != len(sizes) or not errors.shape[1] or n_test < 1:
        raise UsageError(
            f"Got errors of shape {errors.shape} for {len(sizes)} sizes, on {n_test} test rows; "
            "expected [sizes, runs] and a row at least.",
            next_step="Measure every run at every size, on labelled rows.",
        )
    if not ((errors >= 0) & (errors <= 1)).all():
        raise UsageError(
            "Got errors that are not between 0 and 1; expected shares.",
            next_step="Pass 1 minus a metric that runs from 0 to 1.",
        )
