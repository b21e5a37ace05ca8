"""A next token is drawn as the scores and the settings say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topwork.contracts import Array, Sampling
from topwork.engines.sampling import choose, log_probabilities, require
from topwork.errors import UsageError

SCORES = np.array([2.0, 1.0, 0.0, -1.0, -2.0], np.float32)


def drawn(scores: Array, sampling: Sampling, before: tuple[int, ...] = (), n: int = 4000) -> Array:
    """Return how often each token is drawn, as shares."""
    draw = np.random.default_rng(0)
    tokens = [choose(scores, sampling, before, draw) for _ in range(n)]
    return np.bincount(tokens, minlength=len(scores)) / n


def softmax(scores: Array) -> Array:
    weights = np.exp(scores - scores.max())
    return np.asarray(weights / weights.sum())


def test_temperature_zero_takes_the_likeliest() -> None:
    assert drawn(SCORES, Sampling(temperature=0), n=20)[0] == 1


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_tokens_come_as_often_as_their_probability(temperature: float) -> None:
    shares = drawn(SCORES, Sampling(temperature=temperature))
    assert np.abs(shares - softmax(SCORES / temperature)).max() < 0.03


def test_top_k_leaves_so_many() -> None:
    shares = drawn(SCORES, Sampling(temperature=1, top_k=2))
    assert np.abs(shares[:2] - softmax(SCORES[:2])).max() < 0.03
    assert not shares[2:].any()


def test_top_p_leaves_the_fewest_that_have_the_mass() -> None:
    assert softmax(SCORES)[0] < 0.7 < softmax(SCORES)[:2].sum()
    assert np.flatnonzero(drawn(SCORES, Sampling(temperature=1, top_p=0.7))).tolist() == [0, 1]
    assert np.flatnonzero(drawn(SCORES, Sampling(temperature=1, top_p=0.0), n=50)).tolist() == [0]


def test_top_p_speaks_of_what_top_k_has_left() -> None:
    """Of two, the first has 73 %."""
    assert np.flatnonzero(drawn(SCORES, Sampling(temperature=1, top_k=2, top_p=0.7))).tolist() == [0]


def test_min_p_is_a_share_of_the_likeliest() -> None:
    assert np.flatnonzero(drawn(SCORES, Sampling(temperature=1, min_p=0.3))).tolist() == [0, 1]
    assert np.flatnonzero(drawn(SCORES, Sampling(temperature=1, min_p=0.1))).tolist() == [0, 1, 2]
    assert np.flatnonzero(drawn(SCORES, Sampling(temperature=1, top_p=0.99, min_p=1.0), n=50)).tolist() == [0]


def test_what_was_there_is_less_likely_by_the_penalty() -> None:
    scores = np.array([2.0, 1.9, -1.0], np.float32)
    assert choose(scores, Sampling(temperature=0), (), np.random.default_rng()) == 0
    assert choose(scores, Sampling(temperature=0, repetition_penalty=1.2), (0,), np.random.default_rng()) == 1
    shares = drawn(scores, Sampling(temperature=1, repetition_penalty=2.0), (2, 2))
    assert np.abs(shares - softmax(np.array([2.0, 1.9, -2.0]))).max() < 0.03
    assert scores[0] == 2


def test_a_seed_gives_the_same_again() -> None:
    scores = np.random.default_rng(1).normal(size=1000).astype(np.float32)
    draws = [np.random.default_rng(7), np.random.default_rng(7)]
    one, other = ([choose(scores, Sampling(), (), draw) for _ in range(20)] for draw in draws)
    assert one == other


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 1000),
    n=st.sampled_from([1, 2, 300, 1500, 5000]),
    top_p=st.sampled_from([0.0, 0.3, 0.9, 0.999, 1.0]),
    top_k=st.sampled_from([0, 1, 40, 10_000]),
    sharpness=st.sampled_from([0.1, 1.0, 8.0]),
)
def test_only_what_is_in_the_draw_is_drawn(
    seed: int, n: int, top_p: float, top_k: int, sharpness: float
) -> None:
    """By sorting everything, which is what is spared."""
    draw = np.random.default_rng(seed)
    scores = (sharpness * draw.normal(size=n)).astype(np.float32)
    order = np.argsort(-scores, kind="stable")[: top_k or n]
    upto = np.cumsum(softmax(scores[order].astype(np.float64)))
    allowed = set(order[: int(np.searchsorted(upto, top_p * (1 - 1e-6))) + 2].tolist())
    sampling = Sampling(temperature=1.0, top_p=top_p, top_k=top_k)
    assert {choose(scores, sampling, (), draw) for _ in range(20)} <= allowed


def test_log_probability_is_that_of_the_softmax() -> None:
    several = np.stack([SCORES, 2 * SCORES])
    expected = [np.log(softmax(SCORES)[3]), np.log(softmax(2 * SCORES)[0])]
    assert log_probabilities(several, [3, 0]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", -0.1), ("temperature", float("nan")), ("top_k", -1), ("top_p", 1.1), ("min_p", -1), ("seed", -1)],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{name} is "):
        require(Sampling(**{name: value}))  # type: ignore[arg-type]
