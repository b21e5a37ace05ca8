"""Bounds on a proportion and on a quantile that hold at every moment at once, however often somebody looks.

A usual interval is wrong once in twenty looks; who looks after every request and stops when it suits is nearly always
wrong. These bounds come from a likelihood ratio mixed over Jeffreys' prior, which is a martingale under the truth:
Ville's inequality (1939) says that it ever exceeds 1/α with a probability of at most α. Sources: Robbins, Ann. Math.
Stat. 41 (1970) 1397; Howard, Ramdas, McAuliffe & Sekhon, Ann. Stat. 49 (2021) 1055; of quantiles Howard & Ramdas,
Bernoulli 28 (2022) 1704. It knows no server.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, lgamma, log

__all__ = ["proportion_bounds", "quantile_ranks"]

PRIOR = 0.5
HALVINGS = 50
"""Of an interval within 0 and 1; further ones are below what a double can tell."""


def proportion_bounds(successes: int, n: int, alpha: float) -> tuple[float, float]:
    """Return bounds that hold the proportion after every number of trials, with a probability of at least 1 - alpha.

    Parameters
    ----------
    successes, n
        Counts, ``0 <= successes <= n``.
    alpha
        Between 0 and 1.

    Returns
    -------
    tuple
        Lower and upper bound; 0 and 1 where ``n`` is 0.
    """
    if n == 0:
        return 0.0, 1.0
    most, share = log(1 / alpha), successes / n

    def outside(p: float) -> bool:
        return _evidence(successes, n, p) >= most

    return _edge(outside, 0.0, share), _edge(outside, 1.0, share)


def _edge(outside: Callable[[float], bool], far: float, near: float) -> float:
    """Return where between two points the bounds end; ``near`` is within them."""
    if far == near or not outside(far):
        return far
    for _ in range(HALVINGS):
        middle = (far + near) / 2
        far, near = (middle, near) if outside(middle) else (far, middle)
    return far


def quantile_ranks(p: float, n: int, alpha: float) -> tuple[int, int]:
    """Return ranks of which the values enclose the ``p``-quantile after every number of values.

    Parameters
    ----------
    p
        Which quantile; strictly between 0 and 1.
    n
        How many values there are.
    alpha
        Between 0 and 1.

    Returns
    -------
    tuple
        Ranks from 1 on, in ascending order: it is no less than the value of the first and no more than that of the
        second. 0, and n + 1, where nothing is known on that side.
    """
    if n == 0:
        return 0, 1
    most, middle = log(1 / alpha), min(n, max(0, round(n * p)))
    low = _first(lambda k: _evidence(k, n, p) < most, 0, middle)
    high = _first(lambda k: _evidence(k, n, p) >= most, middle, n + 1)
    return low, high


def _first(holds: Callable[[int], bool], low: int, high: int) -> int:
    """Return the first whole number for which something holds that then holds up to ``high``, where it does."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _evidence(successes: int, n: int, p: float) -> float:
    """Return the logarithm of the mixed likelihood over that of ``p``; convex in ``successes`` and in ``p``."""
    failures = n - successes
    if (p <= 0.0 and successes) or (p >= 1.0 and failures):
        return inf
    plain = (successes * log(p) if successes else 0.0) + (failures * log(1 - p) if failures else 0.0)
    mixed = _log_beta(PRIOR + successes, PRIOR + failures) - _log_beta(PRIOR, PRIOR)
    return mixed - plain


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
