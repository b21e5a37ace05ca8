"""What answers are like as a whole, written down at the fit and read by a server."""

from __future__ import annotations

import numpy as np
import pytest

from topwork.training.profile import labels_of, numbers_of, profile_of, to_statistics


def test_words_of_every_kind_of_answer_are_read() -> None:
    one = {"label": "a", "probabilities": {"a": 0.7, "b": 0.3}, "in_domain": True}
    assert labels_of(one) == {"label": ("a",)}
    assert numbers_of(one) == {"confidence": 0.7}
    several = {"labels": ["a", "b"], "probabilities": {"a": 0.7, "b": 0.6}}
    assert labels_of(several) == {"labels": ("a", "b")}
    assert numbers_of(several) == {}
    assert numbers_of({"value": 3, "low": 1, "high": 4}) == {"value": 3.0}
    assert numbers_of({"risk": 1.5, "band": None}) == {"risk": 1.5}
    assert not labels_of({"text": "x"})
    assert not numbers_of({"text": "x"})


def test_a_profile_comes_back_as_it_was_written() -> None:
    answers = [{"label": "ab"[i % 3 == 0], "probabilities": {"a": i / 100}} for i in range(101)]
    kept = {f"tree.{name}": one for name, one in to_statistics(answers, ("a", "b", "c")).items()}
    found = profile_of(kept, "tree", ("a", "b", "c"))
    assert found is not None
    assert found.n == 101
    assert found.counts == {"label": {"a": 67, "b": 34, "c": 0}}
    assert found.spreads["confidence"] == pytest.approx(np.arange(101) / 100)
    assert profile_of(kept, "other", ("a",)) is None
    assert to_statistics([], ("a",)) == {}


def test_several_labels_are_counted_each() -> None:
    kept = to_statistics([{"labels": ["a", "b"]}, {"labels": []}, {"labels": ["b"]}], ("a", "b"))
    found = profile_of({f"t.{name}": one for name, one in kept.items()}, "t", ("a", "b"))
    assert found is not None
    assert (found.n, found.counts) == (3, {"labels": {"a": 1, "b": 2}})


def test_counts_of_other_labels_than_the_targets_are_not_taken() -> None:
    found = profile_of({"t.said.n": np.array(3), "t.said.label": np.array([1, 2])}, "t", ("a", "b", "c"))
    assert found is not None
    assert found.counts == {}
