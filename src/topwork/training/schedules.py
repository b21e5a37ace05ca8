"""How learning rates go up and down, as pure functions of the share of the work that is done.

They know no optimiser. Everything is relative: 1 is the peak.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, pi, sqrt

__all__ = ["averaging", "discriminative", "exponential", "one_cycle", "stage_rates", "stepped"]

_LOWEST = 0.01


def one_cycle(done: float, *, warmup: float = 0.2) -> float:
    """Return the learning rate's share of its peak when ``done`` (0 to 1) of the steps are behind.

    Up and down along half cosines: the one-cycle policy of Smith, *A disciplined approach to neural network
    hyper-parameters*, arXiv 1803.09820, without its third phase.
    """
    if done < warmup:
        return _LOWEST + (1 - _LOWEST) * (1 - cos(pi * done / warmup)) / 2
    return _LOWEST + (1 - _LOWEST) * (1 + cos(pi * (done - warmup) / (1 - warmup))) / 2


def stepped(step: int, milestones: Sequence[int]) -> float:
    """Return the learning rate's share of its peak at ``step`` (from 0): up along a line, then down by tenths.

    Parameters
    ----------
    milestones
        The step at which the peak is reached, and those after which the rate falls to a tenth of what it was.

    This is the course of Kolesnikov et al., *Big Transfer*, arXiv 1912.11370; at a milestone itself the rate is still
    the one before it, as in the authors' program.
    """
    warm, *falls = milestones
    if step < warm:
        return step / warm
    return 0.1 ** sum(step > one for one in falls)


def exponential(done: float, lowest: float, highest: float) -> float:
    """Return the rate of a sweep when ``done`` (0 to 1) of it is behind: by an equal factor at every step.

    Smith, *Cyclical Learning Rates for Training Neural Networks*, arXiv 1506.01186, section 3.3, sweeps along a line;
    along an exponential each power of ten has as many steps as any other.
    """
    return float(lowest * (highest / lowest) ** done)


def stage_rates(n_stages: int, lowest: float, highest: float) -> tuple[float, ...]:
    """Return the peak rate of each stage from the input up, growing by a constant factor.

    Lower stages hold what every picture needs and move less: discriminative fine-tuning, Howard and Ruder,
    arXiv 1801.06146, section 3.2. A network of one stage gets the geometric middle, for it is low and high at once.
    """
    if n_stages == 1:
        return (sqrt(lowest * highest),)
    factor = (highest / lowest) ** (1 / (n_stages - 1))
    return tuple(lowest * factor**i for i in range(n_stages))


def discriminative(n_stages: int, highest: float, factor: float) -> tuple[float, ...]:
    """Return the peak rate of each stage from the input up, each ``factor`` times that of the one below it.

    Howard and Ruder, arXiv 1801.06146, section 3.2, who took 2.6.
    """
    return tuple(highest / factor**below for below in reversed(range(n_stages)))


def averaging(step: int, decay: float) -> float:
    """Return how much of the moving average stays at ``step`` (from 0): little at first, ``decay`` in the end."""
    return min(decay, (1 + step) / (10 + step))
