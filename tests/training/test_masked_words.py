"""Masked words: which are hidden, that they are learnt, and that what was not learnt leaves no trace."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tiny_transformers import TextMaterial, write_masking_trunk
from topwork.contracts import Array, Words
from topwork.training.masked_words import WordPlan, guess_words, hide, seconds_of_step
from topwork.trunks.folder import open_folder
from toy_texts import toy_texts


class Subject:
    """The tiny encoder with toy texts, and its stages."""

    def __init__(self, folder: Path, n: int = 100) -> None:
        material = TextMaterial(open_folder(write_masking_trunk(folder)), toy_texts(n)[0])
        self.network = material.network()
        words = material.words(self.network)
        assert words is not None
        self.words: Words = words
        names = {id(p): name for name, p in self.network.named_parameters()}
        self.stages = [
            {names[id(p)]: p for module in stage.modules for p in module.parameters()}
            for stage in material.stages(self.network)
        ]
        self.texts = [partial(material.example, row) for row in range(n)]

    def plan(self, n_steps: int, rate: float = 1e-3) -> WordPlan:
        return WordPlan(n_steps, 32, (rate / 4, rate / 2, rate), 0.1)

    def guess(self, n_steps: int, rate: float = 1e-3, seed: int = 0, most: int = 10**9) -> Any:
        told = [0]

        def tell(n: int) -> bool:
            told[0] += 1
            return told[0] < most

        return guess_words(
            self.words, self.stages, self.texts, self.plan(n_steps, rate), seed=seed, tell=tell
        )

    def state(self) -> dict[str, torch.Tensor]:
        return {name: value.clone() for name, value in self.network.state_dict().items()}


def windows(n: int = 4000, width: int = 12, n_tokens: int = 300) -> Array:
    """Return windows of any tokens, of any length."""
    draw = np.random.default_rng(3)
    found = draw.integers(1, n_tokens + 1, (n, width))
    found[np.arange(width) >= draw.integers(2, width + 1, n)[:, None]] = 0
    return found.astype(np.int32)


def test_fifteen_of_a_hundred_words_are_asked_for_and_most_of_them_hidden(tmp_path: Path) -> None:
    words, given = Subject(tmp_path).words, windows()
    seen, asked = hide(given, words, np.random.default_rng(0))
    is_word = (given > 0) & ~np.isin(given - 1, words.special)
    assert not asked[~is_word].any()
    assert asked.sum() / is_word.sum() == pytest.approx(0.15, abs=0.01)
    assert np.array_equal(seen[~asked], given[~asked])
    hidden = asked & (seen == words.mask + 1)
    other = asked & ~hidden & (seen != given)
    assert hidden.sum() / asked.sum() == pytest.approx(0.8, abs=0.02)
    assert other.sum() / asked.sum() == pytest.approx(0.1, abs=0.015)
    assert not np.isin(seen[other] - 1, words.special).any()
    assert len(np.unique(seen[other])) > 150
    assert seen.dtype == np.int32
    assert seen.shape == given.shape


def test_a_short_text_has_a_word_to_guess_too(tmp_path: Path) -> None:
    words = Subject(tmp_path).words
    given = np.array([[3, 50, 4, 0]], dtype=np.int32)
    asked = [hide(given, words, np.random.default_rng(seed))[1] for seed in range(20)]
    assert all(one.sum() == 1 for one in asked)


def test_words_are_learnt(tmp_path: Path) -> None:
    subject = Subject(tmp_path)
    before = subject.state()
    found = subject.guess(120)
    assert (found.n_steps, found.n_texts, found.n_held, found.kept) == (120, 90, 10, True)
    assert found.after < 0.75 * found.before
    assert all(
        not value.equal(before[name])
        for name, value in subject.state().items()
        if value.dtype.is_floating_point
    )


def test_what_does_not_help_leaves_no_trace(tmp_path: Path) -> None:
    subject = Subject(tmp_path)
    before = subject.state()
    found = subject.guess(6, rate=10.0)
    assert not found.kept
    assert not found.after < found.before
    assert all(value.equal(before[name]) for name, value in subject.state().items())


def test_it_ends_when_it_is_told_to(tmp_path: Path) -> None:
    assert Subject(tmp_path).guess(50, most=7).n_steps == 7


def test_the_same_seed_gives_the_same_network(tmp_path: Path) -> None:
    ends = []
    for seed in (0, 0, 1):
        subject = Subject(tmp_path)
        subject.guess(8, seed=seed)
        ends.append(subject.state()["trunk.encoder.layer.1.output.dense.weight"])
    assert ends[0].equal(ends[1])
    assert not ends[0].equal(ends[2])


def test_timing_a_step_changes_nothing(tmp_path: Path) -> None:
    subject, random = Subject(tmp_path), torch.get_rng_state()
    before = subject.state()
    assert seconds_of_step(subject.words, subject.stages, subject.texts, subject.plan(1)) > 0
    assert all(value.equal(before[name]) for name, value in subject.state().items())
    assert all(p.grad is None for stage in subject.stages for p in stage.values())
    assert torch.get_rng_state().equal(random)
