"""How learning rates go up and down, as pure functions of the share of the work that is done.

They know no optimiser. Everything is relative: 1 is the peak.
"""

from __future__ import annotations

from math import cos, pi, sqrt

__all__ = ["averaging", "one_cycle", "stage_rates"]

_LOWEST = 0.01


def one_cycle(done: float, *, warmup: float = 0.2) -> float:
    """Return the learning rate's share of its peak when ``done`` (0 to 1) of the steps are behind.

    Up and down along half cosines: the one-cycle policy of Smith, *A disciplined approach to neural network
    hyper-parameters*, arXiv 1803.09820, without its third phase.
    """
    if done < warmup:
        return _LOWEST + (1 - _LOWEST) * (1 - cos(pi * done / warmup)) / 2
    return _LOWEST + (1 - _LOWEST) * (1 + cos(pi * (done - warmup) / (1 - warmup))) / 2


def stage_rates(n_stages: int, lowest: float, highest: float) -> tuple[float, ...]:
    """Return the peak rate of each stage from the input up, growing by a constant factor.

    Lower stages hold what every picture needs and move less: discriminative fine-tuning, Howard and Ruder,
    arXiv 1801.06146, section 3.2. A network of one stage gets the geometric middle, for it is low and high at once.
    """
    if n_stages == 1:
        return (sqrt(lowest * highest),)
    factor = (highest / lowest) ** (1 / (n_stages - 1))
    return tuple(lowest * factor**i for i in range(n_stages))


def averaging(step: int, decay: float) -> float:
    """Return how much of the moving average stays at ``step`` (from 0): little at first, ``decay`` in the end."""
    return min(decay, (1 + step) / (10 + step))
