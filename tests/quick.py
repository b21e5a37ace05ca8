"""A fit as most tests want it: the probe alone, which takes a fraction of a second on the tiny trunk."""

from __future__ import annotations

from functools import partial

import topwork

__all__ = ["PROBE_WORDS", "fit_probe"]

PROBE_WORDS = ("--recipe", "probe", "--proof", "none")
"""The same for a command line."""

fit_probe = partial(topwork.fit, recipe="probe")
