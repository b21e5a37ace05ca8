"""Near duplicates of texts: which edits are seen through, which likenesses are not fooled by, and the cost."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from topwork.contracts import Array
from topwork.errors import UsageError
from topwork.inputs import TEXT
from topwork.inputs.text_likeness import LENGTH, N_SAME, fingerprint, near_duplicates
from toy_texts import toy_texts

PAGE = TEXT.synthetic(2, 5)[1].decode()
LINE = " ".join(PAGE.split()[:30])


def print_of(text: str) -> Array:
    return TEXT.decode(text.encode(), TEXT.inspection_preprocessing()).fingerprint


def are_same(one: str, other: str) -> bool:
    return len(near_duplicates(np.stack([print_of(one), print_of(other)]))) == 1


def without(text: str, *at: int) -> str:
    return " ".join(word for i, word in enumerate(text.split()) if i not in at)


EDITS: dict[str, Callable[[str], str]] = {
    "shouted": str.upper,
    "punctuated": lambda text: text.replace(".", " !!").replace(" ", ", ", 3),
    "in lines": lambda text: text.replace(" ", "<br/>", 4),
    "a word less": lambda text: without(text, 12),
    "its first word less": lambda text: without(text, 0),
    "a typing error": lambda text: text[:40] + "q" + text[40:],
    "a word more": lambda text: f"Well {text}",
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("text", [PAGE, LINE], ids=["page", "line"])
def test_an_edited_copy_is_found(text: str, edit: Callable[[str], str]) -> None:
    assert edit(text) != text
    assert are_same(text, edit(text))


def test_a_page_that_lost_its_end_is_found() -> None:
    assert are_same(PAGE, PAGE[: len(PAGE) * 8 // 10])
    assert not are_same(PAGE, PAGE[: len(PAGE) // 2])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("play some jazz", "play some rock"),
        ("turn on the kitchen light", "turn on the bedroom light"),
        ("I like this film very much", "I hate this film very much"),
        ("good", "bad"),
        ("not good", "good"),
        ("!!!", "???"),
        ("👍", "👎"),
        ("日本語の本", "日本語の水"),
        ("dog bites man", "man bites dog"),
    ],
)
def test_short_texts_that_differ_in_a_word_stay_apart(one: str, other: str) -> None:
    assert not are_same(one, other)
    assert are_same(one, f"{one} ")


def test_texts_of_few_words_and_one_domain_do_not_collide() -> None:
    draw = random.Random(0)
    verbs, things, places = (("play", "stop", "find"), toy_texts(40)[0][0].split(), ("here", "now", "today"))
    texts = {f"{draw.choice(verbs)} {draw.choice(things)} {draw.choice(places)}" for _ in range(200)}
    prints = np.stack([print_of(text) for text in sorted(texts)])
    assert len(texts) > 50
    assert len(near_duplicates(prints)) == 0


def test_pages_of_one_domain_stay_apart() -> None:
    pages = [" ".join(toy_texts(20, seed)[0]) for seed in range(60)]
    assert len(near_duplicates(np.stack([print_of(page) for page in pages]))) == 0


def test_a_text_longer_than_a_block_is_described_by_all_of_it() -> None:
    start = " ".join(f"w{i}" for i in range(3000))
    assert (fingerprint(start) == fingerprint(start)).all()
    assert not are_same(start, f"{start} {' '.join(f'v{i}' for i in range(3000))}")
    assert are_same(start, f"{start} v1 v2 v3")


def test_a_share_of_equal_bytes_is_the_overlap_of_the_pairs_of_words() -> None:
    agree = []
    for seed in range(40):
        words = [f"w{seed}x{i}" for i in range(100)]
        one, other = fingerprint(" ".join(words[:80])), fingerprint(" ".join(words[20:]))
        agree.append(float((one == other).mean()))
    assert np.mean(agree) == pytest.approx(59 / 103, abs=0.03)  # 59 pairs shared of 81 + 81 - 59


# --- the pairs ----------------------------------------------------------------------------------------------


def altered(rng: np.random.Generator, row: Array, n_bytes: int) -> Array:
    """Return a copy of which exactly ``n_bytes`` differ."""
    copy = row.copy()
    at = rng.permutation(LENGTH)[:n_bytes]
    copy[at] += rng.integers(1, 255, n_bytes, dtype=np.uint8)
    return copy


@pytest.mark.parametrize("seed", range(20))
def test_a_pair_is_the_same_from_a_certain_number_of_equal_bytes_on(seed: int) -> None:
    rng = np.random.default_rng(seed)
    row = rng.integers(0, 256, LENGTH, dtype=np.uint8)
    for n_bytes, n_pairs in ((LENGTH - N_SAME, 1), (LENGTH - N_SAME + 1, 0)):
        assert len(near_duplicates(np.stack([row, altered(rng, row, n_bytes)]))) == n_pairs


def test_no_pair_escapes_the_bands() -> None:
    rng = np.random.default_rng(3)
    row = rng.integers(0, 256, LENGTH, dtype=np.uint8)
    other = row.copy()
    other[: 3 * (LENGTH - N_SAME) : 3] += 1  # one byte of every band that may have one
    assert ((row != other).sum(), N_SAME) == (41, 85)
    assert len(near_duplicates(np.stack([row, other]))) == 1


@settings(max_examples=50)
@given(arrays.arrays(np.uint8, (12, LENGTH), elements=st.integers(0, 1), fill=st.just(0)))
def test_pairs_are_those_that_agree(rows: Array) -> None:
    pairs = near_duplicates(rows)
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert [tuple(pair) for pair in pairs] == sorted({tuple(pair) for pair in pairs.tolist()})
    firsts = {row.tobytes(): i for i, row in reversed(list(enumerate(rows)))}
    expected = set()
    for j, row in enumerate(rows):
        first = firsts[row.tobytes()]
        expected |= {(first, j)} if first < j else set()
        expected |= {
            (i, j)
            for i in range(j)
            if first == j and firsts[rows[i].tobytes()] == i and (rows[i] == row).sum() >= N_SAME
        }
    found = {tuple(pair) for pair in pairs.tolist()}
    assert found <= expected
    if len(firsts) <= 9:  # with more, a row of a crowded band meets only the next eight
        assert found == expected


def test_many_copies_give_as_many_pairs() -> None:
    rows = np.repeat(np.arange(LENGTH, dtype=np.uint8)[None], 3000, axis=0)
    assert near_duplicates(rows).tolist() == [[0, i] for i in range(1, 3000)]


@pytest.mark.parametrize("n", [0, 1])
def test_few_rows_have_no_pairs(n: int) -> None:
    pairs = near_duplicates(np.zeros((n, LENGTH), dtype=np.uint8))
    assert pairs.shape == (0, 2)
    assert pairs.dtype == np.int64


def test_other_fingerprints_are_refused() -> None:
    with pytest.raises(UsageError, match=rf"uint8 \(2, 5\); expected uint8 \[n, {LENGTH}\]"):
        near_duplicates(np.zeros((2, 5), dtype=np.uint8))
    with pytest.raises(UsageError, match="float32"):
        near_duplicates(np.zeros((2, LENGTH), dtype=np.float32))


def test_fifty_thousand_rows_take_seconds_even_where_all_begin_alike() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, (50_000, LENGTH), dtype=np.uint8)
    rows[:, : LENGTH // 2] = rows[0, : LENGTH // 2]
    rows[-1] = rows[7]
    start = time.perf_counter()
    assert near_duplicates(rows).tolist() == [[7, 49_999]]
    assert time.perf_counter() - start < 60  # some 5 s
