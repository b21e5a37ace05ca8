"""A plan fits into its time, is exact about steps, and is the same plan after it was written down."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from math import ceil

import pytest

from topwork.contracts import Rates
from topwork.training.plan import (
    BATCH,
    MOST_VARIANTS,
    Plan,
    RungPlan,
    Speed,
    Subject,
    describe_plan,
    plan_from_json,
    plan_rungs,
    plan_to_json,
    rung_s,
)

N_STAGES, N_BELOW = 6, 3
ROWS = (1, 10, 356, 20_000, 1_000_000)
FOREVER_S = float("inf")
RATES = Rates(1e-4, 1e-3, 3e-3)


def speed_of(n_rows: int, *, all_s: float = 0.4) -> Speed:
    """Return the speed of a machine that needs ``all_s`` for a step, and a sixth of the rows for validation."""
    per_row_s = all_s / BATCH / 3
    return Speed(all_s, all_s / 4, n_rows * per_row_s / 2, n_rows / 6 * per_row_s)


def rungs_of(n_rows: int, remaining_s: float = FOREVER_S, n_steps: int | None = None) -> tuple[RungPlan, ...]:
    return plan_rungs(
        Subject(n_rows, N_STAGES, N_BELOW, RATES), speed_of(n_rows), remaining_s, n_steps=n_steps
    )


# --- what is planned ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_rows", ROWS)
def test_rungs_are_sensible_for_any_number_of_rows(n_rows: int) -> None:
    rungs = rungs_of(n_rows)
    assert [rung.name for rung in rungs] == ["top", "all", "longer"]
    assert [rung.n_below for rung in rungs] == [N_BELOW, 0, 0]
    per_epoch = max(1, n_rows // BATCH)
    for rung in rungs:
        assert rung.batch == min(BATCH, n_rows)
        assert 100 <= rung.n_steps <= 20_000
        assert rung.n_steps <= max(100, 20 * per_epoch)
        assert 1 <= rung.check_every <= per_epoch
        assert len(rung.rates) == N_STAGES - rung.n_below + 1
        assert list(rung.rates) == sorted(rung.rates)
    assert rungs[2].n_steps >= rungs[1].n_steps
    assert 1 <= rungs[0].n_variants <= MOST_VARIANTS
    assert rungs[0].n_variants * per_epoch >= min(rungs[0].n_steps, MOST_VARIANTS * per_epoch)
    assert rungs[1].n_variants == rungs[2].n_variants == 0


def test_stages_keep_their_rates_on_every_rung() -> None:
    top, every, _ = rungs_of(356)
    assert every.rates[N_BELOW:] == top.rates
    assert every.rates[0] == pytest.approx(1e-4)
    assert every.rates[-2:] == pytest.approx((1e-3, 3e-3))


def test_more_data_gets_fewer_epochs_and_more_steps() -> None:
    steps = [rungs_of(n_rows)[1].n_steps for n_rows in ROWS]
    assert steps == sorted(steps)
    epochs = [steps[i] / max(1, n_rows // BATCH) for i, n_rows in enumerate(ROWS)]
    assert epochs == sorted(epochs, reverse=True)


def test_a_network_that_cannot_be_cut_has_no_rung_of_upper_stages() -> None:
    rungs = plan_rungs(Subject(356, N_STAGES, 0, RATES), speed_of(356), FOREVER_S)
    assert [rung.name for rung in rungs] == ["all", "longer"]
    assert [
        r.name for r in plan_rungs(Subject(356, N_STAGES, 0, RATES), speed_of(356), FOREVER_S, n_steps=7)
    ] == ["all"]


@pytest.mark.parametrize("remaining_s", [8.0, 11.0, 20.0, 60.0, 600.0, FOREVER_S])
@pytest.mark.parametrize("n_steps", [None, 7])
def test_of_rows_that_do_not_vary_the_upper_stages_are_trained_alone_only_for_want_of_time(
    n_steps: int | None, remaining_s: float
) -> None:
    varying, same = (
        [
            rung.name
            for rung in plan_rungs(
                Subject(356, N_STAGES, N_BELOW, RATES, varies=varies),
                speed_of(356),
                remaining_s,
                n_steps=n_steps,
            )
        ]
        for varies in (True, False)
    )
    assert varying[0] == "top"
    assert same[0] == ("top" if n_steps is None and remaining_s == 8.0 else "all")
    assert "top" not in same[1:]


@pytest.mark.parametrize("n_steps", [None, 50])
@pytest.mark.parametrize("fit", [0, 1, 3])
def test_no_more_variants_are_kept_than_memory_holds(fit: int, n_steps: int | None) -> None:
    speed = replace(speed_of(20_000), most_variants=fit)
    rungs = plan_rungs(Subject(20_000, N_STAGES, N_BELOW, RATES), speed, FOREVER_S, n_steps=n_steps)
    assert ("top" in [rung.name for rung in rungs]) == (fit > 0)
    assert max(rung.n_variants for rung in rungs) == min(fit, 1 if n_steps else 4)


# --- steps and time -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_rows", ROWS)
@pytest.mark.parametrize("n_steps", [1, 2, 3, 10, 999])
def test_steps_are_exact(n_rows: int, n_steps: int) -> None:
    rungs = rungs_of(n_rows, 0.0, n_steps)
    assert sum(rung.n_steps for rung in rungs) == n_steps
    assert all(rung.n_steps > 0 for rung in rungs)
    assert [rung.name for rung in rungs] == ["top", "all"][: len(rungs)]
    assert len(rungs) == min(2, n_steps)


@pytest.mark.parametrize("all_s", [0.001, 0.4, 30.0])
@pytest.mark.parametrize("remaining_s", [-1.0, 0.0, 1.0, 10.0, 60.0, 300.0, 3600.0, 86_400.0])
@pytest.mark.parametrize("n_rows", ROWS)
def test_a_plan_is_never_over_its_time(n_rows: int, remaining_s: float, all_s: float) -> None:
    speed = speed_of(n_rows, all_s=all_s)
    rungs = plan_rungs(Subject(n_rows, N_STAGES, N_BELOW, RATES), speed, remaining_s)
    takes_s = sum(by_hand_s(rung, speed) for rung in rungs)
    assert takes_s <= max(0.0, remaining_s)


def test_much_validation_does_not_eat_the_time() -> None:
    many = replace(speed_of(20_000), n_valid=3_300)  # a look at all of them takes as long as 34 steps
    blind = replace(many, n_valid=0)
    planned = [plan_rungs(Subject(20_000, N_STAGES, N_BELOW, RATES), one, 300.0) for one in (many, blind)]
    (top, every), (blind_top, blind_every) = planned
    assert top.n_steps > 1.3 * blind_top.n_steps
    assert every.n_steps > 1.3 * blind_every.n_steps
    assert many.looks_s[0] == pytest.approx(many.check_s * 1000 / 3_300)
    assert (many.looks_s[1], blind.looks_s) == (many.check_s, (many.check_s, 0.0))


def by_hand_s(rung: RungPlan, speed: Speed) -> float:
    """Return what a rung takes, step by step and look by look: one at the start, then at every check and the end."""
    n_looks = 1 + ceil(rung.n_steps / rung.check_every)
    if not rung.n_below:
        return rung.n_steps * speed.all_s + n_looks * speed.check_s
    look_s = speed.check_s * speed.top_s / speed.all_s
    filling_s = rung.n_variants * speed.fill_s + speed.check_s
    return filling_s + rung.n_steps * speed.top_s + n_looks * look_s


@pytest.mark.parametrize(
    ("n_rows", "remaining_s"), [(356, 30.0), (356, 120.0), (20_000, 300.0), (20_000, 600.0)]
)
def test_time_that_is_there_is_used(n_rows: int, remaining_s: float) -> None:
    rungs = rungs_of(n_rows, remaining_s)
    assert [rung.name for rung in rungs][:2] == ["top", "all"]
    assert sum(by_hand_s(rung, speed_of(n_rows)) for rung in rungs) > 0.95 * remaining_s


def test_more_time_never_means_fewer_steps_with_all_stages() -> None:
    steps = [
        sum(rung.n_steps for rung in rungs_of(356, float(remaining_s)) if rung.n_below == 0)
        for remaining_s in (1, 10, 30, 60, 120, 240, 480, 10_000)
    ]
    assert steps[0] == 0
    assert steps[-1] == 330
    assert sorted(steps) == steps


def test_a_rung_that_is_hardly_worth_beginning_is_left_out() -> None:
    assert rungs_of(356, 2.0) == ()
    assert all(rung.n_steps >= 10 for s in range(1, 60) for rung in rungs_of(356, float(s)))


def test_where_time_is_short_the_upper_stages_get_all_of_it() -> None:
    assert [rung.name for rung in rungs_of(356, 8.0)] == ["top"]
    for seconds in range(3, 200):
        last = {rung.name: rung.n_steps for rung in rungs_of(356, float(seconds))}.get("all", 22)
        assert last >= 22, seconds  # two epochs


def test_a_longer_rung_takes_longer() -> None:
    for name in ("top", "all"):
        seconds = [rung_s(name, n, speed_of(356), 11) for n in range(1, 200)]
        assert all(one < other for one, other in pairwise(seconds))


# --- on paper -------------------------------------------------------------------------------------------


def whole_plan() -> Plan:
    return Plan(3, 2, "bf16", "torch 2.9", "a" * 64, rungs_of(356))


def test_a_plan_is_the_same_after_it_was_written_down() -> None:
    plan = replace(whole_plan(), rungs=tuple(replace(r, n_parts=3, recompute=True) for r in rungs_of(10)))
    assert plan_from_json(plan_to_json(plan)) == plan
    assert plan_from_json(plan_to_json(replace(plan, rungs=()))) == replace(plan, rungs=())


@pytest.mark.parametrize("text", ["", "null", "[]", '"plan"', "3", "{}", '{"rungs": 3}', '{"rungs": [1]}'])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        plan_from_json(text)


def test_a_plan_with_unknown_or_missing_fields_is_refused() -> None:
    fields = json.loads(plan_to_json(whole_plan()))
    for wrong in ({**fields, "other": 1}, {k: v for k, v in fields.items() if k != "seed"}):
        with pytest.raises((KeyError, TypeError)):
            plan_from_json(json.dumps(wrong))
    del fields["rungs"][0]["rates"]
    with pytest.raises(KeyError):
        plan_from_json(json.dumps(fields))


def test_a_plan_in_words_names_what_decides_the_weights() -> None:
    told = describe_plan(whole_plan())
    assert list(told) == ["seed", "threads", "device", "precision", "libraries", "top", "all", "longer"]
    assert told["seed"] == "3"
    assert told["top"].startswith("110 steps of 32")
    assert "3 stages frozen, 8 variants" in told["top"]
    assert "frozen" not in told["all"]
