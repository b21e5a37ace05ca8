"""LogME and the H-score: against what they are defined as, what must not change them, and what must."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from topwork.contracts import Array, Goal, Link
from topwork.training.transferability import evidence, h_score, h_score_of, log_me, log_me_of

SHAPES = [(60, 8), (30, 50), (40, 40)]


def problem(n: int, d: int, seed: int = 0, n_classes: int = 3) -> tuple[Array, Array]:
    """Return features ``[n, d]`` in which classes lie apart somewhat, not centred, and the classes."""
    draw = np.random.default_rng(seed)
    classes = np.arange(n) % n_classes
    centres = draw.normal(size=(n_classes, d))
    return draw.normal(size=(n, d)) * draw.uniform(0.2, 2, d) + centres[classes] + 0.5, classes


def one_hot(classes: Array) -> Array:
    return np.asarray(classes[:, None] == np.unique(classes), np.float64)


def log_likelihood(features: Array, y: Array, prior: float, noise: float) -> float:
    """Return the log marginal likelihood of Bayesian linear regression: a Gaussian of all rows together."""
    covariance = np.eye(len(y)) / noise + features @ features.T / prior
    sign, volume = np.linalg.slogdet(covariance)
    assert sign > 0
    return float(-0.5 * (y @ np.linalg.solve(covariance, y) + volume + len(y) * np.log(2 * np.pi)))


def most_likely(features: Array, y: Array) -> float:
    """Return the highest of these over a fine grid of both precisions."""
    values, vectors = np.linalg.eigh(features @ features.T)
    along = (vectors.T @ y) ** 2
    grid = np.exp(np.linspace(-14, 14, 281))
    variances = 1 / grid[None, :, None] + np.maximum(values, 0)[None, None] / grid[:, None, None]
    return float((-0.5 * (along / variances + np.log(2 * np.pi * variances)).sum(axis=2)).max())


# --- LogME ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_evidence_is_the_likelihood_of_all_rows_together_at_the_likeliest_noise(n: int, d: int) -> None:
    features, classes = problem(n, d)
    y = one_hot(classes)
    left, singular, _ = np.linalg.svd(features, full_matrices=False)
    along = (left.T @ y) ** 2
    rest = (y**2).sum(axis=0) - along.sum(axis=0)
    ratios = np.array([0.003, 1.0, 700.0])
    found = evidence(singular**2, along, rest=rest, ratios=ratios, n=n)
    for row, ratio in zip(found, ratios, strict=True):
        for value, one in zip(row, y.T, strict=True):
            noise = n / (one @ np.linalg.solve(np.eye(n) + features @ features.T / ratio, one))
            assert n * value == pytest.approx(log_likelihood(features, one, ratio * noise, noise))
            for other in (0.9 * noise, 1.1 * noise):
                assert n * value > log_likelihood(features, one, ratio * other, other)


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_log_me_is_the_evidence_where_it_is_highest(n: int, d: int) -> None:
    features, classes = problem(n, d)
    y = one_hot(classes)
    found = log_me(features, y)
    expected = np.mean([most_likely(features, one) for one in y.T]) / n
    assert found == pytest.approx(expected, abs=1e-3)
    assert found >= expected - 1e-9  # the grid may miss the top by a little, and never exceeds it


def test_log_me_of_a_number_is_that_of_one_regression() -> None:
    features, _ = problem(60, 8)
    number = features[:, 1] + np.random.default_rng(5).normal(size=60)
    assert log_me(features, number[:, None]) == pytest.approx(most_likely(features, number) / 60, abs=1e-3)


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_neither_changes_when_features_are_scaled_or_turned(n: int, d: int) -> None:
    features, classes = problem(n, d)
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(d, d)))
    y = one_hot(classes)
    for changed in (1e4 * features, 1e-4 * features, features @ turn):
        assert log_me(changed, y) == pytest.approx(log_me(features, y), rel=1e-6)
        assert h_score(changed, classes) == pytest.approx(h_score(features, classes), rel=1e-6)


def test_features_that_say_nothing_are_worth_no_more_than_none() -> None:
    _, classes = problem(200, 4)
    y = one_hot(classes)
    noise = np.random.default_rng(2).normal(size=(200, 4))
    nothing = log_me(np.zeros((200, 4)), y)
    assert nothing == pytest.approx(-0.5 * (np.log(2 * np.pi * (y**2).mean(axis=0)) + 1).mean())
    assert log_me(noise, y) == pytest.approx(nothing, abs=0.02)
    assert h_score(np.ones((200, 4)), classes) == 0


def test_labels_that_lie_beside_the_features_are_no_division_by_zero() -> None:
    features = np.eye(6)[:, :2]
    assert np.isfinite(log_me(features, np.eye(6)[:, 2:4]))
    assert np.isfinite(log_me(np.eye(6), np.eye(6)[:, 2:4]))


# --- the H-score ----------------------------------------------------------------------------------------


def test_without_shrinkage_it_is_what_bao_defines() -> None:
    features, classes = problem(90, 7)
    means = np.stack([features[classes == c].mean(axis=0) for c in range(3)])[classes]
    expected = np.trace(np.linalg.inv(np.cov(features.T)) @ np.cov(means.T))
    assert h_score(features, classes, shrinkage=0) == pytest.approx(expected)
    mixed = features @ np.random.default_rng(3).normal(size=(7, 7))
    assert h_score(mixed, classes, shrinkage=0) == pytest.approx(expected)


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_shrunk_it_is_what_ibrahim_defines(n: int, d: int) -> None:
    covariance = pytest.importorskip("sklearn.covariance")
    features, classes = problem(n, d)
    shrunk = covariance.LedoitWolf().fit(features)
    means = np.stack([features[classes == c].mean(axis=0) for c in range(3)])[classes]
    between = np.cov(means.T, bias=True) * (1 - shrunk.shrinkage_)
    expected = np.trace(np.linalg.inv(shrunk.covariance_) @ between)
    assert 0 < shrunk.shrinkage_ < 1
    assert h_score(features, classes) == pytest.approx(expected)


def test_it_lies_between_nothing_and_the_classes_less_one() -> None:
    _, classes = problem(90, 2)
    apart = one_hot(classes) + np.random.default_rng(4).normal(size=(90, 3)) * 1e-3
    assert h_score(apart, classes, shrinkage=0) == pytest.approx(2, abs=1e-3)
    alike = np.random.default_rng(4).normal(size=(900, 3))
    assert 0 < h_score(alike, np.arange(900) % 3) < 0.05


# --- both -----------------------------------------------------------------------------------------------


def blurred(n: int = 240, d: int = 30) -> tuple[list[Array], Array]:
    """Return sets of features from the most to the least informative, of the same spread, and classes."""
    draw = np.random.default_rng(0)
    classes = np.arange(n) % 4
    centres = draw.normal(size=(4, d))
    noise = draw.normal(size=(n, d))
    return [
        share * centres[classes] + np.sqrt(1 - share**2) * noise for share in (0.9, 0.7, 0.5, 0.3, 0)
    ], classes


def test_more_informative_features_score_higher() -> None:
    sets, classes = blurred()
    y = one_hot(classes)
    for found in ([log_me(one, y) for one in sets], [h_score(one, classes) for one in sets]):
        assert found == sorted(found, reverse=True)
        assert found[0] > found[1] > found[2] > found[4]


def goal(link: Link, classes: Array) -> Goal:
    if link == "sigmoid":
        return Goal(one_hot(classes).astype(np.int8), link, 4)
    if link == "identity":
        return Goal(classes - classes.mean(), link, 1)
    return Goal(classes, link, 3 if link == "cumulative" else 4)


@pytest.mark.parametrize("link", ["softmax", "identity", "sigmoid", "cumulative"])
def test_every_link_that_it_is_defined_for_is_scored(link: Link) -> None:
    sets, classes = blurred()
    goals = {"label": goal(link, classes)}
    found = [log_me_of(one, goals) for one in sets]
    assert found[0] > found[1] > found[2] > found[4]
    with_classes = link in ("softmax", "cumulative")
    assert np.isfinite(h_score_of(sets[0], goals)) == with_classes
    assert not with_classes or h_score_of(sets[0], goals) == h_score(sets[0], classes)


def test_a_link_that_neither_is_defined_for_has_neither() -> None:
    sets, classes = blurred()
    goals = {"label": Goal(np.stack([classes, classes], axis=1).astype(float), "hazard", 9)}
    assert np.isnan([log_me_of(sets[0], goals), h_score_of(sets[0], goals)]).all()
    both = {**goals, "other": goal("softmax", classes)}
    assert log_me_of(sets[0], both) == log_me(sets[0], one_hot(classes))


def test_several_targets_are_averaged() -> None:
    sets, classes = blurred()
    one, other = goal("softmax", classes), goal("softmax", classes[::-1].copy())
    together = log_me_of(sets[0], {"one": one, "other": other})
    assert together == pytest.approx((log_me_of(sets[0], {"a": one}) + log_me_of(sets[0], {"a": other})) / 2)


@pytest.mark.parametrize("link", ["softmax", "identity", "sigmoid", "cumulative"])
def test_rows_without_a_truth_and_labels_without_a_row_do_not_count(link: Link) -> None:
    sets, classes = blurred()
    full = goal(link, classes)
    gone = np.arange(len(classes)) % 5 == 0
    truth = full.truth.copy()
    truth[gone] = np.nan if truth.dtype.kind == "f" else -1
    part = {"label": replace(full, truth=truth)}
    kept = {"label": replace(full, truth=full.truth[~gone])}
    assert log_me_of(sets[1], part) == pytest.approx(log_me_of(sets[1][~gone], kept))
    if link == "softmax":
        wider = {"label": replace(full, n_outputs=9)}
        assert log_me_of(sets[1], wider) == log_me_of(sets[1], {"label": full})
        assert h_score_of(sets[1], part) == pytest.approx(h_score_of(sets[1][~gone], kept))


def test_without_anything_to_tell_apart_there_is_no_score() -> None:
    features, _ = problem(20, 3)
    same = {"label": Goal(np.zeros(20, dtype=np.int64), "softmax", 2)}
    none = {"label": Goal(np.full(20, -1), "softmax", 2)}
    for goals in (same, none):
        assert np.isnan([log_me_of(features, goals), h_score_of(features, goals)]).all()
