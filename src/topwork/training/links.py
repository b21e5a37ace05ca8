"""What a linear head needs for each way in which scores become predictions: fitting, holding out, calibrating.

A recipe asks `solver_of` for the solver of a goal's link and knows no more of it. A new link is one class, which stands
beside its arithmetic, a loss in `losses.py` and one in ``evaluation/links.py``. It knows no label and no unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Protocol

from topwork.contracts import Array, Fold, Goal, LinearHead, Link
from topwork.training.axes import Axes
from topwork.training.calibration import Calibration
from topwork.training.cox import HazardSolver
from topwork.training.probe import SoftmaxSolver, Solution
from topwork.training.ridge import IdentitySolver
from topwork.training.sigmoid import SigmoidSolver
from topwork.training.thresholds import CumulativeSolver

__all__ = ["Solver", "solver_of"]


class Solver(Protocol):
    """Linear heads of one link, on features of any kind."""

    def cross_validate(
        self, axes: Axes, goal: Goal, folds: Sequence[Fold], strength: float, start: Solution | None
    ) -> tuple[Array, Solution]:
        """Return held-out scores ``float64 [n, k]`` (NaN where no fold holds a row out) and where to go on from."""
        ...

    def loss(self, truth: Array, scores: Array) -> float:
        """Return what the scores cost on average; rows without truth or scores do not count."""
        ...

    def head(self, axes: Axes, goal: Goal, strength: float) -> LinearHead:
        """Fit a head on all rows that have a truth; it is not calibrated yet."""
        ...

    def finished_head(self, axes: Axes, goal: Goal, strength: float) -> LinearHead:
        """Fit a head that is calibrated by what is known beforehand, where no row is held out to do it on."""
        ...

    def calibrate(self, truth: Array, scores: Array) -> Calibration:
        """Fit a calibration on held-out scores ``[n, k]``."""
        ...

    def cross_calibrate(self, truth: Array, scores: Array, *, seed: int) -> Array:
        """Calibrate every row by what other rows say, ``float64 [n, k]``."""
        ...

    def blind_scores(self, goal: Goal) -> Array:
        """Return the scores ``float64 [k]`` of a model that ignores its input."""
        ...


_SOLVERS: Final[Mapping[Link, Solver]] = MappingProxyType(
    {
        "softmax": SoftmaxSolver(),
        "identity": IdentitySolver(),
        "sigmoid": SigmoidSolver(),
        "cumulative": CumulativeSolver(),
        "hazard": HazardSolver(),
    }
)


def solver_of(link: Link) -> Solver:
    """Return what fits linear heads of a link."""
    return _SOLVERS[link]
