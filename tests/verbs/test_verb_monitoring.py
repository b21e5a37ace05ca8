"""A fit keeps what a server needs to tell strange inputs, better-asked answers and drift; nothing is set up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quick import fit_probe as fit
from topwork import FitOptions, Model, Surroundings, keep, load
from topwork.contracts import Estimate, Table
from topwork.steps.monitoring import OUT_OF_DOMAIN
from topwork.training.domain import LEVEL
from toy_photos import COLOURS, photo, write_photos


def checkerboard(seed: int) -> Any:
    from PIL import Image

    squares = np.kron(np.indices((10, 12)).sum(axis=0) % 2, np.ones((4, 4)))
    return Image.fromarray((255 * np.roll(squares, seed, axis=1)).astype(np.uint8)).convert("RGB")


def test_photos_of_the_fits_kind_are_in_the_domain_and_others_are_not(fitted: Model) -> None:
    like = [photo(colour, 5000 + i) for i in range(20) for colour in COLOURS.values()]
    found = fitted.predict(like)
    assert np.mean([one.in_domain for one in found]) > 0.8
    strange = fitted.predict([checkerboard(seed) for seed in range(4)])
    assert sum(one.in_domain is False for one in strange) >= 3


def test_the_record_says_how_many_test_rows_are_called_strange(fitted: Model) -> None:
    (table,) = [
        one for one in fitted.record.sections if isinstance(one, Table) and one.title == OUT_OF_DOMAIN
    ]
    ((what, share, expected),) = table.rows
    assert isinstance(share, Estimate)
    assert (what, expected) == ("test rows called out of domain", f"about {LEVEL:.0%}")
    assert share.low <= LEVEL <= share.high


def test_the_bundle_keeps_what_was_answered_of_held_out_rows(fitted: Model) -> None:
    reference = fitted.servable.reference
    assert reference is not None
    profile = reference.profiles[""]
    assert profile.n == sum(profile.counts["label"].values()) == 48
    assert reference.traits.shape[1] == 101
    assert {"label.class_counts", "features.mean"} <= set(fitted.servable.bundle.statistics())


def test_costs_give_the_threshold_below_which_it_abstains(
    photos: Path, tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    shares = []
    for cost in (0.0, 1e6):
        options = FitOptions(error_cost=cost, proof="none")
        model = fit(photos, tmp_path / "c.topwork", trunk=str(tiny_trunk), around=around, options=options)
        found = model.predict([photo(colour, 7000 + i) for i in range(8) for colour in COLOURS.values()])
        answer_from = float(model.servable.bundle.statistics()["label.answer_from"])
        assert [one.abstains for one in found] == [
            max(one.probabilities.values()) < answer_from for one in found
        ]
        shares.append(np.mean([bool(one.abstains) for one in found]))
    assert shares[0] < 0.3 < shares[1]


def test_without_costs_nothing_abstains(fitted: Model) -> None:
    assert fitted.predict(photo(COLOURS["red"], 1)).abstains is None


def test_a_smaller_bundle_keeps_the_domain(fitted: Model, tmp_path: Path, around: Surroundings) -> None:
    kept = keep(fitted.path, tmp_path / "kept.topwork", "label", around=around)
    one = photo(COLOURS["red"], 3)
    assert kept.predict(one).answer == fitted.predict(one).answer == load(kept.path).predict(one).answer


def test_a_fit_on_few_rows_says_nothing_of_the_domain(
    tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    few = write_photos(tmp_path / "few", 4)
    options = FitOptions(proof="none")
    model = fit(few, tmp_path / "few.topwork", trunk=str(tiny_trunk), around=around, options=options)
    assert model.predict(photo(COLOURS["red"], 3)).in_domain is None
    assert not [one for one in model.record.sections if getattr(one, "title", "") == OUT_OF_DOMAIN]


@pytest.mark.parametrize("words", [("in_domain", False), ("abstains", True)])
def test_a_line_on_the_command_line_says_what_speaks_against_an_answer(words: tuple[str, bool]) -> None:
    from topwork.cli.output import _doubts
    from topwork.verbs.model import Prediction

    name, value = words
    assert _doubts(Prediction("x", {"label": "a", name: value}))
    assert not _doubts(Prediction("x", {"label": "a", name: not value}))
    assert not _doubts(Prediction("x", {"label": "a"}))
