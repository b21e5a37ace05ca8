"""Quantiles: those of scipy, and of the printed tables."""

from __future__ import annotations

import pytest
from scipy import stats

from topwork.errors import UsageError
from topwork.evaluation.quantiles import chi_square_quantile, f_quantile, t_quantile

SHARES = (0.001, 0.025, 0.3, 0.5, 0.9, 0.975, 0.999)


@pytest.mark.parametrize("freedom", [1, 2, 3, 9, 40, 400])
def test_the_quantiles_are_those_of_scipy(freedom: int) -> None:
    for share in SHARES:
        assert chi_square_quantile(share, freedom) == pytest.approx(stats.chi2.ppf(share, freedom), rel=1e-6)
        assert t_quantile(share, freedom) == pytest.approx(stats.t.ppf(share, freedom), rel=1e-6)
        for below in (1, 2, 7, 100):
            ours, theirs = f_quantile(share, freedom, below), stats.f.ppf(share, freedom, below)
            assert ours == pytest.approx(theirs, rel=1e-6)


def test_the_quantiles_are_those_of_the_tables() -> None:
    assert chi_square_quantile(0.95, 10) == pytest.approx(18.307, abs=5e-4)
    assert t_quantile(0.975, 9) == pytest.approx(2.262, abs=5e-4)
    assert f_quantile(0.95, 4, 10) == pytest.approx(3.478, abs=5e-4)
    assert t_quantile(0.5, 3) == 0


@pytest.mark.parametrize(("share", "freedom"), [(0.0, 3), (1.0, 3), (0.5, 0)])
def test_what_has_no_quantile_is_refused(share: float, freedom: int) -> None:
    for quantile in (chi_square_quantile, t_quantile, lambda s, f: f_quantile(s, f, 2)):
        with pytest.raises(UsageError, match="degrees of freedom"):
            quantile(share, freedom)
