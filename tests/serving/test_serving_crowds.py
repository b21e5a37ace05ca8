"""One client cannot have all connections."""

from __future__ import annotations

import random
import sys

import pytest

from topwork.serving.http.crowds import MOST_OF_OTHERS, Crowd


def test_a_client_is_over_by_what_is_beyond_its_bound() -> None:
    crowd = Crowd(2)
    assert [crowd.enter("192.0.2.7") for _ in range(4)] == [-1, 0, 1, 2]
    assert crowd.enter("192.0.2.8") == -1
    for _ in range(3):
        crowd.leave("192.0.2.7")
    assert crowd.enter("192.0.2.7") == 0


def test_a_subnet_of_ipv6_is_one_client_and_an_address_of_ipv4_is_one_in_either_dress() -> None:
    crowd = Crowd(1)
    assert [crowd.enter(f"2001:db8:0:1::{i}") for i in range(2)] == [0, 1]
    assert crowd.enter("2001:db8:0:2::1") == 0
    assert [crowd.enter(one) for one in ("192.0.2.7", "::ffff:192.0.2.7", "::ffff:192.0.2.8")] == [0, 1, 0]


@pytest.mark.parametrize(
    ("address", "bound"), [("192.0.2.7", MOST_OF_OTHERS), ("127.0.0.1", sys.maxsize), ("::1", sys.maxsize)]
)
def test_without_a_word_of_the_operator_other_machines_are_bounded_and_this_one_is_not(
    address: str, bound: int
) -> None:
    assert Crowd().enter(address) == 1 - bound
    assert Crowd(3).enter(address) == -2
    assert Crowd(3).enter("") == 1 - sys.maxsize


def test_who_is_gone_is_forgotten() -> None:
    crowd, rng = Crowd(5), random.Random(2)
    inside: list[str] = []
    for _ in range(2000):
        if inside and rng.random() < 0.5:
            crowd.leave(inside.pop(rng.randrange(len(inside))))
        else:
            inside.append(f"192.0.2.{rng.randrange(20)}")
            crowd.enter(inside[-1])
        assert len(crowd) == len(set(inside))
    for one in inside:
        crowd.leave(one)
    assert len(crowd) == 0
