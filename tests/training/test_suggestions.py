"""Readings of a sweep's curve, on curves whose answer is known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from topwork.errors import DataError
from topwork.training.suggestions import SUGGESTIONS, minimum, slide, steep, suggest, valley

RATES = np.logspace(-7, 1, 81)
"""Ten to each power of ten: the rate of point i is 10^(-7 + i / 10)."""


def rate(i: int) -> float:
    return float(10 ** (-7 + i / 10))


def test_the_valley_is_the_longest_falling_run_and_its_middle_is_suggested() -> None:
    """Flat to point 20, down to point 50, up again: 31 points that fall end at 50; 19 + 10 + 5 is 34."""
    points = np.arange(81)
    losses = np.where(
        points <= 20, 2.0, np.where(points <= 50, 2 - (points - 20) / 30, 1 + (points - 50) / 10)
    )
    assert valley(RATES, losses) == pytest.approx(rate(34))


def test_the_valley_of_a_curve_that_only_falls_begins_with_it() -> None:
    assert valley(RATES[:9], np.linspace(2, 1, 9)) == pytest.approx(rate(3))


def test_a_bump_does_not_end_a_valley() -> None:
    """Without point 35, which sticks out, the run has 30 points: from 20 by 10 and 5 to 35."""
    points = np.arange(81)
    losses = np.where(
        points <= 20, 2.0, np.where(points <= 50, 2 - (points - 20) / 30, 1 + (points - 50) / 10)
    )
    losses[35] = 3.0
    assert valley(RATES, losses) == pytest.approx(rate(35))


def test_the_minimum_is_taken_by_a_tenth() -> None:
    losses = (np.arange(81) - 60.0) ** 2
    assert minimum(RATES, losses) == pytest.approx(rate(50))


def test_steep_is_where_the_loss_falls_fastest() -> None:
    losses = np.full(81, 2.0)
    losses[41:] = 1.0
    losses[70:] = 0.5
    assert steep(RATES, losses) == pytest.approx(rate(40))


def test_slide_goes_down_until_both_ends_are_even() -> None:
    """Even to point 60, then one more for each point: the slopes differ until the right end is at 59 or below."""
    points = np.arange(81)
    losses = np.where(points <= 60, 1.0, points - 59.0)
    # at 60 the slope is (2 - 1) / 2, at 59 it is 0: the last place where they differ has its right end at 60
    assert np.gradient(losses)[[59, 60]].tolist() == [0.0, 0.5]
    # between 75 and 60 the slopes are 1 and 0.5, between 80 and 65 they are even at once
    assert slide(RATES, losses) == pytest.approx(rate(65))
    losses[80] = 40.0
    assert slide(RATES, losses) == pytest.approx(rate(64))


def test_slide_takes_what_there_is_of_a_short_curve() -> None:
    assert slide(RATES[:6], np.array([2.0, 1.9, 1.7, 1.8, 3, 9])) == pytest.approx(rate(0))


def test_every_suggestion_leaves_out_both_ends_of_the_curve() -> None:
    losses = 2 - np.arange(81) / 100
    losses[:8] = 0.0
    losses[76:] = -50.0
    found = suggest(RATES, losses)
    assert set(found) == set(SUGGESTIONS) == {"valley", "slide", "minimum", "steep"}
    assert found["minimum"] == pytest.approx(rate(75) / 10)
    assert all(rate(8) / 10 <= one <= rate(75) for one in found.values())


def test_what_follows_a_loss_that_is_no_number_has_no_say() -> None:
    losses = 2 - np.arange(81) / 100
    losses[60] = np.nan
    losses[61:] = -9.0
    assert suggest(RATES, losses)["minimum"] == pytest.approx(rate(54) / 10)


def test_a_curve_of_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="The sweep has 2 losses that can be read; expected at least 3"):
        suggest(RATES[:7], np.ones(7))
