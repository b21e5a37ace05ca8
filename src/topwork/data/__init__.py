"""Data: from a path to labelled inputs, what is wrong with them, and who is on which side."""

from __future__ import annotations

from topwork.data.check import Findings, examine, require_enough, require_possible
from topwork.data.reading import Layout, ReadOptions, read
from topwork.data.split import SplitOptions, make_folds, make_split

__all__ = [
    "Findings",
    "Layout",
    "ReadOptions",
    "SplitOptions",
    "examine",
    "make_folds",
    "make_split",
    "read",
    "require_enough",
    "require_possible",
]
