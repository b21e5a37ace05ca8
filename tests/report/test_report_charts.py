"""Where the parts of a chart stand, and that its words and numbers are the chart's own."""

from __future__ import annotations

import re

import pytest

from records import abstention, brightness, growth, hostile_chart, reliability
from topwork.contracts import Chart, Point, Series
from topwork.report.charts import MOST_POINTS, chart_figure, chart_rows, thinned

NAN, INF = float("nan"), float("inf")


def chart(*series: Series, **fields: object) -> Chart:
    return Chart("A chart", "x", "y", series, **fields)  # type: ignore[arg-type]


def line(*points: Point, style: str = "line") -> Series:
    return Series("s", points, style)  # type: ignore[arg-type]


def numbers(path: str) -> list[float]:
    return [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", path)]


def test_a_line_runs_from_corner_to_corner_of_what_it_holds() -> None:
    drawn = chart_figure(chart(line(Point(0.0, 0.0), Point(5.0, 5.0), Point(10.0, 10.0))))
    assert drawn.series[0].line == "M0 100L50 50L100 0"
    assert [(s.x, s.y) for s in drawn.series[0].spots] == [(0.0, 100.0), (50.0, 50.0), (100.0, 0.0)]
    assert drawn.series[0].band == ""


def test_a_band_goes_along_the_upper_ends_and_back_along_the_lower() -> None:
    drawn = chart_figure(chart(line(Point(0.0, 4.0, 0.0, 8.0), Point(10.0, 6.0, 4.0, 10.0))))
    assert drawn.series[0].band == "M0 20L100 0L100 60L0 100Z"


def test_a_band_breaks_where_there_is_no_interval() -> None:
    with_gap = [Point(float(i), 1.0, *((0.0, 2.0) if i != 2 else (None, None))) for i in range(5)]
    assert chart_figure(chart(line(*with_gap))).series[0].band.count("Z") == 2


def test_whiskers_have_their_interval_upside_down_as_a_page_has() -> None:
    (series,) = chart_figure(
        chart(line(Point(1.0, 0.5, 0.2, 0.6), Point(2.0, 0.9), style="dots"), y_kind="share")
    ).series
    first, second = series.spots
    assert (first.low, first.high) == (80.0, 40.0)
    assert first.high is not None
    assert first.high < first.y < 80.0
    assert second.low is second.high is None
    assert series.line == series.band == ""


def test_bars_of_two_series_stand_side_by_side_on_zero() -> None:
    drawn = chart_figure(brightness())
    assert drawn.y.low == 0.0
    right, wrong = drawn.series
    assert len(right.spots) == len(wrong.spots) == 8
    for a, b, c in zip(right.spots, wrong.spots, right.spots[1:], strict=False):
        assert a.left + a.width == pytest.approx(b.left, abs=0.02)
        assert b.left + b.width < c.left
        assert a.base == b.base == 100.0
        assert a.y < b.y
    assert right.spots[0].left >= 0
    assert wrong.spots[-1].left + wrong.spots[-1].width <= 100


def test_bars_are_never_cut_off_at_their_foot() -> None:
    tall = (Point(0.0, 30.0), Point(1.0, 40.0))
    assert chart_figure(chart(line(*tall, style="bars"))).y.low == 0.0
    assert chart_figure(chart(line(*tall))).y.low == 30.0


def test_bars_below_zero_hang_from_it() -> None:
    drawn = chart_figure(chart(line(Point(0.0, -2.0), Point(1.0, 4.0), style="bars")))
    below, above = drawn.series[0].spots
    assert below.y > below.base > above.y
    assert below.base == above.base == pytest.approx(66.67, abs=0.01)


def test_logarithmic_distances_are_ratios() -> None:
    spots = (
        chart_figure(chart(line(*(Point(x, 1.0) for x in (10.0, 100.0, 1000.0))), x_log=True)).series[0].spots
    )
    assert spots[1].x - spots[0].x == pytest.approx(spots[2].x - spots[1].x, abs=0.02)
    assert spots[1].x == pytest.approx(50, abs=0.1)


def test_points_without_a_place_are_left_out_and_counted() -> None:
    drawn = chart_figure(chart(line(Point(1.0, NAN), Point(2.0, 1.0), Point(INF, 2.0), Point(3.0, 2.0))))
    assert len(drawn.series[0].spots) == 2
    assert drawn.n_left_out == 2
    assert [row.y for row in drawn.rows] == ["unknown", "1", "2", "2"]
    nothing = chart_figure(chart(line(Point(NAN, NAN)), line()))
    assert nothing.series == ()
    assert "Nothing to draw" in nothing.words


def test_an_unbounded_interval_ends_at_the_edge() -> None:
    drawn = chart_figure(hostile_chart("odd"))
    assert len(drawn.series) == 10
    for series in drawn.series:
        for spot in series.spots:
            for value in (spot.x, spot.y, spot.low, spot.high):
                assert value is None or 0 <= value <= 100
        assert all(0 <= n <= 100 for n in numbers(series.line + series.band))


def test_a_flood_of_points_is_thinned_but_keeps_its_ends() -> None:
    many = tuple(Point(float(i), float(i % 7)) for i in range(5000))
    drawn = chart_figure(chart(line(*many)))
    assert len(drawn.series[0].spots) == MOST_POINTS
    assert drawn.n_left_out == 5000 - MOST_POINTS
    some = thinned(many, 8)
    assert (len(some), some[0], some[-1]) == (8, many[0], many[-1])
    assert thinned(many[:3], 8) == many[:3]


def test_colours_begin_again_where_there_are_more_series_than_colours() -> None:
    drawn = chart_figure(chart(*(line(Point(0.0, float(i)), Point(1.0, 2.0)) for i in range(8))))
    assert [series.colour for series in drawn.series] == [0, 1, 2, 3, 4, 5, 0, 1]


def test_words_and_rows_hold_the_charts_own_numbers() -> None:
    drawn = chart_figure(growth().chart)
    told = drawn.words.replace("\u00a0", " ")
    assert told.startswith(
        "How the score grows with the number of labels. accuracy by labelled training examples."
    )
    assert "fitted curve, 95 % range: from 51.3 % at 44 to 83.5 % at 880" in told
    spot = drawn.series[1].spots[0].words.replace("\u00a0", " ")
    assert spot == "measured, least to most: 51.9 % (47.8 to 54.3 %) at 44"
    assert len(drawn.rows) == 41 + 7
    assert len(chart_rows(growth().chart, 8)) == 8 + 7
    assert chart_rows(reliability(), 8)[2].interval.replace("\u00a0", " ") == "17.0 to 51.0 %"
    assert chart_rows(reliability(), 8)[0].interval == ""


def test_a_chart_of_shares_ends_at_a_hundred_percent() -> None:
    for drawn in map(chart_figure, (reliability(), abstention())):
        assert drawn.y.high == drawn.x.high == 1.0
