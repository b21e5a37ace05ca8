"""Axes hold every value and are marked at few, round places."""

from __future__ import annotations

import itertools
from math import isclose, log10

import pytest

from topwork.report.axes import Axis, Kind, axis_of, round_up

NAN, INF = float("nan"), float("inf")


def texts(axis: Axis) -> list[str]:
    return [tick.text.replace("\u00a0", " ") for tick in axis.ticks]


def spans() -> list[tuple[float, float]]:
    """Return ranges of every size, also beyond zero and of a single value."""
    starts = (-12.5, -0.003, 0.0, 0.0007, 0.31, 1.0, 44.0, 999.0, 123_456.0)
    widths = (0.0, 0.0004, 0.019, 0.3, 1.7, 9.99, 61.0, 836.0, 7_777.0, 2.3e6)
    return [(start, start + width) for start, width in itertools.product(starts, widths)]


@pytest.mark.parametrize("snug", [False, True])
@pytest.mark.parametrize("kind", ["number", "seconds"])
def test_every_straight_axis_holds_its_values_and_has_few_ticks_in_order(kind: Kind, *, snug: bool) -> None:
    assert len(spans()) == 90
    for low, high in spans():
        axis = axis_of(kind, (low, high), snug=snug)
        assert axis.low <= low + 1e-9
        assert axis.high >= high - 1e-9 * abs(high)
        assert 2 <= len(axis.ticks) <= 6, (low, high, axis)
        places = [tick.at for tick in axis.ticks]
        assert places == sorted(set(places))
        assert len(set(texts(axis))) == len(axis.ticks), (low, high, texts(axis))
        assert axis.place(low) < axis.place(high) or low == high


@pytest.mark.parametrize("kind", ["number", "seconds"])
def test_every_logarithmic_axis_holds_its_values_and_has_few_ticks(kind: Kind) -> None:
    n_seen = 0
    for low, high in spans():
        if low <= 0:
            continue
        n_seen += 1
        axis = axis_of(kind, (low, high), log=True)
        assert axis.log
        assert axis.low < low <= high < axis.high
        assert 2 <= len(axis.ticks) <= 6, (low, high, texts(axis))
        middle = axis.place(10 ** ((log10(axis.low) + log10(axis.high)) / 2))
        assert middle == pytest.approx(50, abs=0.1)
    assert n_seen == 60


def test_ticks_are_spelt_in_their_kind() -> None:
    assert texts(axis_of("share", (0.1, 0.9))) == ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]
    assert texts(axis_of("share", (0.743, 0.747))) == ["74.3 %", "74.4 %", "74.5 %", "74.6 %", "74.7 %"]
    assert texts(axis_of("seconds", (0.0, 61.0), snug=True)) == ["0", "20 s", "40 s", "60 s"]
    assert texts(axis_of("seconds", (0.0, 600.0))) == ["0", "2 min", "4 min", "6 min", "8 min", "10 min"]
    assert texts(axis_of("seconds", (0.0, 9000.0))) == ["0", "30 min", "1 h", "1.5 h", "2 h", "2.5 h"]
    assert texts(axis_of("number", (-3.0, 2000.0))) == ["−500", "0", "500", "1,000", "1,500", "2,000"]
    assert texts(axis_of("number", (44, 880), log=True)) == ["50", "100", "200", "500"]
    assert texts(axis_of("number", (2, 3e6), log=True))[-1] == "1,000,000"
    assert texts(axis_of("seconds", (1, 4000), log=True))[0] == "1 s"


def test_shares_far_apart_get_the_whole_way_and_others_a_closer_look() -> None:
    assert (axis_of("share", (0.2, 0.8)).low, axis_of("share", (0.2, 0.8)).high) == (0.0, 1.0)
    near = axis_of("share", (0.78, 0.84))
    assert near.low > 0.7
    assert near.high < 0.9
    one = axis_of("share", (1.0,))
    assert one.high == 1.0
    assert one.low >= 0.8


def test_bars_start_at_zero_and_ends_close_to_it_are_drawn_from_it() -> None:
    assert axis_of("number", (30.0, 40.0)).low == 30.0
    assert axis_of("number", (30.0, 40.0), from_zero=True).low == 0.0
    assert axis_of("number", (-4.0, -2.0), from_zero=True).high == 0.0
    assert axis_of("seconds", (2.0, 60.0), snug=True).low == 0.0
    assert axis_of("seconds", (20.0, 60.0), snug=True).low == 20.0


def test_what_is_not_finite_or_beyond_has_a_place_all_the_same() -> None:
    axis = axis_of("number", (NAN, 1.0, 5.0, INF))
    assert axis.high == 5.0
    assert (axis.place(INF), axis.place(-INF), axis.place(99.0), axis.place(NAN)) == (100.0, 0.0, 100.0, 0.0)
    assert texts(axis_of("share", ())) == ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]
    assert not axis_of("number", (0.0, 5.0), log=True).log
    logarithmic = axis_of("number", (1.0, 100.0), log=True)
    assert (logarithmic.place(0.0), logarithmic.place(INF)) == (0.0, 100.0)


def test_round_numbers_are_one_two_five() -> None:
    found = [round_up(v) for v in (0.7, 1.0, 1.1, 2.0, 4.0, 51.0, 0.0021)]
    assert all(map(isclose, found, [1.0, 1.0, 2.0, 2.0, 5.0, 100.0, 0.005]))
    assert round_up(0.0) == round_up(-3.0) == round_up(NAN) == 1.0


def test_tiny_values_are_written_with_a_power_of_ten() -> None:
    told = [tick.text for tick in axis_of("number", [1e-7, 0.3], log=True).ticks]
    assert told[0] == "1e−7"
    assert "0.001" in told
    assert len(set(told)) == len(told)
