"""Perplexity of texts, with its interval, and beside another model's.

Texts are drawn again, not tokens: those of one text are alike, and an interval that took them for independent would be
far too narrow. It knows no network.
"""

from __future__ import annotations

import numpy as np

from topwork.contracts import Array, Estimate
from topwork.evaluation.intervals import stratified_bootstrap

__all__ = ["perplexity", "perplexity_difference"]


def perplexity(costs: Array, counts: Array, *, seed: int) -> Estimate:
    """Estimate the perplexity of a model on texts: e to the mean cost of a token.

    Parameters
    ----------
    costs
        ``float64 [n]``, what each text costs in nats.
    counts
        ``[n]``, tokens of each.
    """
    own, n = np.asarray(costs, np.float64), np.asarray(counts, np.float64)

    def statistic(weights: Array) -> Array:
        return np.asarray(np.exp((weights @ own) / (weights @ n)))

    found = stratified_bootstrap(np.zeros(len(n), np.int64), statistic, seed=seed)
    return Estimate(float(np.exp(own.sum() / n.sum())), found.low, found.high)


def perplexity_difference(costs: Array, others: Array, counts: Array, *, seed: int) -> Estimate:
    """Estimate one model's perplexity minus another's on the same texts, drawn together."""
    one, other, n = (np.asarray(values, np.float64) for values in (costs, others, counts))

    def statistic(weights: Array) -> Array:
        total = weights @ n
        return np.asarray(np.exp((weights @ one) / total) - np.exp((weights @ other) / total))

    found = stratified_bootstrap(np.zeros(len(n), np.int64), statistic, seed=seed)
    value = np.exp(one.sum() / n.sum()) - np.exp(other.sum() / n.sum())
    return Estimate(float(value), found.low, found.high)
