"""Choosing a next token out of the scores of all. It knows no text and no network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf, isfinite
from typing import Any, Final

import numpy as np

from topwork.contracts import Array, Sampling
from topwork.errors import UsageError

__all__ = ["choose", "drawn", "likeliest", "log_probabilities", "log_probability", "require", "said"]

_LIKELIEST: Final = 256
"""Tokens that are sorted at first, where few of many are wanted; then four times as many, and so on."""
_RANGES: Final = {
    "temperature": (0.0, inf, "0 or more"),
    "top_k": (0, inf, "0 or more"),
    "top_p": (0.0, 1.0, "0 to 1"),
    "min_p": (0.0, 1.0, "0 to 1"),
    "repetition_penalty": (1e-3, 1e3, "0.001 to 1000"),
    "frequency_penalty": (-2.0, 2.0, "-2 to 2"),
    "presence_penalty": (-2.0, 2.0, "-2 to 2"),
}


def require(sampling: Sampling) -> Sampling:
    """Return settings that make sense.

    Raises
    ------
    UsageError
        They do not.
    """
    for name, (low, high, told) in _RANGES.items():
        value = getattr(sampling, name)
        if not (isfinite(value) and low <= value <= high):
            raise UsageError(f"{name} is {value!r}; expected {told}.")
    for token, added in sampling.bias:
        if token < 0 or not isfinite(added):
            raise UsageError(f"bias adds {added!r} to token {token!r}; expected a number to a token from 0.")
    if sampling.seed is not None and sampling.seed < 0:
        raise UsageError(f"seed is {sampling.seed!r}; expected a whole number from 0.")
    return sampling


def said(usual: Sampling, given: Mapping[str, Any]) -> Sampling:
    """Return the usual settings with those that are given in their place; None gives none.

    Raises
    ------
    UsageError
        They make no sense.
    """
    return require(replace(usual, **{name: one for name, one in given.items() if one is not None}))


def drawn(sampling: Sampling, number: int) -> Sampling:
    """Return the sampling of one of several texts: with a seed, each has its own that follows from it."""
    if sampling.seed is None or not number:
        return sampling
    return replace(sampling, seed=int(np.random.SeedSequence((sampling.seed, number)).generate_state(1)[0]))


def choose(
    scores: Array,
    sampling: Sampling,
    before: Sequence[int],
    draw: np.random.Generator,
    *,
    n_given: int = 0,
    allowed: Array | None = None,
) -> int:
    """Return the number of the next token.

    Parameters
    ----------
    scores
        ``float32 [v]``, of which probabilities are the softmax.
    before
        Tokens that were there, for `Sampling.repetition_penalty`.
    n_given
        How many of those the text began with, for the other penalties.
    allowed
        ``bool [v]``, or fewer where the network has scores for more than there are tokens; None allows all.
    """
    if sampling.bias:
        scores = _biased(scores, sampling.bias)
    scores = _penalised(scores, sampling.repetition_penalty, before)
    if sampling.frequency_penalty or sampling.presence_penalty:
        scores = _less_often(scores, sampling, before[n_given:])
    if allowed is not None:
        scores = _only(scores, allowed)
    if sampling.temperature == 0:
        return int(scores.argmax())
    scores = (scores - scores.max()) / sampling.temperature
    tokens, weights = _candidates(np.exp(scores), sampling)
    upto = np.cumsum(weights, dtype=np.float64)
    place = int(np.searchsorted(upto, draw.random() * upto[-1], side="right"))
    return int(tokens[min(place, len(tokens) - 1)])


def log_probabilities(scores: Array, tokens: Sequence[int]) -> Array:
    """Return the logarithm of each token's probability by the scores of all, ``float64 [n]``, in nats.

    Parameters
    ----------
    scores
        ``float32 [n, v]``.
    """
    return np.array([log_probability(row, token) for row, token in zip(scores, tokens, strict=True)])


def log_probability(scores: Array, token: int) -> float:
    """Return the logarithm of a token's probability by the scores ``float32 [v]`` of all, in nats."""
    highest = scores.max()
    weights = scores - highest
    own = float(weights[token])
    np.exp(weights, out=weights)
    return own - math.log(float(weights.sum()))  # pairwise, so that single precision is enough


def likeliest(scores: Array, n: int) -> tuple[tuple[int, float], ...]:
    """Return the ``n`` likeliest tokens by the scores ``float32 [v]`` of all, each with its log probability in nats."""
    if not n:
        return ()
    first, *others = _likeliest(scores, min(n, len(scores))).tolist()
    highest = log_probability(scores, first)
    return (
        (first, highest),
        *((one, highest + float(scores[one]) - float(scores[first])) for one in others),
    )


def _penalised(scores: Array, penalty: float, before: Sequence[int]) -> Array:
    if penalty == 1 or not before:
        return scores
    there = np.unique(np.asarray(before, np.int64))
    own = scores[there]
    changed = scores.copy()
    changed[there] = np.where(own > 0, own / penalty, own * penalty)
    return changed


def _less_often(scores: Array, sampling: Sampling, written: Sequence[int]) -> Array:
    there, counts = np.unique(np.asarray(written, np.int64), return_counts=True)
    changed = scores.copy()
    changed[there] -= sampling.frequency_penalty * counts + sampling.presence_penalty
    return changed


def _only(scores: Array, allowed: Array) -> Array:
    found = np.full_like(scores, -np.inf)
    n = min(len(scores), len(allowed))
    found[:n][allowed[:n]] = scores[:n][allowed[:n]]
    return found


def _biased(scores: Array, bias: Sequence[tuple[int, float]]) -> Array:
    changed = scores.copy()
    for token, added in bias:
        if token < len(changed):
            changed[token] += added
    return changed


def _candidates(weights: Array, sampling: Sampling) -> tuple[Array, Array]:
    """Return the tokens that are in the draw and what each weighs; the likeliest one always is."""
    n, total = len(weights), float(weights.sum(dtype=np.float64))
    most = n if sampling.top_k == 0 else min(sampling.top_k, n)
    least = max(sampling.min_p * float(weights.max()), np.finfo(np.float32).tiny)
    if most == n and sampling.top_p >= 1:
        return np.arange(n), weights if sampling.min_p == 0 else np.where(weights >= least, weights, 0)
    if most < n:  # what is cut off has no part in the probability that top_p speaks of
        tokens = _likeliest(weights, most)
        total = float(weights[tokens].sum(dtype=np.float64))
    else:
        tokens = _with_mass(weights, sampling.top_p * total)
    upto = np.cumsum(weights[tokens], dtype=np.float64)
    n_taken = int(np.searchsorted(upto, sampling.top_p * total, side="left")) + 1
    tokens = tokens[:n_taken]
    tokens = tokens[weights[tokens] >= min(least, float(weights[tokens[0]]))]
    return tokens, weights[tokens]


def _likeliest(weights: Array, n: int) -> Array:
    """Return the tokens that weigh most, the heaviest first."""
    some = (
        np.argpartition(weights, len(weights) - n)[len(weights) - n :] if n < len(weights) else np.arange(n)
    )
    return np.asarray(some[np.argsort(-weights[some], kind="stable")])


def _with_mass(weights: Array, mass: float) -> Array:
    """Return the likeliest tokens, the heaviest first, at least as many as weigh so much together."""
    n = min(_LIKELIEST, len(weights))
    while True:
        tokens = _likeliest(weights, n)
        if n == len(weights) or float(weights[tokens].sum(dtype=np.float64)) >= mass:
            return tokens
        n = min(4 * n, len(weights))
