"""How wide an interval around a prediction must be to hold the truth as often as was promised.

Split conformal prediction (Vovk, Gammerman and Shafer, *Algorithmic Learning in a Random World*, 2005; Lei et al.,
*Distribution-Free Predictive Inference for Regression*, 2018): of n errors of rows that a model did not see, the
⌈(n + 1) · level⌉-th smallest is exceeded by the error of a new row with a chance of 1 − level at most, whatever the
errors' distribution, as long as the rows are exchangeable. It knows no model and no unit.
"""

from __future__ import annotations

from math import ceil

import numpy as np

from topwork.contracts import Array
from topwork.errors import UsageError

__all__ = ["half_width"]

_ROUNDING = 1e-9
"""So that 0.9 · 20 counts as 18 and not as a hair more."""


def half_width(errors: Array, level: float) -> float | None:
    """Return how far on either side of a prediction its interval must reach.

    Parameters
    ----------
    errors
        ``float [n]`` of rows that were held out; their signs do not matter.
    level
        The share of new rows whose truth is to lie inside, between 0 and 1.

    Returns
    -------
    None where there are too few rows for such a level: no finite interval is wide enough then.

    Raises
    ------
    UsageError
        The level is not between 0 and 1, or an error is no number.
    """
    if not 0 < level < 1 or not np.isfinite(errors).all():
        raise UsageError(
            f"Got the level {level} and {int((~np.isfinite(errors)).sum())} errors that are no numbers; expected a "
            "share between 0 and 1, and finite errors.",
            next_step="Pass the errors of rows that were held out, without those that have no truth.",
        )
    place = ceil((len(errors) + 1) * level - _ROUNDING)
    return float(np.sort(np.abs(errors))[place - 1]) if place <= len(errors) else None
