"""The sample that trunks are tried on, which of them have a probe, and what there is to choose from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from topwork import plugins
from topwork.contracts import Fold
from topwork.errors import UsageError, WeightsError
from topwork.steps.candidates import candidates, is_auto, named_with
from topwork.steps.trying import best_few, drawn, n_sampled
from topwork.training.selection import folds_of
from topwork.trunks import DEFAULTS, resolve
from topwork.trunks.wheels import kept_at

POOLED = frozenset({"pooled"})

# --- the sample -----------------------------------------------------------------------------------------


def test_a_small_set_is_tried_whole() -> None:
    assert [n_sampled(n) for n in (12, 500, 25_000)] == [12, 500, 500]
    assert drawn(np.array([1, 0, 1]), 3, seed=0).tolist() == [0, 1, 2]


def test_every_stratum_has_its_share() -> None:
    strata = np.random.default_rng(0).permutation(np.repeat([-1, 0, 1, 2], [100, 4000, 800, 20]))
    rows = drawn(strata, 492, seed=0)
    assert len(set(rows.tolist())) == 492
    assert (np.diff(rows) > 0).all()
    assert [int((strata[rows] == one).sum()) for one in (-1, 0, 1, 2)] == [10, 400, 80, 2]


def test_a_seed_draws_the_same_rows_and_another_one_others() -> None:
    strata = np.arange(3000) % 3
    assert drawn(strata, 90, seed=1).tolist() == drawn(strata, 90, seed=1).tolist()
    common = set(drawn(strata, 90, seed=1)) & set(drawn(strata, 90, seed=2))
    assert len(common) < 20


def test_folds_keep_their_rows_on_their_sides() -> None:
    rows = np.arange(40)
    folds = [Fold(rows[rows % 4 != j], rows[rows % 4 == j]) for j in range(4)]
    places = np.array([0, 3, 4, 7, 8, 11, 12])
    cut = folds_of(folds, places, 40)
    assert [places[fold.valid].tolist() for fold in cut] == [[0, 4, 8, 12], [3, 7, 11]]
    assert [places[fold.train].tolist() for fold in cut] == [[3, 7, 11], [0, 4, 8, 12]]


# --- who has a probe ------------------------------------------------------------------------------------


def test_the_few_are_the_best_by_both_scores_together() -> None:
    first, second = [0.1, 0.5, 0.4, 0.2, 0.3], [9.0, 3.0, 4.0, 1.0, 2.0]
    assert best_few([first, second], 3) == [1, 2, 0]
    assert best_few([first, [None] * 5], 3) == [1, 2, 4]
    assert best_few([first, [9.0, None, 4.0, 1.0, 2.0]], 3) == [1, 2, 4]


def test_where_no_score_is_known_all_have_a_probe() -> None:
    assert best_few([[None] * 7, [None] * 7], 4) == list(range(7))


# --- candidates -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "expected"),
    [("auto", True), ("auto:mobilenet-v2", True), ("automatic", False), ("./auto", False), (None, False)],
)
def test_what_is_to_be_chosen(word: str | None, expected: bool) -> None:
    assert is_auto(word) == expected


def names(*, here: tuple[str, ...], word: str, modality: str, cache_dir: Path) -> list[str]:
    for name in here:
        kept = kept_at(cache_dir, plugins.trunk(name).card.weights_sha256)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.touch()
    default = resolve(DEFAULTS[modality], plugins.trunks())
    return [one.card.name for one in candidates(default, named_with(word), POOLED, cache_dir)]


@pytest.mark.parametrize("modality", DEFAULTS)
def test_with_nothing_here_the_default_is_all_there_is(modality: str, tmp_path: Path) -> None:
    assert names(here=(), word="auto", modality=modality, cache_dir=tmp_path) == [DEFAULTS[modality]]


def test_what_is_here_counts_the_default_first_then_by_size(tmp_path: Path) -> None:
    here = ("efficientnet-lite2", "mobilenet-v2", "efficientnet-lite0", "all-minilm-l6-v2")
    found = names(here=here, word="auto", modality="image", cache_dir=tmp_path)
    assert found == ["efficientnet-lite0", "mobilenet-v2", "efficientnet-lite2"]


def test_what_is_named_counts_as_well_and_nothing_twice(tmp_path: Path) -> None:
    word = "auto:efficientnet-lite1, mobilenet-v2,efficientnet-lite1"
    found = names(here=("mobilenet-v2",), word=word, modality="image", cache_dir=tmp_path)
    assert found == ["mobilenet-v2", "efficientnet-lite1"]


def test_a_trunk_that_lacks_what_is_needed_is_no_candidate(tmp_path: Path) -> None:
    kept = kept_at(tmp_path, plugins.trunk("mobilenet-v2").card.weights_sha256)
    kept.parent.mkdir(parents=True)
    kept.touch()
    default = plugins.trunk(DEFAULTS["image"])
    found = candidates(default, (), frozenset({"pooled", "wings"}), tmp_path)
    assert [one.card.name for one in found] == [DEFAULTS["image"]]  # which `look_up` has refused before


@pytest.mark.parametrize(
    ("word", "error"), [("auto:", UsageError), ("auto:mobilenet_v2", UsageError), ("auto:./no", WeightsError)]
)
def test_a_name_that_means_nothing_is_refused(word: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        named_with(word)
