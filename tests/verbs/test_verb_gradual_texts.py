"""The whole way of the recipes gradual and lora with texts: from a table to a bundle that proves itself."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

import topwork
from tiny_text_trunk import N_FEATURES
from tiny_transformers import write_masking_trunk
from topwork import FitOptions, Surroundings, load
from toy_texts import toy_texts

pytestmark = pytest.mark.filterwarnings("ignore:The number of unique classes:UserWarning")


@pytest.fixture(scope="module")
def trunk(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_masking_trunk(tmp_path_factory.mktemp("trunk") / "tiny-bert"))


SIDES = ("train", "train", "train", "valid", "test")


def write_half_labelled(path: Path, n: int = 160) -> tuple[Path, int]:
    """Write a table with sides, whose every fourth row has no label; return how many of these are there to learn from.

    Some texts of test rows stand there once more, without a label and on the side of training.
    """
    texts, labels = toy_texts(n)
    rows = [
        (text, "" if i % 4 == 3 else label, SIDES[i % 5])
        for i, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]
    again = [(text, "", "train") for text, label, side in rows if label and side == "test"]
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("text", "label", "split"), *rows, *again])
    return path, sum(not label and side == "train" for _, label, side in rows)


@pytest.mark.slow
def test_gradual_pools_three_ways_and_learns_from_rows_without_a_label(
    trunk: str, around: Surroundings, tmp_path: Path
) -> None:
    data, n_unlabelled = write_half_labelled(tmp_path / "post.csv")
    options = FitOptions(steps=30, proof="quick")
    model = topwork.fit(
        data,
        tmp_path / "post.topwork",
        trunk=trunk,
        recipe="gradual",
        budget=None,
        options=options,
        around=around,
    )
    record = model.record
    assert record.trunk.n_features == 3 * N_FEATURES
    assert [(one.name, one.chosen) for one in record.rungs] == [("probe", False), ("gradual", True)]
    [told] = [note for note in record.notes if note.startswith("Masked words: 9 steps on ")]
    n_learnt, n_held = map(int, re.findall(r"on (\d+) (?:texts|others)", told))
    assert n_unlabelled > 20
    assert n_learnt + n_held == record.split.n_train + n_unlabelled
    again = load(model.path)
    text = "the parcel never came"
    assert again.predict(text).answer == model.predict(text).answer
    onward = FitOptions(onward=model.path, steps=5, proof="none")
    after = topwork.fit(
        toy_texts(200, seed=3), trunk=trunk, recipe="gradual", budget=None, options=onward, around=around
    )
    assert after.record.trunk.n_features == 3 * N_FEATURES


def test_the_trunks_own_pooling_is_kept_where_it_is_asked_for(trunk: str, around: Surroundings) -> None:
    options = FitOptions(steps=10, proof="none", recipe_settings={"pooling": "own", "adaptation": 0.0})
    model = topwork.fit(
        toy_texts(120), trunk=trunk, recipe="gradual", budget=None, options=options, around=around
    )
    assert model.record.trunk.n_features == N_FEATURES
    assert not any("Masked" in note for note in model.record.notes)
