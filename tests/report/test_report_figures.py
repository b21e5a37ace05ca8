"""Where marks stand and how dark cells are."""

from __future__ import annotations

from topwork.contracts import Estimate, Matrix
from topwork.report.figures import (
    column_ceiling,
    difference_figure,
    difference_reach,
    heat_rows,
    interval_figure,
)

NAN, INF = float("nan"), float("inf")


def test_shares_stand_on_an_axis_from_0_to_100() -> None:
    drawn = interval_figure("accuracy", Estimate(0.75, 0.5, 0.8), {"majority": Estimate(0.2, 0.1, 0.3)})
    assert (drawn.model.x, drawn.model.low, drawn.model.high) == (75.0, 50.0, 80.0)
    assert [(m.name, m.x, m.low, m.high) for m in drawn.baselines] == [
        ("most frequent class", 20.0, 10.0, 30.0)
    ]
    assert (drawn.start, drawn.end) == ("0\u00a0%", "100\u00a0%")
    for part in ("accuracy 75.0", "50.0 to 80.0", "most frequent class 20.0"):
        assert part in drawn.words


def test_everything_else_shares_an_axis_that_holds_every_mark() -> None:
    drawn = interval_figure("log_loss", Estimate(0.5, 0.4, 0.6), {"majority": Estimate(2.0, 1.9, 2.1)})
    ends = [v for m in (drawn.model, *drawn.baselines) for v in (m.low, m.high)]
    assert 0 < min(ends) < max(ends) < 100
    assert drawn.model.high < drawn.baselines[0].low


def test_values_below_zero_have_room() -> None:
    drawn = interval_figure("gain", Estimate(-1.0, -2.0, 1.0), {})
    assert 0 < drawn.model.low < (drawn.model.x or 0) < drawn.model.high < 100


def test_unknown_and_unbounded_values_still_have_a_place() -> None:
    drawn = interval_figure("log_loss", Estimate(NAN, 0.0, INF), {"majority": Estimate(1.0, 0.5, INF)})
    assert drawn.model.x is None
    assert drawn.baselines[0].high == 100.0
    assert "unknown" in drawn.words
    assert interval_figure("log_loss", Estimate(0.0, 0.0, 0.0), {}).model.x == 0.0


def test_a_column_has_one_axis() -> None:
    column = [Estimate(1.0, 0.5, 2.0), Estimate(3.0, 2.0, 4.0)]
    top = column_ceiling("perplexity", column)
    first, second = (interval_figure("perplexity", e, {}, top) for e in column)
    assert first.end == second.end
    assert (first.model.high, second.model.low) == (second.model.low, first.model.high)


def test_cells_are_shares_of_their_row() -> None:
    rows = heat_rows(Matrix("m", ("a", "b", "c"), ("a", "b", "c"), ((199, 1, 0), (3, 1, 0), (0, 0, 0))))
    assert [row.total for row in rows] == [200, 4, 0]
    assert [cell.level for cell in rows[0].cells] == [10, 1, 0], "one row in 200 is seen, none is blank"
    assert [cell.share for cell in rows[1].cells] == ["75\u00a0%", "25\u00a0%", "0\u00a0%"]
    assert [cell.diagonal for cell in rows[1].cells] == [False, True, False]
    assert rows[1].cells[0].title.startswith("b taken for a: 3 of 4")
    assert [cell.level for cell in rows[2].cells] == [0, 0, 0]


def test_a_difference_stands_right_of_the_middle_where_this_model_is_better() -> None:
    better = difference_figure("accuracy", Estimate(0.1, 0.05, 0.2), 0.2)
    assert (better.mark.low, better.mark.x, better.mark.high) == (62.5, 75.0, 100.0)
    less_loss = difference_figure("log_loss", Estimate(-0.1, -0.2, -0.05), 0.2)
    assert (less_loss.mark.low, less_loss.mark.x, less_loss.mark.high) == (62.5, 75.0, 100.0)
    worse = difference_figure("accuracy", Estimate(-0.1, -0.2, 0.1), 0.2)
    assert (worse.mark.low, worse.mark.x, worse.mark.high) == (0.0, 25.0, 75.0)
    assert [one.standing for one in (better, less_loss, worse)] == ["better", "better", "undecided"]
    assert (better.start, better.end) == ("20 points worse", "20 points better")
    assert less_loss.end == "0.2 better"
    assert "better by 10.0" in better.words
    assert difference_figure("accuracy", Estimate(NAN, NAN, NAN), 0.2).mark.x is None


def test_differences_share_an_axis_that_holds_them_all() -> None:
    differences = [Estimate(0.1, 0.05, 0.2), Estimate(-0.5, -0.71, -0.3), Estimate(NAN, NAN, NAN)]
    assert difference_reach("accuracy", differences) == 0.8
    assert difference_reach("log_loss", [Estimate(1.0, -INF, 1.4)]) == 1.5
    assert difference_reach("accuracy", []) == 0.1
    assert difference_reach("log_loss", [Estimate(0.0, 0.0, 0.0)]) == 1.0
