"""The whole way with texts: from a table, from folders and from memory to a model, its proof and its answers."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import topwork
from quick import fit_probe
from tiny_text_trunk import N_FEATURES, WINDOW
from told import Told
from topwork import DecodeError, FitOptions, Model, Surroundings, UsageError, load
from topwork.contracts import Gallery, Table
from topwork.inputs import TEXT
from toy_texts import LABELS, TELLING, toy_texts, write_text_folders, write_text_table

pytestmark = pytest.mark.filterwarnings("ignore:The number of unique classes:UserWarning")


@pytest.fixture(scope="module")
def model(trunk: str, around: Surroundings, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A ladder of a few steps with its proof, on texts of several lengths."""
    folder = tmp_path_factory.mktemp("texts")
    texts, labels = toy_texts(240)
    texts = [f"{text} {text}" if i % 5 == 0 else text for i, text in enumerate(texts)]
    options = FitOptions(steps=30, proof="quick")
    return topwork.fit(
        (texts, labels), folder / "post.topwork", trunk=trunk, budget=None, options=options, around=around
    )


def test_it_learns_what_the_texts_say(model: Model) -> None:
    result = model.record.targets["label"]
    assert result.labels == LABELS
    assert result.test["accuracy"].value > 0.8
    assert [rung.name for rung in model.record.rungs][:3] == ["probe", "words", "all"]
    assert model.record.trunk.n_features == N_FEATURES
    assert model.record.trunk.input_size == (WINDOW,)


@pytest.mark.parametrize(("budget", "n"), [("20s", 1), ("1h", 0)])
def test_a_budget_that_reading_uses_up_is_told_of_while_it_is_read(
    trunk: str, around: Surroundings, tmp_path: Path, budget: str, n: int
) -> None:
    told, now_s = Told(), count(0.0, 1.0)
    slow = replace(around, progress=told, clock=lambda: next(now_s), cache_dir=tmp_path / "cache")
    model = fit_probe(
        toy_texts(120), trunk=trunk, budget=budget, options=FitOptions(proof="none"), around=slow
    )
    notes = [line for line in told.lines if line.startswith("Note: Reading takes about")]
    assert len(notes) == n
    assert all("give a longer --budget" in note for note in notes)
    assert model.record.rungs[0].name == "probe", "what was read is fitted all the same"


def test_the_classical_baseline_counts_words(model: Model) -> None:
    compared = {one.name: one for one in model.record.targets["label"].comparisons}
    assert "words and pairs of words" in compared["classical baseline"].how
    assert compared["classical baseline"].metrics["accuracy"].value > 0.8


def test_the_report_shows_words_with_heat_and_no_empty_picture(model: Model) -> None:
    galleries = [one for one in model.record.targets["label"].sections if isinstance(one, Gallery)]
    typical = next(one for one in galleries if one.title == "Typical of each class")
    assert len(typical.pictures) == 4
    for one in typical.pictures:
        heats = [piece.heat for piece in one.pieces]
        assert max(np.abs(heats)) == pytest.approx(1)
        assert not one.jpeg_base64
    assert "underlined" in typical.caption


def test_the_report_lists_the_words_that_drive_each_class(model: Model) -> None:
    sections = model.record.targets["label"].sections
    (table,) = (one for one in sections if isinstance(one, Table) and one.title == "What drives each class")
    told = {str(label): str(words).split(", ") for label, words in table.rows}
    listed = {label: {one.split(" (")[0] for one in words} for label, words in told.items()}
    for label, other in (LABELS, LABELS[::-1]):
        assert len(listed[label] & set(TELLING[label])) >= 2, listed
        assert not listed[label] & set(TELLING[other]), listed


def test_a_second_process_would_say_the_same(model: Model, tmp_path: Path) -> None:
    again = load(model.save(tmp_path / "copy.topwork"))
    texts, labels = toy_texts(20, seed=9)
    said, told = model.predict(texts), again.predict(texts)
    for one, other in zip(said, told, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-2)
    assert sum(one.label == label for one, label in zip(said, labels, strict=True)) >= 16


