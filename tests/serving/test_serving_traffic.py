"""Who gets which request: shares, clients that stay where they are, and the trial of a canary."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from doors import Clock
from topwork.errors import UsageError
from topwork.serving.traffic.canaries import Rules
from topwork.serving.traffic.shares import Canary, Lane, Traffic, chosen, point_of

LANES = (Lane("a", 3), Lane("b", 1))
CANARY = Canary("c", 0.1, Rules(promote_after=100, most_errors=0.05))


def traffic(
    canary: Canary | None = None, lanes: tuple[Lane, ...] = LANES, clock: Clock | None = None
) -> Traffic:
    return Traffic("model", lanes, canary, random=Random(0).random, clock=clock or Clock())


# --- the split ------------------------------------------------------------------------------------------


def test_shares_are_exact_over_the_whole_line() -> None:
    n = 10_000
    found = Counter(chosen((i + 0.5) / n, {"a": 0.75, "b": 0.2, "c": 0.05}) for i in range(n))
    assert found == {"a": 7500, "b": 2000, "c": 500}


def test_the_ends_of_the_line_and_versions_without_a_share() -> None:
    assert chosen(0.0, {"none": 0.0, "a": 0.4, "b": 0.6}) == "a"
    assert chosen(1 - 2**-53, {"a": 0.1 + 0.2, "b": 0.7 - 1e-9, "none": 0.0}) == "b"


def test_a_key_falls_on_one_point_and_keys_spread_evenly() -> None:
    points = [point_of(f"client {i}", "model") for i in range(20_000)]
    assert points[7] == point_of("client 7", "model") != point_of("client 7", "another model")
    assert all(0 <= point < 1 for point in points)
    tenths = Counter(int(10 * point) for point in points)
    # Five standard deviations of a binomial count.
    assert all(abs(tenths[tenth] - 2000) < 5 * (20_000 * 0.1 * 0.9) ** 0.5 for tenth in range(10))


@pytest.mark.parametrize("key", ["", "\udc80", "ключ", "x" * 10_000])
def test_any_text_is_a_key(key: str) -> None:
    assert 0 <= point_of(key, "model") < 1


def test_weights_are_shares_and_keys_stay() -> None:
    one = traffic()
    assert one.shares == {"a": 0.75, "b": 0.25}
    found = Counter(one.route(f"client {i}") for i in range(20_000))
    assert abs(found["a"] - 15_000) < 5 * (20_000 * 0.75 * 0.25) ** 0.5
    assert {one.route("somebody") for _ in range(50)} == {traffic().route("somebody")}
    drawn = Counter(one.route(None) for _ in range(20_000))
    assert abs(drawn["a"] - 15_000) < 5 * (20_000 * 0.75 * 0.25) ** 0.5


def test_a_version_without_weight_answers_nobody() -> None:
    one = traffic(lanes=(Lane("a", 1), Lane("standby", 0)))
    assert {one.route(f"client {i}") for i in range(2000)} == {"a"}
    with pytest.raises(UsageError, match="No version of model has a weight"):
        traffic(lanes=(Lane("a", 0),))


def test_a_canary_takes_its_share_of_all_and_keeps_its_clients() -> None:
    one = traffic(CANARY)
    assert one.shares == pytest.approx({"c": 0.1, "a": 0.675, "b": 0.225})
    keys = [f"client {i}" for i in range(5000)]
    on_trial = {key for key in keys if one.route(key) == "c"}
    assert abs(len(on_trial) - 500) < 5 * (5000 * 0.1 * 0.9) ** 0.5
    wider = traffic(Canary("c", 0.3, CANARY.rules))
    assert all(wider.route(key) == "c" for key in on_trial)


# --- the trial ------------------------------------------------------------------------------------------


def run(one: Traffic, n: int, *, fails: str = "", seconds: float = 0.1) -> bool:
    """Have requests answered, or failed by one version; return whether that ended the trial."""
    for _ in range(n):
        version = one.route(None)
        failed = version == fails
        if one.note(version, failed=failed, seconds=None if failed else seconds):
            return True
    return False


def test_a_canary_that_does_well_gets_everything(caplog: pytest.LogCaptureFixture) -> None:
    one = traffic(CANARY)
    assert one.lead == "a"
    assert run(one, 20_000)
    assert (one.phase, one.lead) == ("promoted", "c")
    assert one.shares == {"c": 1.0, "a": 0.0, "b": 0.0}
    assert {one.route(f"client {i}") for i in range(1000)} == {"c"}
    assert "model: the canary c was promoted. 0 of" in caplog.text
    assert not run(one, 1000, fails="c"), "the trial is over"


def test_a_canary_that_fails_loses_everything(caplog: pytest.LogCaptureFixture) -> None:
    one = traffic(CANARY)
    assert run(one, 20_000, fails="c")
    assert (one.phase, one.lead) == ("rolled back", "a")
    assert one.shares == {"c": 0.0, "a": 0.75, "b": 0.25}
    assert one.counts["c"]["failed"] < 100, "that took too many clients"
    assert "was rolled back" in caplog.text


def test_failures_of_the_others_do_not_count_against_it() -> None:
    one = traffic(CANARY)
    run(one, 20_000, fails="a")
    assert one.phase == "promoted"


def test_it_is_watched_for_as_long_as_was_said() -> None:
    clock = Clock()
    one = traffic(Canary("c", 0.5, Rules(promote_after=10, watch_s=60, most_errors=0.05)), clock=clock)
    assert not run(one, 5000)
    clock.now_s = 60.0
    assert run(one, 5000)


def test_an_operator_may_end_it_and_go_back() -> None:
    one = traffic(CANARY)
    one.settle("promoted")
    assert one.lead == "c"
    one.settle("rolled back")
    assert one.lead == "a"
    with pytest.raises(UsageError, match="model has no canary"):
        traffic().settle("promoted")


def test_what_is_told_of_it() -> None:
    one = traffic(CANARY)
    one.note("a", failed=False, seconds=0.1)
    one.note("c", failed=True, seconds=None)
    told = one.to_json()
    assert told["versions"] == [
        {"version": "c", "share": 0.1, "answered": 0, "failed": 1},
        {"version": "a", "share": pytest.approx(0.675), "answered": 1, "failed": 0},
        {"version": "b", "share": pytest.approx(0.225), "answered": 0, "failed": 0},
    ]
    canary = told["canary"]
    assert isinstance(canary, dict)
    assert (canary["version"], canary["phase"], canary["verdict"]) == ("c", "trial", "wait")
    assert traffic().to_json()["canary"] is None
