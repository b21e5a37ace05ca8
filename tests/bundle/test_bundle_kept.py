"""Bundles that earlier versions wrote still open, prove themselves and answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from topwork import load
from toy_photos import COLOURS, photo

KEPT = sorted((Path(__file__).parents[1] / "data" / "bundles").glob("*.topwork"))


def test_there_are_kept_bundles() -> None:
    assert [path.name for path in KEPT] == ["colours-format1.topwork"]


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_kept_bundle_proves_itself_and_answers(path: Path) -> None:
    model = load(path)
    record = model.record
    assert record.targets["label"].labels == ("blue", "green", "red")
    assert record.targets["label"].test["accuracy"].value > 0.8
    assert len(model.servable.bundle.goldens()) == 8
    answers = {label: model.predict(photo(colour, seed=12345)).label for label, colour in COLOURS.items()}
    assert answers == {label: label for label in COLOURS}