def test_a_text_stands_for_itself_a_path_for_its_file_and_a_bad_one_costs_one_line(
    model: Model, tmp_path: Path
) -> None:
    text = toy_texts(1, seed=9)[0][0]
    file = tmp_path / "letter.txt"
    file.write_text(text, encoding="utf-8")
    found = model.predict([text, file, text.encode(), "   ", tmp_path / "none.txt"])
    assert found[0].answer == found[1].answer == found[2].answer is not None
    assert found[0].input == " ".join(text.split())[:80]
    assert found[1].input == str(file)
    assert found[3].problem == "There is no text, only white space in it.\nLeave it out, or give the text."
    assert found[4].problem is not None
    with pytest.raises(DecodeError, match="empty"):
        model.predict("")


def test_texts_of_any_length_are_answered_together_as_alone(model: Model) -> None:
    texts = [" ".join(["parcel late"] * n) for n in (1, 40, 3, 9, 200, 2)]
    together = [one.probabilities for one in model.predict(texts)]
    for one, text in zip(together, texts, strict=True):
        alone = model.predict(text).probabilities
        assert one == pytest.approx(alone, abs=1e-4)


@pytest.mark.slow
def test_folders_and_tables_of_the_same_texts_give_the_same_model(
    trunk: str, around: Surroundings, tmp_path: Path
) -> None:
    folders, table = write_text_folders(tmp_path / "folders"), write_text_table(tmp_path / "texts.csv")
    one, other = (fit_probe(data, trunk=trunk, around=around) for data in (folders, table))
    assert one.record.data.class_counts == other.record.data.class_counts
    text = toy_texts(1, seed=9)[0][0]
    assert one.predict(text).label == other.predict(text).label


def test_evaluating_leaves_out_what_was_trained_on_and_measures_the_rest(
    model: Model, tmp_path: Path
) -> None:
    table = write_text_table(tmp_path / "fresh.csv", n=40, seed=21)
    record = topwork.evaluate(model.path, table)
    assert record.targets["label"].n_test == 40
    assert record.targets["label"].test["accuracy"].value > 0.7


def test_going_on_from_a_bundle_of_texts(
    model: Model, trunk: str, around: Surroundings, tmp_path: Path
) -> None:
    table = write_text_table(tmp_path / "more.csv", n=60, seed=33)
    options = FitOptions(onward=model.path, proof="none")
    again = fit_probe(table, trunk=trunk, around=around, options=options)
    assert again.record.targets["label"].labels == LABELS


def test_a_trunk_for_pictures_is_refused_for_texts_and_the_other_way_round(
    trunk: str, tiny_trunk: Path, photos: Path, around: Surroundings, tmp_path: Path
) -> None:
    table = write_text_table(tmp_path / "texts.csv")
    with pytest.raises(UsageError, match="takes inputs of the kind 'image'; the data were taken for 'text'"):
        fit_probe(table, trunk=str(tiny_trunk), around=around)
    with pytest.raises(UsageError, match="takes inputs of the kind 'text'; the data were taken for 'image'"):
        fit_probe(photos, trunk=trunk, around=around)


def test_it_tells_which_words_drove_an_answer(model: Model) -> None:
    text = "The parcel from Anna was broken and the meal too."
    found = list(model.servable.explain([text.encode(), b" "]))
    assert found[0].value is not None
    pieces: Any = found[0].value["pieces"]
    assert "".join(one["text"] for one in pieces) == text
    assert max(abs(one["heat"]) for one in pieces) == 1
    assert found[0].value["answer"] == model.predict(text).answer
    assert found[0].value["towards"] == model.predict(text).label
    assert (found[1].value, found[1].index) == (None, 1)
    schema: Any = model.servable.explanation_schema
    assert set(schema["properties"]) == set(found[0].value)


def test_a_model_of_pictures_does_not(fitted: Model) -> None:
    assert fitted.servable.explanation_schema is None


def test_the_bundle_holds_the_tokeniser_and_says_how_texts_travel(model: Model) -> None:
    manifest = model.servable.bundle.manifest
    assert manifest.modality == "text"
    assert json.loads(str(manifest.preprocessing["tokenizer"]))["model"]["type"] == "WordPiece"
    assert model.servable.wire == TEXT.wire
