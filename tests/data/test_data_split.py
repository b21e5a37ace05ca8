"""Splits: units are never cut, classes keep their shares, seeds decide, given sides and time are honoured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from topwork.contracts import Array, Dataset, Side, Split, joint_strata
from topwork.data import Findings, SplitOptions, make_folds, make_split
from topwork.errors import DataError, UsageError


def no_bytes(row: int) -> bytes:
    raise AssertionError(f"the split looked into row {row}")


def dataset(n: int, given: Sequence[Side | None] | None = None, **columns: Sequence[str]) -> Dataset:
    return Dataset(
        "image", tuple(f"{i}.jpg" for i in range(n)), no_bytes, {"label": ("a",) * n},
        given=None if given is None else tuple(given), columns={k: tuple(v) for k, v in columns.items()},
    )  # fmt: skip


def findings(units: Sequence[int] | Array, usable: Sequence[int] | None = None) -> Findings:
    numbers = np.unique(np.asarray(units), return_inverse=True)[1].astype(np.int64)
    rows = np.arange(len(numbers)) if usable is None else np.asarray(usable, dtype=np.int64)
    empty: Mapping[str, Mapping[str, int]] = {}
    return Findings(rows, (), (), numbers, (), (), (), empty)


def is_cut(units: Array, one: Array, other: Array) -> bool:
    return bool(set(units[one].tolist()) & set(units[other].tolist()))


def n_units_of_the_largest_class(y: Array, units: Array) -> int:
    """Count units by the most frequent class of each, as the split does."""
    classes = [int(np.bincount(y[units == unit]).argmax()) for unit in np.unique(units)]
    return int(np.bincount(classes).max())


@st.composite
def problems(draw: st.DrawFn) -> tuple[Array, Array, int]:
    """Draw labels, units that follow no label, and a seed."""
    n = draw(st.integers(20, 300))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_classes = draw(st.integers(1, 8))
    y = rng.choice(n_classes, size=n, p=rng.dirichlet(np.full(n_classes, 0.7)))
    units = rng.integers(0, max(4, int(n * draw(st.floats(0.2, 3.0)))), size=n)
    return y.astype(np.int64), units, draw(st.integers(0, 1000))


# --- properties -------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(problems())
def test_sides_and_folds_partition_the_rows_and_cut_no_unit(problem: tuple[Array, Array, int]) -> None:
    y, units, seed = problem
    usable = np.flatnonzero(np.arange(len(y)) % 7 != 3)
    assume(n_units_of_the_largest_class(y[usable], units[usable]) > 2)
    options = SplitOptions(seed)
    split = make_split(dataset(len(y)), findings(units, usable.tolist()), y, options)
    assert np.array_equal(np.sort(np.concatenate([split.train, split.test])), usable)
    assert not is_cut(split.units, split.train, split.test)
    for side in (split.train, split.valid, split.test):
        assert side.dtype == np.int64
        assert (np.diff(side) > 0).all()
    folds = make_folds(split, y, options)
    for fold in folds:
        assert np.array_equal(np.sort(np.concatenate([fold.train, fold.valid])), split.train)
        assert not is_cut(split.units, fold.train, fold.valid)
    held_out = np.concatenate([fold.valid for fold in folds])
    assert len(np.unique(held_out)) == len(held_out)


@settings(max_examples=80, deadline=None)
@given(problems())
def test_a_class_of_two_units_or_more_is_always_trained_on(problem: tuple[Array, Array, int]) -> None:
    y, _, seed = problem
    options, n = SplitOptions(seed), len(y)
    split = make_split(dataset(n), findings(range(n)), y, options)
    assert set(y[split.train].tolist()) == set(y.tolist())
    for fold in make_folds(split, y, options):
        assert set(y[fold.train].tolist()) == set(y[split.train].tolist())


@settings(max_examples=80, deadline=None)
@given(problems(), st.sampled_from([0.1, 0.2, 0.35, 0.5]))
def test_classes_keep_their_shares_to_within_rounding(
    problem: tuple[Array, Array, int], fraction: float
) -> None:
    y, _, seed = problem
    options, n = SplitOptions(seed, test_fraction=fraction), len(y)
    split = make_split(dataset(n), findings(range(n)), y, options)
    for label, size in zip(*np.unique(y, return_counts=True), strict=True):
        if size > 1:
            assert abs((y[split.test] == label).sum() - fraction * size) <= 1
    for label in np.unique(y[split.train]):
        counts = [(y[fold.valid] == label).sum() for fold in make_folds(split, y, options)]
        if (y[split.train] == label).sum() > 1:
            assert max(counts) - min(counts) <= 1


@settings(max_examples=40, deadline=None)
@given(problems())
def test_the_seed_decides_and_nothing_else(problem: tuple[Array, Array, int]) -> None:
    y, units, seed = problem
    assume(n_units_of_the_largest_class(y, units) > 2)
    data, found = dataset(len(y)), findings(units)
    one, again = (make_split(data, found, y, SplitOptions(seed)) for _ in range(2))
    assert np.array_equal(one.test, again.test)
    folds = [make_folds(one, y, SplitOptions(seed)) for _ in range(2)]
    assert all(np.array_equal(a.valid, b.valid) for a, b in zip(*folds, strict=True))


def test_another_seed_gives_another_split_and_other_folds() -> None:
    y = np.arange(200) % 4
    splits = [make_split(dataset(200), findings(range(200)), y, SplitOptions(seed)) for seed in range(5)]
    assert len({split.test.tobytes() for split in splits}) == 5
    folds = {make_folds(splits[0], y, SplitOptions(seed))[0].valid.tobytes() for seed in range(5)}
    assert len(folds) == 5


def test_every_row_is_as_likely_to_be_held_out() -> None:
    y, n_times = np.arange(40) % 2, np.zeros(40)
    for seed in range(400):
        n_times[make_split(dataset(40), findings(range(40)), y, SplitOptions(seed)).test] += 1
    assert n_times.min() > 400 * 0.2 * 0.55  # 6 standard deviations are 48 of 80
    assert n_times.max() < 400 * 0.2 * 1.6


# --- sizes ------------------------------------------------------------------------------------------------


def test_the_total_is_right_even_with_many_small_classes() -> None:
    y = np.repeat(np.arange(100), 3)  # 0.6 of a row each
    split = make_split(dataset(300), findings(range(300)), y, SplitOptions(0))
    assert len(split.test) == 60
    assert set(y[split.train].tolist()) == set(range(100))


def test_large_units_come_as_near_as_they_can() -> None:
    units = np.repeat(np.arange(20), 10)
    split = make_split(dataset(200), findings(units), np.zeros(200, int), SplitOptions(0))
    assert len(split.test) == 40
    assert sorted(len(fold.valid) for fold in make_folds(split, np.zeros(200, int), SplitOptions(0))) == [
        30, 30, 30, 30, 40,
    ]  # fmt: skip


def test_something_is_held_out_even_where_every_unit_is_too_large() -> None:
    units = np.array([0] * 14 + [1] * 12 + [2] * 13)
    split = make_split(dataset(39), findings(units), np.zeros(39, int), SplitOptions(0, test_fraction=0.1))
    assert split.test.tolist() == list(range(14, 26))


@pytest.mark.parametrize("y", [None, np.linspace(0, 1, 50)])
def test_without_classes_the_split_is_at_random(y: Array | None) -> None:
    split = make_split(dataset(50), findings(range(50)), y, SplitOptions(0))
    assert len(split.test) == 10
    assert "at random" in split.method
    assert [len(fold.valid) for fold in make_folds(split, y, SplitOptions(0))] == [8] * 5


@pytest.mark.parametrize("seed", range(20))
def test_of_several_labels_the_rarest_of_a_row_is_stratified_by(seed: int) -> None:
    """Ten rows of 200 have the rare label, always beside a frequent one; a fifth of them is tested by any seed."""
    draw = np.random.default_rng(seed)
    y = np.stack([np.ones(200), draw.random(200) < 0.5, draw.permutation(200) < 10], axis=1).astype(np.int8)
    split = make_split(dataset(200), findings(range(200)), y, SplitOptions(seed))
    assert y[split.test, 2].sum() == 2
    assert split.method.startswith("Split stratified")
    folds = make_folds(split, y, SplitOptions(seed))
    assert {int(y[fold.valid, 2].sum()) for fold in folds} <= {1, 2}


def test_the_only_example_of_a_class_is_never_held_out() -> None:
    y = np.concatenate([np.zeros(50, int), np.arange(1, 51)])
    split = make_split(dataset(100), findings(range(100)), y, SplitOptions(0))
    assert set(y[split.test].tolist()) == {0}


def test_small_units_even_out_what_large_ones_leave() -> None:
    units = np.concatenate([np.zeros(30, int), np.arange(1, 171)])
    for seed in range(5):
        split = Split(np.arange(200), np.zeros(0, int), np.zeros(0, int), units, "", seed)
        sizes = [len(fold.valid) for fold in make_folds(split, np.zeros(200, int), SplitOptions(seed))]
        assert sizes == [40] * 5


def test_small_classes_appear_in_fewer_folds() -> None:
    y = np.array([0] * 50 + [1] * 3 + [2])
    split = make_split(dataset(54), findings(range(54)), y, SplitOptions(0, test_fraction=0.1))
    folds = make_folds(split, y, SplitOptions(0))
    assert len(folds) == 5
    assert all((y[fold.train] == 2).sum() == 1 for fold in folds)
    assert sum((y[fold.valid] == 1).sum() for fold in folds) == (y[split.train] == 1).sum()


def test_a_split_that_cannot_be_made_says_so() -> None:
    with pytest.raises(DataError, match="leaves 20 rows to train on and 0 to test on"):
        make_split(dataset(20), findings([0] * 20), np.zeros(20, int), SplitOptions(0))
    lonely = make_split(
        dataset(20), findings([0] * 10 + [1] * 10), np.zeros(20, int), SplitOptions(0, test_fraction=0.5)
    )
    with pytest.raises(DataError, match="cannot be divided into folds"):
        make_folds(lonely, np.zeros(20, int), SplitOptions(0))


@pytest.mark.parametrize(
    "wrong", [{"test_fraction": -0.1}, {"test_fraction": 1.0}, {"n_folds": 1}, {"seed": -1}]
)
def test_options_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="expected"):
        SplitOptions(**wrong)


def test_without_a_test_every_usable_row_is_trained_on() -> None:
    y, usable = np.arange(40) % 2, np.arange(3, 40)
    options = SplitOptions(0, test_fraction=0.0)
    split = make_split(dataset(40), findings(range(40), usable.tolist()), y, options)
    assert np.array_equal(split.train, usable)
    assert (len(split.valid), len(split.test)) == (0, 0)
    assert split.method.startswith("No test")
    held_out = np.sort(np.concatenate([fold.valid for fold in make_folds(split, y, options)]))
    assert np.array_equal(held_out, usable)
    with pytest.raises(UsageError, match="column 'day'"):
        SplitOptions(0, time="day", test_fraction=0.0)


@pytest.mark.slow
def test_the_work_grows_with_the_rows_and_not_their_square() -> None:
    n = 200_000
    y, units = np.arange(n) % 1000, np.arange(n) // 2
    split = make_split(dataset(n), findings(units), y, SplitOptions(0))
    assert len(split.test) == n // 5
    assert len(make_folds(split, y, SplitOptions(0))) == 5


# --- groups -----------------------------------------------------------------------------------------------


def test_a_group_stays_together_and_so_do_duplicates_across_groups() -> None:
    patients = [f"p{i // 4}" for i in range(80)] + [""] * 20
    units = np.arange(100)
    units[4] = units[3]  # a near duplicate joins two patients
    split = make_split(
        dataset(100, patient=patients), findings(units), None, SplitOptions(0, group="patient")
    )
    side = np.isin(np.arange(100), split.test)
    for patient in {p for p in patients if p}:
        assert len({bool(side[i]) for i in range(100) if patients[i] == patient}) == 1
    assert len({bool(side[i]) for i in range(8)}) == 1
    assert len(set(split.units[80:].tolist())) == 20  # no patient is not one patient
    assert "'patient'" in split.method


def test_a_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(DataError, match="no column 'patient'; there are: camera"):
        make_split(
            dataset(20, camera=["x"] * 20), findings(range(20)), None, SplitOptions(0, group="patient")
        )
    with pytest.raises(DataError, match="only tables have columns"):
        make_split(dataset(20), findings(range(20)), None, SplitOptions(0, time="day"))


# --- given sides ------------------------------------------------------------------------------------------


def test_three_given_sides_are_kept_and_give_one_fold() -> None:
    sides: list[Side | None] = ["train", "valid", "test", None] * 5
    split = make_split(dataset(20, sides), findings(range(20)), None, SplitOptions(0))
    assert [len(side) for side in (split.train, split.valid, split.test)] == [10, 5, 5]
    assert split.train.tolist() == [i for i in range(20) if sides[i] in ("train", None)]
    (fold,) = make_folds(split, None, SplitOptions(0))
    assert (fold.train.tolist(), fold.valid.tolist()) == (split.train.tolist(), split.valid.tolist())
    assert split.notes == ()


def test_a_validation_side_without_a_test_is_the_test_and_that_is_said() -> None:
    sides: list[Side | None] = ["train", "train", "valid"] * 10
    y = np.arange(30) % 2
    split = make_split(dataset(30, sides), findings(range(30)), y, SplitOptions(0))
    assert (len(split.train), len(split.valid), len(split.test)) == (20, 0, 10)
    assert "the validation side is the test" in split.notes[0]
    assert len(make_folds(split, y, SplitOptions(0))) == 5


def test_train_and_test_leave_validation_to_folds() -> None:
    sides: list[Side | None] = ["train", "train", "test"] * 10
    split = make_split(dataset(30, sides), findings(range(30)), None, SplitOptions(0))
    assert (len(split.train), len(split.valid), len(split.test), split.notes) == (20, 0, 10, ())
    assert len(make_folds(split, None, SplitOptions(0))) == 5


def test_a_unit_on_two_given_sides_is_noted_and_not_moved() -> None:
    sides: list[Side | None] = ["train" if i < 10 else "test" for i in range(20)]
    units = np.arange(20)
    units[10], units[11] = 0, 0
    split = make_split(dataset(20, sides), findings(units), None, SplitOptions(0))
    assert split.test.tolist() == list(range(10, 20))
    assert split.notes[0].startswith("1 unit (duplicates")


@pytest.mark.parametrize("side", ["test", "train"])
def test_given_sides_that_are_not_two_are_refused(side: Side) -> None:
    sides = [side] * 20
    with pytest.raises(DataError, match="own sides leave one of them empty"):
        make_split(dataset(20, sides), findings(range(20)), None, SplitOptions(0))


# --- time -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "moments",
    [
        [f"2024-{1 + i // 28:02d}-{1 + i % 28:02d}" for i in range(100)],
        [f"2024-05-17T{i // 60:02d}:{i % 60:02d}:00+02:00" for i in range(100)],
        [str(i * 1.5 - 20) for i in range(100)],
    ],
)
def test_the_last_rows_are_the_test_and_those_before_validate(moments: list[str]) -> None:
    order = np.random.default_rng(0).permutation(100)
    data = dataset(100, when=[moments[i] for i in order])
    split = make_split(data, findings(range(100)), None, SplitOptions(0, time="when"))
    assert (len(split.train), len(split.valid), len(split.test)) == (64, 16, 20)
    assert order[split.train].max() < order[split.valid].min()
    assert order[split.valid].max() < order[split.test].min()
    (fold,) = make_folds(split, None, SplitOptions(0, time="when"))
    assert fold.valid.tolist() == split.valid.tolist()


def test_a_unit_counts_as_early_as_its_first_row_and_one_moment_is_never_cut() -> None:
    units = np.arange(50)
    units[49] = units[0]
    days = [str(i // 5) for i in range(50)]
    split = make_split(
        dataset(50, day=days), findings(units), None, SplitOptions(0, time="day", test_fraction=0.25)
    )
    assert 49 in split.train
    assert not is_cut(split.units, split.train, split.test)
    sides = {day: {name for name in ("train", "valid", "test") for row in getattr(split, name).tolist()
                   if days[row] == day and row != 49} for day in days}  # fmt: skip
    assert all(len(found) == 1 for found in sides.values())


@pytest.mark.parametrize(("value", "shown"), [("17. Mai", "17. Mai"), ("", "''"), ("nan", "nan")])
def test_a_time_that_cannot_be_read_names_the_row(value: str, shown: str) -> None:
    days = [f"2024-05-{i + 1:02d}" for i in range(20)]
    days[7] = value
    with pytest.raises(
        DataError, match=f"7.jpg has .*{shown}.* in the time column 'day'; expected ISO dates"
    ):
        make_split(dataset(20, day=days), findings(range(20)), None, SplitOptions(0, time="day"))


def test_one_single_time_cannot_be_split_by() -> None:
    with pytest.raises(DataError, match="too few different times"):
        make_split(dataset(20, day=["2024"] * 20), findings(range(20)), None, SplitOptions(0, time="day"))


def test_given_sides_win_over_time() -> None:
    sides: list[Side | None] = ["train", "test"] * 10
    data = dataset(20, sides, day=[str(i) for i in range(20)])
    split = make_split(data, findings(range(20)), None, SplitOptions(0, time="day"))
    assert split.test.tolist() == list(range(1, 20, 2))
    assert "was not split by" in split.notes[0]


# --- several targets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
def test_what_few_rows_have_of_any_target_is_shared_out(seed: int) -> None:
    """Ten of two hundred rows have a number, and three classes are unevenly frequent: each gives its share."""
    n = 200
    kind = np.repeat([0, 1, 2], [120, 60, 20])
    number = np.where(np.arange(n) % 20 == 7, 1.5, np.nan)
    strata = joint_strata([kind, number])
    options = SplitOptions(seed)
    split = make_split(dataset(n), findings(np.arange(n)), strata, options)
    assert "stratified" in split.method
    assert np.isfinite(number[split.test]).sum() == 2
    assert np.bincount(kind[split.test]) == pytest.approx([24, 12, 4], abs=2)
    for fold in make_folds(split, strata, options):
        assert 1 <= np.isfinite(number[fold.valid]).sum() <= 2


def test_numbers_that_every_row_has_are_split_at_random() -> None:
    strata = joint_strata([np.linspace(0, 1, 50), np.linspace(3, 2, 50)])
    split = make_split(dataset(50), findings(np.arange(50)), strata, SplitOptions())
    assert "at random" in split.method
