"""Where training features lie: false alarms as often as stated, strange rows found, and no row kept."""

from __future__ import annotations

import numpy as np
import pytest

from topwork.contracts import Array, Fold
from topwork.training.domain import LEVEL, Domain, learn


def drawn(n: int, d: int = 40, *, seed: int = 0, n_classes: int = 3) -> tuple[Array, Array]:
    """Return rows around the corners of a triangle within few directions, and a little noise in all of them."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, n_classes, n)
    corners = np.random.default_rng(99).normal(0, 4, (n_classes, 6))
    mixing = np.random.default_rng(98).normal(0, 1, (6, d))
    inner = corners[classes] + rng.normal(0, 1, (n, 6))
    return (inner @ mixing + rng.normal(0, 0.3, (n, d))).astype(np.float32), classes


def in_folds(n: int, k: int = 5) -> list[Fold]:
    every = np.arange(n)
    return [Fold(every[every % k != i], every[every % k == i]) for i in range(k)]


def learnt(
    n: int = 400, d: int = 40, *, parts: list[Fold] | None = None, with_classes: bool = True
) -> Domain:
    features, classes = drawn(n, d)
    found = learn(features, classes if with_classes else None, parts or in_folds(n))
    assert found is not None
    return found


def share_outside(domain: Domain, features: Array) -> float:
    distances, _ = domain.look(features)
    return float(np.mean([not domain.holds(one) for one in distances]))


def test_false_alarms_are_about_as_frequent_as_stated() -> None:
    new, _ = drawn(4000, seed=1)
    assert share_outside(learnt(), new) == pytest.approx(LEVEL, abs=0.025)


def test_with_one_part_false_alarms_are_on_average_no_more_than_stated() -> None:
    shares = []
    for seed in range(20):
        features, classes = drawn(300, seed=100 + seed)
        domain = learn(features, classes, [Fold(np.arange(200), np.arange(200, 300))])
        assert domain is not None
        shares.append(share_outside(domain, drawn(1000, seed=500 + seed)[0]))
    assert 0.02 < float(np.mean(shares)) < LEVEL + 0.015  # 20 draws of 100 held-out rows: +- 0.005


def test_strange_rows_are_found_within_the_axes_and_outside_of_them() -> None:
    domain, (new, _) = learnt(), drawn(500, seed=2)
    rng = np.random.default_rng(3)
    assert share_outside(domain, new * 3) > 0.9
    assert share_outside(domain, new + rng.normal(0, 3, new.shape).astype(np.float32)) > 0.95


def test_what_stands_outside_of_the_axes_alone_is_found() -> None:
    features, classes = drawn(400, 300)
    domain = learn(features, classes, in_folds(400))
    assert domain is not None
    assert len(domain.axes) == 64
    new, _ = drawn(200, 300, seed=5)
    aside = np.random.default_rng(6).normal(0, 1, new.shape) / domain.scale
    aside -= (aside * domain.scale) @ domain.axes.T @ domain.axes / domain.scale
    assert np.abs((aside * domain.scale) @ domain.axes.T).max() < 1e-3
    assert share_outside(domain, new + aside) > 0.95


def test_what_lies_between_the_classes_is_strange_only_where_classes_are_known() -> None:
    features, classes = drawn(600, n_classes=2)
    centres = [features[classes == number].mean(axis=0) for number in (0, 1)]
    features[classes == 1] += 2 * (centres[1] - centres[0])  # far apart
    middle = features[classes == 0][:100] + 1.5 * (centres[1] - centres[0])
    with_classes, without = (learn(features, one, in_folds(600)) for one in (classes, None))
    assert with_classes is not None
    assert without is not None
    assert share_outside(with_classes, middle) > share_outside(without, middle) + 0.3


def test_the_same_rows_give_the_same_domain_and_it_comes_back_from_its_arrays() -> None:
    first, second = learnt().to_statistics(), learnt().to_statistics()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    again = Domain.of({**first, "other": np.zeros(3)})
    assert again is not None
    rows, _ = drawn(50, seed=4)
    assert np.array_equal(again.look(rows)[0], learnt().look(rows)[0])
    assert Domain.of({"features.mean": np.zeros(3)}) is None


def test_what_is_kept_is_small_and_of_no_single_row() -> None:
    features, classes = drawn(400, 1280)
    classes[:] = np.minimum(classes, 1)
    classes[:4] = 7  # too few rows for a centre of their own
    classes[10:20] = -1
    domain = learn(features, classes, in_folds(400))
    assert domain is not None
    assert domain.axes.shape == (64, 1280)
    assert len(domain.centres) == 3  # of all rows, of class 0 and of class 1
    assert sum(one.nbytes for one in domain.to_statistics().values()) < 500_000


@pytest.mark.parametrize("n", [0, 5, 9, 18])
def test_of_too_few_rows_nothing_is_learnt(n: int) -> None:
    features, classes = drawn(max(n, 1))
    assert learn(features[:n], classes[:n], in_folds(n)) is None


def test_rows_that_are_all_alike_teach_nothing() -> None:
    assert learn(np.ones((200, 8), np.float32), None, in_folds(200)) is None


@pytest.mark.parametrize("d", [1, 2, 30])
def test_few_features_and_one_that_never_varies_will_do(d: int) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(5, [2.0] * d, (300, d)).astype(np.float32)
    features = np.column_stack([features, np.full(300, 7, np.float32)])
    domain = learn(features, None, in_folds(300))
    assert domain is not None
    far = features.copy()
    far[:, 0] += 100
    assert share_outside(domain, features) < 0.1
    assert share_outside(domain, far) == 1


def test_many_rows_are_looked_at_in_part() -> None:
    features, _ = drawn(25_000, 8)
    domain = learn(features, None, [Fold(np.arange(20_000), np.arange(20_000, 25_000))])
    assert domain is not None
    assert domain.n_rows.tolist() == [5_000] * 9
