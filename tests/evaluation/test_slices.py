"""Slices: groups that people can read, gaps that are honest in small ones, several models side by side."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np
import pytest

from topwork.errors import UsageError
from topwork.evaluation.classification import log_loss, softmax
from topwork.evaluation.intervals import wilson
from topwork.evaluation.slices import (
    Groups,
    SliceScores,
    categories,
    slice_errors,
    slice_scores,
    terciles,
)

if TYPE_CHECKING:
    from topwork.contracts import Array


def weak_inside(n: int, n_inside: int, seed: int) -> tuple[Array, Array, Array]:
    """Make truth, probabilities and a mask of rows where the model is worse."""
    rng = np.random.default_rng(seed)
    inside = rng.permutation(n) < n_inside
    truth, scores = rng.integers(0, 3, n), rng.normal(size=(n, 3))
    scores[np.arange(n), truth] += np.where(inside, 1.0, 3.0)
    return truth, softmax(1.3 * scores), inside


# --- scores -----------------------------------------------------------------------------------------------


def test_each_model_is_scored_inside_and_outside() -> None:
    truth, good, inside = weak_inside(200, 60, seed=0)
    bad = np.full_like(good, 1 / 3)
    truth[:7] = -1
    (one,), notes = slice_scores(truth, {"good": good, "bad": bad}, Groups({"dark": inside}), seed=0)
    known = truth >= 0
    assert (one.name, one.n, one.n_rest) == ("dark", (inside & known).sum(), (~inside & known).sum())
    assert list(one.models) == ["good", "bad"]
    assert notes == ()
    found, dark = one.models["good"], inside & known
    right = good.argmax(1) == truth
    assert found.accuracy == wilson(int(right[dark].sum()), int(dark.sum()))
    assert found.log_loss.value == pytest.approx(log_loss(truth[dark], good[dark]))
    assert found.log_loss_rest.value == pytest.approx(log_loss(truth[~inside], good[~inside]))
    assert found.accuracy_gap.value == pytest.approx(found.accuracy.value - found.accuracy_rest.value)
    assert found.log_loss_gap.value == pytest.approx(found.log_loss.value - found.log_loss_rest.value)
    assert found.accuracy_gap.high < 0, "the weakness is seen"
    assert found.log_loss_gap.low > 0
    assert one.models["bad"].log_loss_gap.value == pytest.approx(0)


def test_groups_too_small_are_left_out_with_a_reason() -> None:
    truth, p, inside = weak_inside(50, 4, seed=0)
    slices, notes = slice_scores(
        truth, {"m": p}, Groups({"few": inside, "most": ~inside}, ("a note",)), seed=0
    )
    assert slices == ()
    assert notes == (
        "a note",
        "few: 4 labelled rows in it are too few to compare.",
        "most: 4 labelled rows outside it are too few to compare.",
    )


def test_rows_without_a_label_do_not_count_towards_a_group() -> None:
    truth, p, inside = weak_inside(50, 6, seed=0)
    truth[np.flatnonzero(inside)[:2]] = -1
    slices, notes = slice_scores(truth, {"m": p}, Groups({"few": inside}), seed=0)
    assert slices == ()
    assert "4 labelled rows" in notes[0]


def test_a_loss_of_few_rows_is_unsure_upwards_and_stays_possible() -> None:
    truth, p, inside = weak_inside(60, 5, seed=1)
    loss = slice_scores(truth, {"m": p}, Groups({"few": inside}), seed=0)[0][0].models["m"].log_loss
    assert 0 <= loss.low < loss.value < loss.high <= 36.05
    assert loss.high - loss.value > loss.value - loss.low


def test_what_is_no_mask_is_refused() -> None:
    truth, p, inside = weak_inside(20, 10, seed=0)
    for mask in (inside[:5], inside.astype(int)):
        with pytest.raises(UsageError, match="for «x»; expected bool \\[20\\]"):
            slice_scores(truth, {"m": p}, Groups({"x": mask}), seed=0)
    with pytest.raises(UsageError, match="expected one for each"):
        slice_scores(truth, {"m": p[:5]}, Groups({"x": inside}), seed=0)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "n_inside"), [(60, 8), (110, 30), (400, 100)])
def test_scores_and_gaps_cover_the_truth(n: int, n_inside: int) -> None:
    def scored(n: int, n_inside: int, seed: int) -> SliceScores:
        truth, p, inside = weak_inside(n, n_inside, seed)
        return slice_scores(truth, {"m": p}, Groups({"g": inside}), seed=seed)[0][0].models["m"]

    true, names = scored(400_000, 200_000, 9999), [f.name for f in fields(SliceScores)]
    found = [scored(n, n_inside, seed) for seed in range(400)]
    for name in names:
        value = getattr(true, name).value
        covered = np.mean([getattr(f, name).low <= value <= getattr(f, name).high for f in found])
        # Rows that the model is nearly always right on are scored too surely by no more than 3 in 100.
        assert 0.92 <= covered <= 0.99, (name, covered)


# --- groups -----------------------------------------------------------------------------------------------


def test_terciles_are_thirds_with_edges_that_can_be_read() -> None:
    values = np.random.default_rng(0).uniform(0, 255, 300)
    groups = terciles(values)
    assert [int(m.sum()) for m in groups.masks.values()] == pytest.approx([100, 100, 100], abs=12)
    assert sum(groups.masks.values()) == pytest.approx(1), "each row is in one"
    assert all(len(name) <= len("190 or more") for name in groups.masks), list(groups.masks)
    assert groups.notes == ()


def test_edges_say_where_a_row_belongs() -> None:
    groups = terciles(np.arange(30) * 100.0, unit="px")
    assert list(groups.masks) == ["under 1,000 px", "1,000 to 2,000 px", "2,000 px or more"]
    for name, numbers in zip(groups.masks, (range(10), range(10, 20), range(20, 30)), strict=True):
        assert np.flatnonzero(groups.masks[name]).tolist() == list(numbers)
    assert next(iter(terciles(np.arange(30) * 1e-5).masks)) == "under 0.0001"


def test_equal_values_stay_together() -> None:
    groups = terciles(np.repeat([1.0, 2.0], 20))
    assert {name: int(m.sum()) for name, m in groups.masks.items()} == {"under 2": 20, "2 or more": 20}
    assert "two groups only" in groups.notes[0]


@pytest.mark.parametrize("values", [np.ones(30), np.arange(9.0), np.r_[np.ones(30), 2, 3], np.zeros(0)])
def test_where_there_are_no_two_groups_a_note_says_so(values: Array) -> None:
    groups = terciles(values)
    assert groups.masks == {}
    assert "do not fall into two groups" in groups.notes[0]


def test_rows_without_a_value_are_in_no_group() -> None:
    groups = terciles(np.r_[np.arange(30.0), np.nan, np.inf])
    assert sum(int(m.sum()) for m in groups.masks.values()) == 30
    assert groups.notes == ("2 rows have no value and are in no group.",)
    kinds = categories(np.array(["a"] * 6 + [""] * 3))
    assert {name: int(m.sum()) for name, m in kinds.masks.items()} == {"a": 6}
    assert kinds.notes == ("3 rows have no value and are in no group.",)


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_smaller_than_five_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    seen = 0
    for n in range(5, 60, 3):
        values = rng.integers(0, 1 + n // 4, n)
        for groups in (terciles(values), categories(values.astype(str))):
            sizes = [int(m.sum()) for m in groups.masks.values()]
            seen += len(sizes)
            assert all(size >= 5 for size in sizes)
            assert sum(sizes) <= n
    assert seen > 20


def test_small_categories_are_merged_or_left_out_with_a_reason() -> None:
    values = np.array(["cat"] * 9 + ["dog"] * 20 + ["cow"] * 3 + ["hen"] * 2)
    groups = categories(values)
    assert {name: int(m.sum()) for name, m in groups.masks.items()} == {"dog": 20, "cat": 9, "others": 5}
    assert groups.notes == ("2 values of fewer than 5 rows each are together in «others».",)
    alone = categories(values[:-2])
    assert list(alone.masks) == ["dog", "cat"]
    assert alone.notes == ("3 rows of values that fewer than 5 rows have are in no group.",)
    taken = categories(np.where(values == "dog", "others", values))
    assert list(taken.masks) == ["others", "cat", "others (merged)"]


def test_errors_in_a_group_are_set_beside_those_outside_it() -> None:
    draw = np.random.default_rng(0)
    inside = np.arange(60) < 20
    errors = np.abs(draw.normal(size=60)) * np.where(inside, 3.0, 1.0)
    errors[[0, 59]] = np.nan
    groups = Groups({"dark": inside, "tiny": np.arange(60) == 5}, ("as given",))
    (one,), notes = slice_errors({"ours": errors, "theirs": errors / 2}, groups, seed=0)
    assert (one.name, one.n, one.n_rest) == ("dark", 19, 39)
    assert notes == ("as given", "tiny: 1 labelled rows in it are too few to compare.")
    ours, theirs = one.models["ours"], one.models["theirs"]
    assert ours.error.value == pytest.approx(np.nanmean(errors[inside]))
    assert ours.gap.value == pytest.approx(np.nanmean(errors[inside]) - np.nanmean(errors[~inside]))
    assert 0 < ours.gap.low < ours.gap.value < ours.gap.high
    assert theirs.error.value == pytest.approx(ours.error.value / 2)
