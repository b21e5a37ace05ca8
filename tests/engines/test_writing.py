"""Texts that are written at once: who joins, who leaves, and that nobody gets anybody else's words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from topwork.contracts import Array, Sampling, Written
from topwork.engines.paged import Part
from topwork.engines.paging import BlockPool
from topwork.engines.writing import Joining, Opening, write
from topwork.errors import UsageError

N_SCORES, N_BLOCK_TOKENS = 50, 4
GREEDY = Sampling(temperature=0)


def after(tokens: Sequence[int]) -> int:
    """Return the token that the decoder below finds likeliest after all of these."""
    return int((sum((place + 1) * token for place, token in enumerate(tokens)) * 7 + 3) % N_SCORES)


def continued(tokens: Sequence[int], n: int) -> list[int]:
    found = list(tokens)
    for _ in range(n):
        found.append(after(found))
    return found[len(tokens) :]


@dataclass
class Reading:
    """A decoder that keeps tokens in its blocks in place of keys and values, and reads a text from there."""

    n_blocks: int = 100
    steps: list[int] = field(default_factory=list)
    n_run: int = 0

    def __post_init__(self) -> None:
        self.pool = BlockPool(self.n_blocks, N_BLOCK_TOKENS)
        self.cache = np.full((self.n_blocks, N_BLOCK_TOKENS), -1)

    def run(self, parts: Sequence[Part]) -> Array:
        self.steps.append(len(parts))
        self.n_run += sum(len(part.tokens) for part in parts)
        rows = []
        for part in parts:
            for place, token in enumerate(part.tokens, start=part.n_before):
                block = part.blocks[place // N_BLOCK_TOKENS]
                self.cache[block, place % N_BLOCK_TOKENS] = token
        for part in parts:
            n = part.n_before + len(part.tokens)
            text = self.cache[list(part.blocks)].reshape(-1)[:n]
            for back in range(part.n_wanted):
                scores = np.zeros(N_SCORES, np.float32)
                scores[after(text[: n - part.n_wanted + 1 + back].tolist())] = 9.0
                rows.append(scores)
        return np.array(rows, np.float32).reshape(-1, N_SCORES)


@dataclass
class Coming(Joining):
    """Texts that come, and numbers that go, at the n-th time that they are asked for."""

    come: dict[int, list[Opening]] = field(default_factory=dict)
    go: dict[int, list[int]] = field(default_factory=dict)
    n_asked: int = 0

    def admit(self) -> Sequence[Opening]:
        self.n_asked += 1
        return self.come.get(self.n_asked, [])

    def gone(self) -> Collection[int]:
        return self.go.get(self.n_asked, [])


def texts_of(written: Sequence[Written]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for one in written:
        found.setdefault(one.number, []).append(one.token)
    return found


def opening(*tokens: int, n: int = 6) -> Opening:
    return Opening(tokens, n, GREEDY)


def test_texts_are_written_at_once_each_as_if_alone() -> None:
    decoder = Reading()
    openings = [opening(*range(1, 11)), opening(3, n=2), opening(*range(1, 9), 40)]
    found = texts_of(list(write(decoder, openings)))
    assert found == {i: continued(one.tokens, one.n_most) for i, one in enumerate(openings)}
    assert decoder.steps[0] == 3
    assert len(decoder.steps) == 6


def test_it_is_told_why_a_text_ended() -> None:
    (token, *_) = continued((1, 2), 1)
    stopped = list(write(Reading(), [Opening((1, 2), 5, GREEDY, frozenset({token}))]))
    assert [(one.token, one.ending) for one in stopped] == [(token, "stop")]
    ended = list(write(Reading(), [opening(1, 2, n=3)]))
    assert [one.ending for one in ended] == [None, None, "length"]
    assert ended[0].log_probability == pytest.approx(9 - np.log(np.exp(9) + N_SCORES - 1), abs=1e-5)


def test_newcomers_join_while_others_are_written() -> None:
    decoder = Reading()
    joining = Coming({3: [opening(5, 6, 7), opening(8, n=1)]})
    written = list(write(decoder, [opening(1, 2, n=8)], joining))
    assert texts_of(written) == {0: continued((1, 2), 8), 1: continued((5, 6, 7), 6), 2: continued((8,), 1)}
    assert decoder.steps == [1, 1, 3, 2, 2, 2, 2, 2]


def test_who_has_gone_is_written_no_further() -> None:
    decoder = Reading()
    written = list(write(decoder, [opening(1, n=50), opening(2, n=4)], Coming(go={3: [0]})))
    assert {number: len(tokens) for number, tokens in texts_of(written).items()} == {0: 2, 1: 4}
    assert len(decoder.steps) == 4


def test_who_goes_before_there_is_room_never_begins() -> None:
    decoder = Reading(n_blocks=2)
    joining = Coming(go={2: [1]})
    written = list(write(decoder, [opening(1, 2, 3, 4, 5, n=3), opening(5, 6, n=4)], joining))
    assert set(texts_of(written)) == {0}


def test_a_beginning_that_others_had_is_not_computed_again() -> None:
    decoder = Reading()
    beginning = tuple(range(1, 21))
    joining = Coming({2: [opening(*beginning, 30, n=1)]})
    written = list(write(decoder, [opening(*beginning, n=3)], joining))
    assert texts_of(written)[1] == continued((*beginning, 30), 1)
    assert decoder.n_run == 20 + 2 + 1


def test_a_later_call_finds_what_an_earlier_one_computed() -> None:
    decoder = Reading()
    beginning = tuple(range(1, 21))
    first = texts_of(list(write(decoder, [opening(*beginning, n=6)])))[0]
    assert decoder.n_run == 20 + 5
    again = texts_of(list(write(decoder, [opening(*beginning, *first, 7, n=3)])))[0]
    assert again == continued((*beginning, *first, 7), 3)
    assert decoder.n_run == 20 + 5 + 3 + 2  # of 27 tokens 24 are in full blocks
    assert decoder.pool.n_free == decoder.n_blocks


def test_who_stops_listening_leaves_nothing_behind() -> None:
    decoder = Reading()
    writing = write(decoder, [opening(1, 2, 3, 4, 5, n=9), opening(6, n=9)])
    next(writing)
    assert decoder.pool.n_free < decoder.n_blocks
    writing.close()  # type: ignore[attr-defined]
    assert decoder.pool.n_free == decoder.n_blocks


def test_a_long_beginning_is_run_in_pieces_while_others_go_on() -> None:
    decoder = Reading(n_blocks=1000)
    long = tuple(1 + i % 40 for i in range(700))
    joining = Coming({2: [opening(*long, n=2)]})
    written = list(write(decoder, [opening(1, 2, n=6)], joining))
    assert texts_of(written) == {0: continued((1, 2), 6), 1: continued(long, 2)}
    numbers = [one.number for one in written]
    assert numbers == [0, 0, 0, 0, 1, 0, 1, 0]  # the first goes on while 256, 256 and 188 tokens are run


def told(written: Sequence[Written], number: int = 0) -> list[tuple[int, float]]:
    """Return the given tokens of a text, each with its probability."""
    return [
        (one.token, round(float(np.exp(one.log_probability)), 3))
        for one in written
        if one.number == number and one.is_given
    ]


def expected_of(tokens: Sequence[int]) -> list[tuple[int, float]]:
    """Return the same by the rule of the decoder."""
    total = np.exp(9) + N_SCORES - 1
    likely, other = round(float(np.exp(9) / total), 3), round(float(1 / total), 3)
    return [
        (token, likely if after(tokens[:place]) == token else other)
        for place, token in enumerate(tokens[1:], start=1)
    ]


def test_given_tokens_are_told_each_by_those_before_it() -> None:
    given = (1, 2, *continued((1, 2), 3), 9, 4)
    decoder = Reading()
    list(write(decoder, [opening(*given, n=1)]))  # whose blocks know no scores
    asked = Opening(given, 2, GREEDY, n_likeliest=1, tells_given=True)
    written = list(write(decoder, [asked, opening(7, n=3)]))
    assert told(written) == expected_of(given)
    assert [value for _, value in told(written)[1:4]] == [0.994] * 3
    assert [one.token for one in written if one.number == 0 and not one.is_given] == continued(given, 2)
    assert written[0].likeliest[0][0] == after(given[:1])
    assert told(written, 1) == []
    assert texts_of(written)[1] == continued((7,), 3)


def test_given_tokens_of_a_long_text_are_told_once_though_it_begins_again() -> None:
    long = tuple(1 + i % 40 for i in range(300))
    asked = Opening(long, 15, GREEDY, tells_given=True)
    early = opening(5, 6, n=20)
    decoders = [Reading(n_blocks=n_blocks) for n_blocks in (80, 82, 100)]
    for decoder in decoders:
        written = list(write(decoder, [early, asked]))
        assert told(written, 1) == expected_of(long)
        assert texts_of([one for one in written if not one.is_given]) == {
            0: continued((5, 6), 20),
            1: continued(long, 15),
        }
    # In the smaller ones the first text grew until the second had to make room for it.
    assert [decoder.n_run > decoders[-1].n_run + 200 for decoder in decoders] == [True, True, False]
    assert told(list(write(Reading(), [Opening((3,), 1, GREEDY, tells_given=True)]))) == []


@pytest.mark.parametrize("n_blocks", [6, 7, 9, 12])
def test_where_the_cache_is_full_texts_wait_or_begin_again_and_come_out_the_same(n_blocks: int) -> None:
    decoder = Reading(n_blocks=n_blocks)
    openings = [opening(*range(i + 1, i + 6), n=15) for i in range(5)]
    found = texts_of(list(write(decoder, openings)))
    assert found == {i: continued(one.tokens, 15) for i, one in enumerate(openings)}


def test_a_text_that_never_fits_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"5 tokens that is to become 4 longer does not fit into a cache of 8"
    ):
        list(write(Reading(n_blocks=2), [opening(1, 2, 3, 4, 5, n=4)]))


def test_draws_do_not_depend_on_who_else_is_there() -> None:
    class Flat(Reading):
        def run(self, parts: Sequence[Part]) -> Array:
            return np.zeros_like(super().run(parts))

    one = Opening((1, 2, 3), 10, Sampling(temperature=1, seed=5))
    alone = texts_of(list(write(Flat(), [one])))[0]
    together = texts_of(list(write(Flat(), [opening(4), one, opening(9)])))[1]
    assert alone == together
    assert len(set(alone)) > 3
