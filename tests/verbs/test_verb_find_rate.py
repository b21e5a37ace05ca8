"""`find_rate` and `lr-find`: four suggestions and a page with the curve, and nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import topwork as tw
from topwork.training.suggestions import SUGGESTIONS
from topwork.verbs.finding import RateSearch


@pytest.fixture(scope="module")
def found(
    photos: Path, tiny_trunk: Path, around: tw.Surroundings, tmp_path_factory: pytest.TempPathFactory
) -> RateSearch:
    plot = tmp_path_factory.mktemp("plot") / "colours.rates.html"
    options = tw.FitOptions(steps=40)
    return tw.find_rate(photos, plot, trunk=str(tiny_trunk), options=options, around=around)


def test_it_suggests_four_rates_within_what_was_swept(found: RateSearch) -> None:
    assert set(found.suggestions) == set(SUGGESTIONS)
    assert all(1e-9 < rate <= found.rates[-1] for rate in found.suggestions.values())
    assert 8 < len(found.rates) == len(found.losses) <= 40
    assert np.isfinite(found.losses).all()
    assert found.n_rows > 0


def test_the_page_draws_the_curve_and_needs_nothing_else(found: RateSearch) -> None:
    assert found.plot is not None
    page = found.plot.read_text(encoding="utf-8")
    assert "Learning rates of colours" in page
    assert "default-src &#39;none&#39;" in page
    assert all(f"{name}: {rate:.1e}" in page for name, rate in found.suggestions.items())
    assert page.count('class="chart-line') >= 1
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_random_states_are_as_before(photos: Path, tiny_trunk: Path, around: tw.Surroundings) -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    states = torch.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"].copy()
    again = tw.find_rate(photos, trunk=str(tiny_trunk), options=tw.FitOptions(steps=20), around=around)
    assert again.plot is None
    assert torch.get_rng_state().equal(states[0])
    assert np.array_equal(np.random.get_state(legacy=False)["state"]["key"], states[1])


def test_a_folder_for_the_page_is_refused_before_any_work(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(tw.UsageError, match="is a folder; expected the name of a file"):
        tw.find_rate(photos / "nothing", tmp_path)
