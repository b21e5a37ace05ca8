"""Texts as rows of one length: nothing is lost, nothing is said twice, and no text sees another."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tiny_writers import GPT2, LLAMA, tiny_writer
from topwork.training.packing import NOTHING, Packed, PackedFeed, Tokenised, cut, pack
from topwork.training.saying import Speaker, costs_of_pieces
from topwork.trunks.causal import states_of


def text(tokens: list[int], document: int = 0, learned_from: int = 0) -> Tokenised:
    found = np.array(tokens, np.int64)
    return Tokenised(found, np.arange(len(found)) >= learned_from, document)


def said(packed: Packed) -> dict[int, list[int]]:
    """Return the tokens that are to be said, by the piece that they are of."""
    found: dict[int, list[int]] = {}
    for row, where in zip(packed.tensors, packed.pieces, strict=True):
        for token, piece in zip(row[2].tolist(), where.tolist(), strict=True):
            if token != NOTHING:
                found.setdefault(piece, []).append(token)
    return found


def test_a_long_text_is_cut_and_each_of_its_tokens_is_said_once_but_the_first() -> None:
    pieces = cut([text(list(range(10, 21)), document=7)], 4)
    assert [piece.tokens.tolist() for piece in pieces] == [
        [10, 11, 12, 13],
        [13, 14, 15, 16],
        [16, 17, 18, 19],
        [19, 20],
    ]
    assert {piece.document for piece in pieces} == {7}
    together = said(pack(pieces, 4))
    assert [token for piece in range(4) for token in together[piece]] == list(range(11, 21))


def test_what_is_given_is_not_to_be_said_and_a_piece_of_that_alone_is_left_out() -> None:
    pieces = cut([text([1, 2, 3, 4, 5, 6, 7, 8, 9], learned_from=6)], 4)
    assert [piece.tokens.tolist() for piece in pieces] == [[4, 5, 6, 7], [7, 8, 9]]
    assert said(pack(pieces, 4)) == {0: [7], 1: [8, 9]}


def test_short_texts_share_a_row_and_each_begins_at_the_first_position() -> None:
    packed = pack(cut([text([1, 2, 3], 0), text([4, 5], 1), text([6, 7], 2)], 8), 8)
    [row] = packed.tensors
    assert row[0].tolist() == [1, 2, 3, 4, 5, 6, 7, 0]
    assert row[1].tolist() == [0, 1, 2, 0, 1, 0, 1, 0]
    assert row[2].tolist() == [2, 3, NOTHING, 5, NOTHING, 7, NOTHING, NOTHING]
    assert packed.pieces.tolist() == [[0, 0, 0, 1, 1, 2, 2, -1]]
    assert packed.documents.tolist() == [0, 1, 2]
    assert packed.n_said == 4


@given(st.lists(st.integers(2, 40), min_size=1, max_size=40), st.integers(2, 16))
def test_nothing_is_lost_and_rows_are_as_full_as_they_can_be(lengths: list[int], length: int) -> None:
    texts = [text([100 * i + k for k in range(n)], i) for i, n in enumerate(lengths)]
    pieces = cut(texts, length)
    packed = pack(pieces, length)
    assert packed.n_said == sum(lengths) - len(lengths)
    assert said(packed) == {i: piece.tokens[1:].tolist() for i, piece in enumerate(pieces)}
    used = (packed.pieces >= 0).sum(axis=1)
    assert (np.sort(used)[1:] * 2 > length).all()  # two rows that are half empty would be one


@pytest.mark.parametrize("config", [LLAMA, GPT2])
def test_texts_in_one_row_cost_what_each_costs_alone(config: dict[str, object]) -> None:
    network = tiny_writer(dict(config), attention="sdpa")
    speaker = Speaker(states_of(network), network.get_output_embeddings())
    draw = np.random.default_rng(0)
    texts = [text(draw.integers(1, 290, n).tolist(), i) for i, n in enumerate((20, 5, 9, 31, 3))]
    packed = pack(cut(texts, 32), 32)
    assert len(packed) < len(texts)
    costs, counts = costs_of_pieces(speaker, packed, lambda _: None, bf16=False)
    for number, one in enumerate(texts):
        tokens = torch.from_numpy(one.tokens)
        with torch.inference_mode():
            scores = network(tokens[None]).logits[0, :-1]
        alone = float(torch.nn.functional.cross_entropy(scores, tokens[1:], reduction="sum"))
        assert costs[number] == pytest.approx(alone, rel=1e-4)
        assert counts[number] == len(tokens) - 1


def test_the_cost_of_a_row_is_in_units_of_what_rows_say() -> None:
    network = tiny_writer(LLAMA, attention="sdpa")
    packed = pack(cut([text(list(range(1, 30)), 0), text(list(range(40, 50)), 1)], 32), 32)
    head = network.get_output_embeddings()
    rows = torch.from_numpy(packed.tensors)
    whole = Speaker(states_of(network), head).costs(rows).detach()
    share = Speaker(states_of(network), head, n_said=4.0).costs(rows).detach()
    costs, _ = costs_of_pieces(Speaker(states_of(network), head), packed, lambda _: None, bf16=False)
    assert whole.shape == (2, 1)
    assert float(whole.sum()) == pytest.approx(costs.sum(), rel=1e-4)
    assert float(share.sum()) == pytest.approx(costs.sum() / 4, rel=1e-4)


def test_a_feed_gives_the_rows_that_are_asked_for() -> None:
    packed = pack(cut([text(list(range(50)), 0)], 8), 8)
    feed = PackedFeed(packed, packed, n_at_once=3)
    [(rows, tensors)] = list(feed.batches(iter([(0, np.array([2, 0]))])))
    assert rows.tolist() == [2, 0]
    assert torch.equal(tensors, torch.from_numpy(packed.tensors[[2, 0]]))
    assert [some.tolist() for some, _ in feed.validation()] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [some.tolist() for some, _ in feed.validation(np.array([5, 1]))] == [[5, 1]]
    assert feed.n_train == 7
