"""Each request has its turn, whatever it brought along; inputs of one key go together."""

from __future__ import annotations

from topwork.serving.batching.line import Line
from topwork.serving.batching.patience import Patience
from topwork.serving.batching.share import Item, Share


def request() -> Share:
    return Share(tuple, eager=False, patience=Patience(10.0), on_done=lambda _: None, clock=lambda: 0.0)


def fill(line: Line, share: Share, *keys: str) -> None:
    for index, key in enumerate(keys):
        line.add(Item(share, index, b"", key=key))


def taken(line: Line, key: str, n_most: int) -> list[tuple[Share, int]]:
    return [(item.share, item.index) for item in line.take(key, n_most)]


def test_a_large_request_does_not_hold_up_a_small_one() -> None:
    line, large, small = Line(), request(), request()
    fill(line, large, *"aaaaaa")
    fill(line, small, "a")
    assert taken(line, "a", 4) == [(large, 0), (small, 0), (large, 1), (large, 2)]
    assert taken(line, "a", 4) == [(large, 3), (large, 4), (large, 5)]
    assert len(line) == 0


def test_whoever_had_a_turn_stands_at_the_end() -> None:
    line, one, two, three = Line(), request(), request(), request()
    for share in (one, two, three):
        fill(line, share, *"aaa")
    assert taken(line, "a", 2) == [(one, 0), (two, 0)]
    assert taken(line, "a", 2) == [(three, 0), (one, 1)]
    assert taken(line, "a", 2) == [(two, 1), (three, 1)]


def test_a_batch_is_of_one_key_and_nobody_is_overtaken_for_ever() -> None:
    line, one, two = Line(), request(), request()
    fill(line, one, *"abab")
    fill(line, two, *"bb")
    assert line.first().key == "a"
    assert taken(line, "a", 8) == [(one, 0), (one, 2)]
    assert line.first().share is two, "the other one had its turn"
    assert taken(line, "b", 3) == [(two, 0), (one, 1), (two, 1)]
    assert taken(line, "b", 3) == [(one, 3)]
    assert taken(line, "b", 3) == []


def test_who_leaves_takes_everything_along() -> None:
    line, one, two = Line(), request(), request()
    fill(line, one, *"ab")
    fill(line, two, "a")
    assert (line.leave(one), line.leave(one)) == (2, 0)
    assert len(line) == 1
    assert taken(line, "a", 8) == [(two, 0)]


def test_it_knows_whom_nobody_waits_for() -> None:
    line, one, two = Line(), request(), request()
    fill(line, one, "a")
    fill(line, two, "a")
    assert line.unwanted(9.9) == []
    two.is_gone = True
    assert line.unwanted(9.9) == [two]
    assert line.unwanted(10.0) == [one, two]
