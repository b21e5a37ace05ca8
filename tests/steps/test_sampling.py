"""Beginning with a sample: whether, which rows it has, what is read on, and what the model rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from tiny_text_trunk import write_tiny_text_trunk
from told import Told
from topwork import FitOptions, Surroundings
from topwork.contracts import Array, Beginning, Budget, Fitted, LinearHead, Workplace
from topwork.steps.asking import look_up
from topwork.steps.assigning import assign
from topwork.steps.order import Order, Rows
from topwork.steps.reading import read_rows
from topwork.steps.sampling import begin, completed, n_validating, rows_after, sample_of, settled_on
from topwork.steps.speeds import DELIVERY_S
from topwork.steps.transfer import Preparation
from topwork.steps.tuning import tuned_rows
from topwork.training.plan import Plan, plan_to_json
from toy_texts import toy_texts

N, N_SAMPLE = 400, 100
NEVER_QUICK = {"sample": N_SAMPLE, "quick": 0.0}
ALWAYS_QUICK = {"sample": N_SAMPLE, "quick": 1.0}


@dataclass
class Counting:
    """A clock that goes on by so much with every look at it."""

    step_s: float = 0.0
    now_s: float = 0.0

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


@dataclass(frozen=True)
class Desk:
    """What `begin` takes, on a cache of its own."""

    order: Order
    preparation: Preparation
    folder: Path

    def begin(self, left_s: float = 1e6, *, resume: bool = False) -> Rows:
        deadline = Budget(lambda: 0.0, left_s)
        return begin(self.order, self.preparation, deadline, Workplace(self.folder, resume))

    def whole(self) -> Rows:
        return assign(self.order, read_rows(self.order, self.preparation))

    def again(self, **changes: object) -> Desk:
        return replace(self, order=replace(self.order, **changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trunk(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny_text_trunk(tmp_path_factory.mktemp("trunk") / "tiny-bert"))


def desk_of(
    trunk: str,
    folder: Path,
    settings: Mapping[str, float] = NEVER_QUICK,
    *,
    n: int = N,
    recipe: str = "ladder",
    around: Surroundings | None = None,
    **options: object,
) -> Desk:
    around = around or Surroundings(cache_dir=folder / "cache", progress=Told())
    given = FitOptions(recipe_settings=settings if recipe == "ladder" else {}, **options)  # type: ignore[arg-type]
    order = look_up(toy_texts(n), trunk, recipe, 0, "5m", given, around)
    return Desk(order, Preparation(order.trunk, order.modality, around), folder / "work")


def drawn(n: int = N) -> Array:
    return np.sort(np.random.default_rng(0).permutation(n)[:N_SAMPLE])


def fit_known(rows: Rows) -> Array:
    assert rows.fit_known is not None
    return rows.fit_known


@pytest.fixture(scope="module")
def whole(trunk: str, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """Every row read at once."""
    desk = desk_of(trunk, tmp_path_factory.mktemp("whole"))
    return desk.whole()


def assert_same_rows(one: Rows, other: Rows) -> None:
    assert one.fit_known is None
    assert np.array_equal(one.fit_rows, other.fit_rows)
    assert np.array_equal(one.split.test, other.split.test)
    assert np.allclose(one.fit_features, other.fit_features, atol=1e-5)
    assert np.allclose(one.test_features, other.test_features, atol=1e-5)


# --- whether ------------------------------------------------------------------------------------------


def test_a_sample_has_the_rows_that_the_seed_draws_and_the_split_is_that_of_all(
    trunk: str, whole: Rows, tmp_path: Path
) -> None:
    desk = desk_of(trunk, tmp_path)
    rows = desk.begin()
    assert np.array_equal(rows.fit_rows, whole.fit_rows)
    assert np.array_equal(rows.fit_rows[fit_known(rows)], np.intersect1d(whole.fit_rows, drawn()))
    assert rows.test_known is not None
    assert np.array_equal(rows.split.test[rows.test_known], np.intersect1d(whole.split.test, drawn()))
    known = fit_known(rows)
    assert np.allclose(rows.fit_features[known], whole.fit_features[known], atol=1e-5)
    assert not np.delete(rows.fit_features, known, axis=0).any()
    assert np.array_equal(rows.known_features(), rows.fit_features[known])
    told = desk.order.around.progress
    assert isinstance(told, Told)
    assert any(
        line.startswith("Beginning with 100 of 400 inputs: the network would take") for line in told.lines
    )


@pytest.mark.parametrize(
    ("n_known", "left_s", "row_s", "n"),
    [(320, 1e3, 0.01, 680), (320, 1e3, 1.0, 100), (320, -5.0, 1.0, 0), (320, 9.0, None, 680), (1200, 9.0, 0.1, 0)],
)  # fmt: skip
def test_validation_takes_a_share_of_the_time_at_most(
    n_known: int, left_s: float, row_s: float | None, n: int
) -> None:
    assert n_validating(Beginning(2000, 0.1), n_known, left_s, row_s) == n


@pytest.mark.parametrize("why", ["few rows", "no budget", "steps", "probe", "quick"])
def test_all_is_read_where_a_sample_gains_nothing(why: str, trunk: str, whole: Rows, tmp_path: Path) -> None:
    desk = {
        "few rows": lambda: desk_of(trunk, tmp_path, {"sample": N // 2, "quick": 0.0}),
        "no budget": lambda: desk_of(trunk, tmp_path),
        "steps": lambda: desk_of(trunk, tmp_path, steps=10),
        "probe": lambda: desk_of(trunk, tmp_path, recipe="probe"),
        "quick": lambda: desk_of(trunk, tmp_path, ALWAYS_QUICK),
    }[why]()
    rows = desk.begin(float("inf") if why == "no budget" else 1e6)
    assert_same_rows(rows, whole)
    assert sample_of(desk.order, rows, desk.preparation) is None


def test_where_trunks_are_tried_all_is_read(trunk: str, tmp_path: Path) -> None:
    desk = desk_of(trunk, tmp_path)
    assert desk.again(candidates=(desk.order.trunk,)).begin().fit_known is None


def test_what_is_cached_is_not_read_again_and_needs_no_sample(
    trunk: str, whole: Rows, tmp_path: Path
) -> None:
    desk = desk_of(trunk, tmp_path)
    desk.whole()
    rows = desk.begin()
    assert rows.n_cached == N
    assert_same_rows(rows, whole)


def test_a_sample_without_validation_rows_is_no_sample(trunk: str, tmp_path: Path) -> None:
    """Of a single row no rung can be compared with the probe."""
    assert desk_of(trunk, tmp_path, {"sample": 1, "quick": 0.0}).begin().fit_known is None


# --- going on with an unfinished fit --------------------------------------------------------------------


def planned(desk: Desk, n_known: int | None) -> None:
    desk.folder.mkdir()
    (desk.folder / "plan.json").write_text(plan_to_json(Plan(0, 1, "fp32", "", "", (), n_known=n_known)))


@pytest.mark.parametrize("is_cached", [True, False])
def test_a_resumed_fit_begins_as_the_first_run_did(
    is_cached: bool, trunk: str, whole: Rows, tmp_path: Path
) -> None:
    """Neither what is cached by now nor how fast it is matters any more."""
    desk = desk_of(trunk, tmp_path, ALWAYS_QUICK)
    planned(desk, len(np.intersect1d(whole.fit_rows, drawn())))
    if is_cached:
        desk.whole()
    rows = desk.begin(resume=True)
    assert np.array_equal(rows.fit_rows[fit_known(rows)], np.intersect1d(rows.fit_rows, drawn()))


def test_further_rows_are_of_validation_in_the_order_of_the_draw(
    trunk: str, whole: Rows, tmp_path: Path
) -> None:
    """As many as the first run had, though time has become short."""
    desk = desk_of(trunk, tmp_path)
    n_drawn, n_more = len(np.intersect1d(whole.fit_rows, drawn())), 30
    planned(desk, n_drawn + n_more)
    rows = desk.begin(1.0, resume=True)
    valid, of_draw = rows.folds[0].valid, np.flatnonzero(np.isin(rows.fit_rows, drawn()))
    more = np.setdiff1d(fit_known(rows), of_draw)
    assert len(more) == n_more
    assert len(fit_known(rows)) == n_drawn + n_more
    assert np.isin(more, valid).all()
    place = {row: i for i, row in enumerate(np.random.default_rng(0).permutation(N).tolist())}
    left_out = np.setdiff1d(valid, fit_known(rows))
    assert max(place[row] for row in rows.fit_rows[more]) < min(place[row] for row in rows.fit_rows[left_out])
    assert np.allclose(rows.fit_features[more], whole.fit_features[more], atol=1e-5)


def test_a_resumed_fit_that_had_read_all_reads_all(trunk: str, tmp_path: Path) -> None:
    desk = desk_of(trunk, tmp_path)
    planned(desk, None)
    assert desk.begin(resume=True).fit_known is None
    assert desk.begin(resume=False).fit_known is None  # all is cached now


# --- reading on -----------------------------------------------------------------------------------------


def test_more_is_read_in_the_order_of_the_draw_until_the_clock_says_so(
    trunk: str, whole: Rows, tmp_path: Path
) -> None:
    """A row takes a second by what the rows know; the clock says that a reading takes as long as is thought."""
    clock = Counting()
    around = Surroundings(cache_dir=tmp_path / "cache", progress=Told(), clock=clock)
    desk = desk_of(trunk, tmp_path, around=around)
    rows = replace(desk.begin(), row_s=1.0)
    sample = sample_of(desk.order, rows, desk.preparation)
    assert sample is not None
    n_test_left = len(rows.split.test) - len(np.intersect1d(rows.split.test, drawn()))
    assert (sample.afterwards.n_rows, sample.afterwards.row_s) == (n_test_left, 1.0)
    assert sample.afterwards.delivery_s == DELIVERY_S
    clock.step_s = 10.0
    more = sample.more(
        clock.now_s + 70.0
    )  # of 60, 40 and 20 seconds 20, 20 and 16, for not all are spent at once
    turn = [row for row in np.random.default_rng(0).permutation(N) if row in set(rows.fit_rows)]
    n_known = len(more.known)
    assert n_known == len(sample.known) + 20 + 20 + 16
    assert set(rows.fit_rows[more.known]) == set(turn[:n_known])
    assert np.allclose(rows.fit_features[more.known], whole.fit_features[more.known], atol=1e-5)
    assert not np.delete(rows.fit_features, more.known, axis=0).any()
    assert len(more.more(clock.now_s).known) == n_known
    clock.step_s = 0.0
    assert len(more.more(clock.now_s + 1e6).known) == len(rows.fit_rows)


def test_whoever_wants_the_best_so_far_waits_for_no_more(trunk: str, tmp_path: Path) -> None:
    around = Surroundings(cache_dir=tmp_path / "cache", progress=Told(), should_stop=lambda: True)
    desk = desk_of(trunk, tmp_path, around=around)
    rows = desk.begin()
    sample = sample_of(desk.order, rows, desk.preparation)
    assert sample is not None
    assert len(sample.more(1e9).known) == len(sample.known)


def test_a_row_of_unknown_speed_is_timed_on_the_way(trunk: str, tmp_path: Path) -> None:
    desk = desk_of(trunk, tmp_path)
    rows = replace(desk.begin(), row_s=None)
    sample = sample_of(desk.order, rows, desk.preparation)
    assert sample is not None
    clock = desk.order.around.clock
    assert len(sample.more(clock() + 1e6).known) == len(rows.fit_rows)


def test_what_is_completed_is_as_if_it_had_been_read_at_once(trunk: str, whole: Rows, tmp_path: Path) -> None:
    desk = desk_of(trunk, tmp_path)
    assert_same_rows(completed(desk.order, desk.begin(), desk.preparation), whole)
    assert completed(desk.order, whole, desk.preparation) is whole


# --- what came of it ------------------------------------------------------------------------------------


def fitted_on(rows: Rows, known: Array | None) -> Fitted:
    held_out = np.full((len(rows.fit_rows), 2), np.nan)
    held_out[fit_known(rows) if known is None else known] = 1.0
    head = LinearHead(np.zeros((2, rows.fit_features.shape[1])), np.zeros(2))
    return Fitted({"label": head}, {"label": held_out}, ("C = 1",), fitted_on=known)


def test_a_probe_rests_on_what_was_read_and_is_tested_on_all(trunk: str, whole: Rows, tmp_path: Path) -> None:
    desk = desk_of(trunk, tmp_path)
    begun = replace(desk.begin(), row_s=1.0)
    known = fit_known(begun)
    rows, fitted = settled_on(desk.order, begun, desk.preparation, fitted_on(begun, known))
    assert np.array_equal(rows.fit_rows, begun.fit_rows[known])
    assert np.array_equal(rows.split.train, np.intersect1d(begun.split.train, rows.fit_rows))
    assert np.array_equal(rows.split.valid, np.intersect1d(begun.split.valid, rows.fit_rows))
    assert np.allclose(rows.fit_features, whole.fit_features[known], atol=1e-5)
    assert np.allclose(rows.test_features, whole.test_features, atol=1e-5)
    assert sample_of(desk.order, rows, desk.preparation) is None
    assert len(rows.goals()["label"].truth) == len(known) == len(fitted.held_out["label"])
    for fold, all_of_it in zip(rows.folds, begun.folds, strict=True):
        assert np.array_equal(known[fold.valid], np.intersect1d(all_of_it.valid, known))
    minutes = -(-(300 + len(begun.fit_rows) - len(known)) // 60)
    assert fitted.notes[-1] == (
        f"Fitted on {len(known)} of {len(begun.fit_rows)} inputs: the budget of 5m had no time to read the others. "
        f"--budget {minutes}m has it for all."
    )


def test_why_rows_are_missing_is_told_as_it_was(trunk: str, tmp_path: Path) -> None:
    desk = desk_of(trunk, tmp_path)
    begun = replace(desk.begin(), row_s=None)
    found = fitted_on(begun, fit_known(begun))
    assert "there was no time" in settled_on(desk.order, begun, desk.preparation, found)[1].notes[-1]
    stopped = replace(desk.order, around=replace(desk.order.around, should_stop=lambda: True))
    assert "it was stopped before" in settled_on(stopped, begun, desk.preparation, found)[1].notes[-1]
    every = fitted_on(begun, np.arange(len(begun.fit_rows)))
    assert settled_on(desk.order, begun, desk.preparation, every)[1].notes == ("C = 1",)


def test_a_network_that_was_trained_rests_on_all_rows(trunk: str, whole: Rows, tmp_path: Path) -> None:
    desk = desk_of(trunk, tmp_path)
    begun = desk.begin()
    found = fitted_on(begun, None)
    trained = replace(found, weights={"any": np.zeros(1)})
    rows, fitted = settled_on(desk.order, begun, desk.preparation, trained)
    assert rows is begun
    assert np.array_equal(rows_after(rows), [*begun.fit_rows[fit_known(begun)], *begun.split.test])
    assert len(fitted.held_out["label"]) == len(begun.fit_rows)
    assert len(rows_after(whole)) == N
    untold, _ = settled_on(desk.order, begun, desk.preparation, found)
    assert np.array_equal(untold.fit_rows, begun.fit_rows[fit_known(begun)])


# --- through a network that was trained ------------------------------------------------------------------


def test_rows_through_a_trained_network_are_those_of_the_sample(
    trunk: str, whole: Rows, tmp_path: Path
) -> None:
    """A network whose weights are what they were gives the features that the frozen one gave."""
    desk = desk_of(trunk, tmp_path)
    begun, graph = desk.begin(), desk.preparation.graph()
    known = fit_known(begun)
    tuned = tuned_rows(desk.order, begun, desk.preparation, graph)
    assert np.allclose(tuned.fit_features[known], whole.fit_features[known], atol=1e-5)
    assert not np.delete(tuned.fit_features, known, axis=0).any()
    assert np.allclose(tuned.test_features, whole.test_features, atol=1e-5)
    assert not np.shares_memory(tuned.fit_features, begun.fit_features)
