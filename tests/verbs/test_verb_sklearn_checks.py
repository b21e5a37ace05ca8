"""scikit-learn's own checks of an estimator, all of them, on rows of numbers: the only inputs that they know."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from topwork import TopworkClassifier, TopworkRegressor

ESTIMATORS = (TopworkClassifier(), TopworkRegressor())
EXEMPT: dict[str, str] = {}
"""Checks that are not passed, each with its reason; at most three."""


@pytest.mark.filterwarnings("default")  # the checks provoke warnings, and judge some of them
@parametrize_with_checks(list(ESTIMATORS), expected_failed_checks=lambda _: EXEMPT)  # type: ignore[untyped-decorator]
def test_it_is_an_estimator(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_hardly_any_check_is_exempt(estimator: Any) -> None:
    n_checks = sum(1 for _ in estimator_checks_generator(estimator))
    assert n_checks >= 50, f"there were only {n_checks} checks"
    assert len(EXEMPT) <= 3
    assert all(EXEMPT.values())
