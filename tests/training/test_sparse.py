"""The linear model on sparse features: scikit-learn's, its strength chosen on validation rows."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import normalize

from topwork.contracts import Array, Fold, Goal
from topwork.training.sparse import fit_sparse


def words(n: int, k: int, seed: int = 0) -> tuple[csr_matrix, Array]:
    """Return counts of 40 words in texts of ``k`` classes, each class with eight words of its own, and the classes."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, k, n)
    rates = np.full((k, 40), 0.2)
    for label in range(k):
        rates[label, 8 * label : 8 * label + 8] = 0.9
    return csr_matrix(draw.poisson(rates[truth]).astype(np.float32)), truth


def fold(n: int) -> Fold:
    rows = np.arange(n)
    return Fold(rows[rows % 4 != 0], rows[rows % 4 == 0])


def test_it_tells_classes_apart_that_it_has_not_seen_the_rows_of() -> None:
    for k in (2, 4):
        features, truth = words(300, k)
        score = fit_sparse(features, Goal(truth, "softmax", k), [fold(300)])
        other, labels = words(300, k, seed=1)
        assert score(other).shape == (300, k)
        assert (score(other).argmax(1) == labels).mean() > 0.85


def test_it_gives_what_scikit_learn_gives_at_one_of_its_strengths() -> None:
    features, truth = words(200, 3)
    found = fit_sparse(features, Goal(truth, "softmax", 3), [fold(200)])(features)
    candidates = [
        LogisticRegression(C=c, max_iter=300, tol=1e-4).fit(features, truth).decision_function(features)
        for c in (0.03, 0.2, 1.0, 4.0, 16.0, 64.0)
    ]
    assert min(float(np.abs(one - found).max()) for one in candidates) < 1e-6


def test_much_noise_is_held_back_more_than_little() -> None:
    draw = np.random.default_rng(0)
    clear, truth = words(400, 2)
    noisy = csr_matrix(draw.normal(size=(400, 300)).astype(np.float32))
    sure, unsure = (
        np.abs(fit_sparse(one, Goal(truth, "softmax", 2), [fold(400)])(one)).mean() for one in (clear, noisy)
    )
    assert unsure < 0.5 * sure


def test_rows_without_a_label_and_labels_without_a_row_do_no_harm() -> None:
    features, truth = words(200, 3)
    truth = np.where(np.arange(200) % 5 == 0, -1, truth)
    score = fit_sparse(features, Goal(truth, "softmax", 5), [fold(200)])(features)
    assert score.shape == (200, 5)
    assert np.isfinite(score).all()
    assert set(score.argmax(1).tolist()) <= {0, 1, 2}
    alone = fit_sparse(features, Goal(np.zeros(200, np.int64), "softmax", 3), [fold(200)])(features)
    assert (alone.argmax(1) == 0).all()


def test_of_many_rows_it_is_fitted_to_its_end() -> None:
    """Its loss on other rows is that of a solver that went on far longer."""
    draw = np.random.default_rng(0)
    truth = draw.integers(0, 2, 6000)
    tilt = draw.normal(scale=0.4, size=3000)
    rates = 0.01 * np.exp(np.where(truth[:, None] == 1, tilt, -tilt))
    features = normalize(csr_matrix(draw.poisson(rates).astype(np.float32)))
    (fitted, others), labels = (features[:4000], features[4000:]), truth[:4000]
    found = fit_sparse(fitted, Goal(labels, "softmax", 2), [fold(4000)])(others)
    ends = [
        LogisticRegression(C=c, max_iter=5000, tol=1e-8).fit(fitted, labels).decision_function(others)
        for c in (0.03, 0.2, 1.0, 4.0, 16.0, 64.0)
    ]
    loss, *best = (log_loss(truth[4000:], expit(one)) for one in (found[:, 1] - found[:, 0], *ends))
    assert loss < 1.02 * min(best)
