"""Limited-memory BFGS for smooth convex functions (Nocedal and Wright, *Numerical Optimization*, algorithm 7.5).

SciPy's L-BFGS-B spends more time on bounds that nobody sets than the probe spends on its products, and
importing it takes longer than a probe of a few hundred rows. It knows nothing of what is minimised.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import numpy as np

from topwork.contracts import Array

__all__ = ["minimise"]

_SUFFICIENT = 1e-4  # of the decrease that the slope promises
_SHORTEST = 2.0**-30


def minimise(
    objective: Callable[[Array], tuple[float, Array]],
    start: Array,
    *,
    max_steps: int = 300,
    tolerance: float = 1e-8,
    memory: int = 12,
) -> Array:
    """Return a minimiser ``float64 [m]``.

    Parameters
    ----------
    objective
        Gives value and gradient ``[m]`` at a point; scaled so that a step of one along the negative gradient is
        of the right order.
    start
        ``[m]``.
    max_steps
        After which it stops wherever it is.
    tolerance
        It stops when a step lowers the value by less than this, relative to the value.
    memory
        Number of past steps that shape the next one.
    """
    x = np.asarray(start, dtype=np.float64)
    value, gradient = objective(x)
    past: deque[tuple[Array, Array, float]] = deque(maxlen=memory)
    for _ in range(max_steps):
        direction = -_scaled(gradient, past)
        slope = float(gradient @ direction)
        if slope >= 0:  # nothing goes down from here
            break
        step = 1.0
        lower, slopes = objective(x + direction)
        while not lower <= value + _SUFFICIENT * step * slope and step > _SHORTEST:
            step /= 2
            lower, slopes = objective(x + step * direction)
        if not lower <= value:
            break
        moved, bent = step * direction, slopes - gradient
        curvature = float(moved @ bent)
        if curvature > 1e-12 * float(bent @ bent):
            past.append((moved, bent, 1 / curvature))
        gained = value - lower
        x, value, gradient = x + moved, lower, slopes
        if gained <= tolerance * max(abs(value), 1e-12):
            break
    return x


def _scaled(gradient: Array, past: Iterable[tuple[Array, Array, float]]) -> Array:
    """Multiply a gradient by the inverse of the curvature that past steps have seen (the two-loop recursion)."""
    q, steps, used = gradient.copy(), list(past), []
    for moved, bent, weight in reversed(steps):
        used.append(weight * float(moved @ q))
        q -= used[-1] * bent
    if steps:
        moved, bent, weight = steps[-1]
        q /= weight * float(bent @ bent)
    for (moved, bent, weight), amount in zip(steps, reversed(used), strict=True):
        q += (amount - weight * float(bent @ q)) * moved
    return np.asarray(q)
