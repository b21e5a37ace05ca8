"""Facts that order the rows alike make one grouping, not two."""

from __future__ import annotations

import numpy as np

from topwork.proof.groups import order_alike


def test_facts_that_grow_with_each_other_are_alike_and_others_are_not() -> None:
    draw = np.random.default_rng(0)
    words = draw.lognormal(4, 1, 300)
    assert order_alike(words, words * 1.3 + draw.normal(0, 0.5, 300))
    assert order_alike(words, -np.sqrt(words))
    assert not order_alike(words, draw.normal(size=300))
    assert not order_alike(words, words * draw.uniform(0.3, 1.7, 300))


def test_missing_facts_do_not_count_and_too_few_tell_nothing() -> None:
    words = np.arange(20.0)
    other = np.where(np.arange(20) % 3 == 0, np.nan, words**2)
    assert order_alike(words, other)
    assert not order_alike(np.array([1.0, np.nan, 2.0]), np.array([1.0, 1.0, 2.0]))
