"""Quantiles of the chi-square, F and t distributions, as intervals of small samples need them.

It knows no metric and no interval. The distribution functions are the textbook series and continued fraction
(Abramowitz & Stegun 1964, 6.5.29 and 26.5.8), their inverses are found by bisection.
"""

from __future__ import annotations

from math import exp, lgamma, log, log1p, sqrt
from typing import TYPE_CHECKING

from topwork.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["chi_square_quantile", "chi_square_share", "f_quantile", "t_quantile"]

_STEPS = 200
"""Halvings of an interval, far more than a float has bits."""

_TERMS_AT_MOST = 10_000
"""Terms of a series; it converges in about the root of the degrees of freedom."""

_TINY = 1e-300


def chi_square_quantile(share: float, freedom: float) -> float:
    """Return the value below which a chi-square variable of ``freedom`` degrees lies with chance ``share``.

    Raises
    ------
    UsageError
        ``share`` is not between 0 and 1, or ``freedom`` is not positive.
    """
    _check(share, freedom)
    return _inverse(lambda x: _gamma_share(freedom / 2, x / 2), share)


def chi_square_share(value: float, freedom: float) -> float:
    """Return the chance that a chi-square variable of ``freedom`` degrees lies below ``value``.

    Raises
    ------
    UsageError
        ``freedom`` is not positive.
    """
    _check(0.5, freedom)
    return _gamma_share(freedom / 2, value / 2)


def f_quantile(share: float, above: float, below: float) -> float:
    """Return the quantile of F with ``above`` and ``below`` degrees of freedom.

    Raises
    ------
    UsageError
        ``share`` is not between 0 and 1, or the degrees of freedom are not positive.
    """
    _check(share, min(above, below))
    return _inverse(lambda x: _beta_share(above / 2, below / 2, above * x / (above * x + below)), share)


def t_quantile(share: float, freedom: float) -> float:
    """Return the quantile of Student's t, whose square is F with 1 and ``freedom`` degrees.

    Raises
    ------
    UsageError
        ``share`` is not between 0 and 1, or ``freedom`` is not positive.
    """
    _check(share, freedom)
    if share == 0.5:
        return 0.0
    size = sqrt(f_quantile(abs(2 * share - 1), 1, freedom))
    return size if share > 0.5 else -size


def _inverse(rising: Callable[[float], float], share: float) -> float:
    """Return where a function that rises from 0 to 1 over the positive numbers reaches ``share``."""
    low, high = 0.0, 1.0
    while rising(high) < share:
        low, high = high, 2 * high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < share else (low, middle)
    return (low + high) / 2


def _gamma_share(a: float, x: float) -> float:
    """Return the regularised lower incomplete gamma function, by its series."""
    if x <= 0:
        return 0.0
    term = total = 1 / a
    for i in range(1, _TERMS_AT_MOST):
        term *= x / (a + i)
        total += term
        if term < total * 1e-16:
            break
    return min(1.0, exp(log(total) + a * log(x) - x - lgamma(a)))


def _beta_share(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function; the fraction converges fast below the mean."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = exp(a * log(x) + b * log1p(-x) + lgamma(a + b) - lgamma(a) - lgamma(b))
    if x < (a + 1) / (a + b + 2):
        return front * _beta_fraction(a, b, x) / a
    return 1 - front * _beta_fraction(b, a, 1 - x) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Evaluate the continued fraction of the incomplete beta function by Lentz's method."""
    upper, lower = 1.0, 1 / (_kept(1 - (a + b) * x / (a + 1)))
    value = lower
    for m in range(1, _TERMS_AT_MOST):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for factor in (even, odd):
            lower = 1 / _kept(1 + factor * lower)
            upper = _kept(1 + factor / upper)
            change = lower * upper
            value *= change
        if abs(change - 1) < 1e-15:
            break
    return value


def _kept(x: float) -> float:
    """Keep a denominator away from 0."""
    return x if abs(x) > _TINY else _TINY


def _check(share: float, freedom: float) -> None:
    if not (0 < share < 1 and freedom > 0):
        raise UsageError(
            f"Got the share {share} and {freedom} degrees of freedom; expected 0 to 1, and more than 0.",
            next_step="Pass at least two values to anything that measures a spread.",
        )
