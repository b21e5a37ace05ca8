"""How large a batch may be: by measured times, never beyond what it is worth or the deadline allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from fake_batches import FakeBatches
from topwork.contracts import Answer, Intake
from topwork.serving.batching.sizing import DEADLINE_SHARE, GAIN, SIZES, batch_limit, service_times, warm_up


def linear(per_batch_s: float, per_input_s: float, sizes: Sequence[int] = SIZES) -> dict[int, float]:
    return {n: per_batch_s + n * per_input_s for n in sizes}


@pytest.mark.parametrize(
    ("times", "limit"),
    [
        (linear(0.0, 0.01), 1),  # every input costs the same: a batch only makes others wait
        (linear(0.01, 0.0), 64),  # all cost as much as one
        (linear(0.01, 0.01), 16),  # of 100 per second at most, 16 get 94, and 8 get 89
        (linear(0.001, 0.01), 1),
        ({1: 0.010, 2: 0.021, 4: 0.020, 8: 0.041}, 4),  # one slow size does not hide a better one
        ({1: 0.0, 2: 0.0}, 2),  # faster than the clock
        ({1: 3.0, 2: 3.1}, 2),
        ({}, 1),
    ],
)
def test_a_batch_is_no_larger_than_it_is_worth(times: dict[int, float], limit: int) -> None:
    assert batch_limit(times, deadline_s=30.0) == limit


def test_a_batch_takes_no_more_than_its_share_of_the_deadline() -> None:
    times = linear(0.1, 0.001)
    assert batch_limit(times, deadline_s=30.0) == 64
    assert batch_limit(times, deadline_s=0.11 / DEADLINE_SHARE) == 8
    assert batch_limit(times, deadline_s=0.05 / DEADLINE_SHARE) == 1


def test_the_limit_is_within_the_stated_share_of_the_best() -> None:
    for per_batch_s in (0.0001, 0.001, 0.003, 0.01, 0.1):
        times = linear(per_batch_s, 0.001)
        rates = {n: n / took for n, took in times.items()}
        limit = batch_limit(times, deadline_s=1000.0)
        assert rates[limit] * (1 + GAIN) >= max(rates.values())
        assert all(rate * (1 + GAIN) < max(rates.values()) for n, rate in rates.items() if n < limit)


@dataclass
class Timed(FakeBatches):
    """Takes as long as it is told, by a clock of its own; the first batch of a size takes longer."""

    per_batch_s: float = 0.01
    per_input_s: float = 0.01
    inputs: list[bytes] = field(default_factory=lambda: [b"sample"])
    now_s: float = 0.0

    def samples(self) -> Sequence[bytes]:
        return self.inputs

    def compute(self, prepared: Sequence[bytes], intake: Intake) -> Iterator[Answer]:
        cold = len(prepared) not in map(len, self.batches)
        self.now_s += self.per_batch_s + len(prepared) * self.per_input_s + 0.3 * cold
        yield from FakeBatches.compute(self, prepared, intake)


def measured(servable: Timed, deadline_s: float = 30.0) -> dict[int, float]:
    return service_times(servable, deadline_s, clock=lambda: servable.now_s)


def test_times_are_those_of_a_warm_engine() -> None:
    times = measured(Timed())
    assert times == pytest.approx(linear(0.01, 0.01, list(times)))
    assert list(times)[:3] == [1, 2, 4]


def test_no_larger_size_is_tried_once_two_gained_nothing() -> None:
    assert list(measured(Timed(per_batch_s=0.0, per_input_s=0.001))) == [1, 2, 4]


def test_no_larger_size_is_tried_once_the_deadline_or_the_start_suffers() -> None:
    assert list(measured(Timed(per_batch_s=0.02, per_input_s=0.0), deadline_s=0.04)) == [1]
    slow = Timed(per_batch_s=5.0)
    assert list(measured(slow)) == [1]
    assert len(slow.batches) == 2


def test_samples_of_the_most_common_key_are_measured() -> None:
    servable = Timed(inputs=[b"a:1", b"b:2", b"b:3"], per_batch_s=1.0)
    measured(servable)
    assert servable.batches == [[b"b:2"], [b"b:2"]]


def test_without_samples_nothing_is_measured() -> None:
    assert measured(Timed(inputs=[])) == {}


def test_other_sizes_are_warm_on_every_stream_as_far_as_there_is_time() -> None:
    quick, slow, empty = Timed(), Timed(), Timed(inputs=[])
    for servable, sizes in ((quick, (3, 5)), (slow, (30, 31, 32)), (empty, (3,))):
        warm_up(servable, sizes, 2, clock=lambda servable=servable: servable.now_s)  # type: ignore[misc]
    assert list(map(len, quick.batches)) == [3, 3, 5]
    assert list(map(len, slow.batches)) == [30]
    assert empty.batches == []
