"""The classic recipes work for texts as for photos: nothing in them knows a pixel."""

from __future__ import annotations

import pytest

import topwork
from topwork import FitOptions, Surroundings
from topwork.contracts import Gallery
from toy_texts import toy_texts

pytestmark = pytest.mark.filterwarnings("ignore:The number of unique classes:UserWarning")


@pytest.mark.parametrize(
    ("recipe", "proof"), [("full", "none"), ("head", "quick"), ("hyperrule", "none"), ("contrast", "none")]
)
def test_a_recipe_fits_texts(recipe: str, proof: str, trunk: str, around: Surroundings) -> None:
    options = FitOptions(steps=20, proof=proof)  # type: ignore[arg-type]
    model = topwork.fit(
        toy_texts(120), trunk=trunk, recipe=recipe, budget=None, options=options, around=around
    )
    [*_, last] = model.record.rungs
    assert (last.name, last.chosen, last.n_steps) == (recipe, True, 20)
    assert model.predict("the parcel never came").label in model.record.targets["label"].labels
    assert not any("Pictures" in note for note in model.record.notes)
    assert not any("heat maps" in note for note in model.record.notes), model.record.notes
    galleries = [one for one in model.record.targets["label"].sections if isinstance(one, Gallery)]
    heats = [piece.heat for one in galleries for picture in one.pictures for piece in picture.pieces]
    assert heats
    assert not any(heats), "no word has a share of the score where there is a hidden layer"


def test_a_rate_is_found_for_texts(trunk: str, around: Surroundings) -> None:
    found = topwork.find_rate(toy_texts(120), trunk=trunk, options=FitOptions(steps=20), around=around)
    assert len(found.suggestions) == 4
