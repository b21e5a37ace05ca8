"""The count of lines that know a kind of target."""

from __future__ import annotations

import sys

from markdown_blocks import ROOT

sys.path.append(str(ROOT))  # benchmarks are no part of the package

from benchmarks.cut import known_by

SOURCE = '''"""A text about survival."""

from topwork.survival import SURVIVAL

# survival in a comment
NAMES = {"survival": 1, "other": 2}


def survival_of(x: int) -> int:
    """Say survival."""
    return x + 1


def other(x: int) -> int:
    return x
'''


def test_lines_that_say_the_word_and_blocks_named_after_it_count() -> None:
    assert known_by(SOURCE, "survival") == 4


def test_nothing_counts_that_says_nothing() -> None:
    assert known_by(SOURCE, "ordinal") == 0
