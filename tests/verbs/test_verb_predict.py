"""`load`, `predict`, `evaluate`, `check`: what one does with a bundle and with data."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from topwork import (
    BundleError,
    DataError,
    DecodeError,
    FitOptions,
    Model,
    ProofError,
    Surroundings,
    UsageError,
    check,
    embed,
    evaluate,
    load,
    predict,
)
from topwork.steps.options import duration_s
from topwork.steps.places import default_bundle
from toy_photos import COLOURS, photo, write_photos


def test_paths_bytes_pictures_and_arrays_get_the_same_answer(fitted: Model, photos: Path) -> None:
    path = photos / "green" / "03.jpg"
    picture = Image.open(path)
    by_path = fitted.predict(str(path))
    others = [fitted.predict(one) for one in (path, path.read_bytes(), picture, np.asarray(picture))]
    assert by_path.label == "green"
    assert [one.answer for one in others] == [by_path.answer] * 4
    assert by_path.input == str(path)
    assert sum(by_path.probabilities.values()) == pytest.approx(1, abs=1e-6)
    assert list(by_path.probabilities)[0] == "green"  # noqa: RUF015 - the order is the point


def test_a_list_gets_a_list_and_a_bad_input_a_problem(fitted: Model, photos: Path) -> None:
    found = fitted.predict(
        [photos / "red" / "00.jpg", b"no picture", photos / "gone.jpg", photos / "blue" / "01.jpg"]
    )
    assert [one.label for one in found] == ["red", None, None, "blue"]
    assert [one.problem is None for one in found] == [True, False, False, True]
    assert found[1].input == "1"
    assert found[1].probabilities == {}


def test_one_bad_input_is_an_error(fitted: Model) -> None:
    with pytest.raises(DecodeError):
        fitted.predict(b"no picture")
    with pytest.raises(UsageError):
        fitted.predict(3.5)


def test_a_thousand_inputs_stream_in_order(fitted: Model, photos: Path) -> None:
    paths = sorted(photos.rglob("*.jpg"))
    many = [paths[i % len(paths)] for i in range(1000)]
    found = list(fitted.stream(iter(many)))
    assert [one.input for one in found] == [str(path) for path in many]
    assert np.mean([one.label == path.parent.name for one, path in zip(found, many, strict=True)]) > 0.85


def test_predict_takes_folders_and_names_what_is_missing(fitted: Model, photos: Path, tmp_path: Path) -> None:
    assert len(list(predict(fitted.path, [photos / "red", photos / "blue" / "00.jpg"]))) == 21
    with pytest.raises(UsageError, match="There is no"):
        list(predict(fitted.path, [tmp_path / "gone.jpg"]))
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    with pytest.raises(UsageError, match="holds no photo"):
        list(predict(fitted.path, [tmp_path]))


def test_a_disturbed_bundle_is_refused(fitted: Model, tmp_path: Path) -> None:
    damaged = bytearray(fitted.path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "damaged.topwork").write_bytes(damaged)
    with pytest.raises(BundleError):
        load(tmp_path / "damaged.topwork")


def test_a_disturbed_layer_with_right_hashes_is_refused(
    fitted: Model, tmp_path: Path, around: Surroundings
) -> None:
    from dataclasses import replace

    from topwork.bundle.contents import Contents, save
    from topwork.contracts import Graph

    bundle = fitted.servable.bundle
    graph = bundle.graph()
    weights = dict(graph.weights)
    layer = next(name for name in weights if name.endswith("trunk.conv1.weight"))
    weights[layer] = weights[layer] * 1.5
    forged = Contents(
        name="forged",
        graph=Graph(graph.topology, weights, graph.output_names),
        preprocessing=fitted.servable.preprocessing,
        trunk=bundle.record().trunk,
        targets=bundle.targets,
        sides=bundle.sides(),
        statistics=bundle.statistics(),
        record=replace(bundle.record(), name="forged"),
        goldens=bundle.goldens(),
    )
    save(tmp_path / "forged.topwork", forged)
    with pytest.raises(ProofError):
        load(tmp_path / "forged.topwork")
    with pytest.raises(ProofError):
        embed([Path("any.jpg")], str(tmp_path / "forged.topwork"), around=around)


def test_evaluating_on_the_data_of_the_fit_gives_its_test_metrics(
    fitted: Model, photos: Path, around: Surroundings
) -> None:
    record = evaluate(fitted.path, photos, around=around)
    assert record.kind == "evaluation"
    assert record.split.n_test == 12
    assert "48 rows were left out" in record.split.notes[0]
    # The head is a part of the network that serves: in bf16 it rounds more than the fit's own arithmetic.
    within = 1e-2 if fitted.record.settings["engine"].endswith("bf16") else 1e-3
    for metric, estimate in fitted.record.targets["label"].test.items():
        assert record.targets["label"].test[metric].value == pytest.approx(estimate.value, abs=within)
    assert record.targets["label"].baselines.keys() == {"majority"}
    assert not record.proof_seconds
    assert not record.sections, "pictures and curves of the fit are not of these data"
    assert "budget" not in record.settings


def test_rows_whose_label_the_model_does_not_know_are_counted_as_left_out(
    fitted: Model, photos: Path, around: Surroundings, tmp_path: Path
) -> None:
    data = tmp_path / "more"
    shutil.copytree(photos, data)
    (data / "pink").mkdir()
    for i in range(3):
        photo((250, 160, 190), 9000 + i).save(data / "pink" / f"{i}.jpg")
    record = evaluate(fitted.path, data, around=around)
    (note,) = [one for one in record.split.notes if "pink" in one]
    assert "3 rows are not counted" in note


def test_evaluating_on_new_data_uses_all_of_them(fitted: Model, around: Surroundings, tmp_path: Path) -> None:
    new = write_photos(tmp_path / "new", 10, seed=7)
    record = evaluate(fitted.path, new, report=tmp_path / "new.html", around=around)
    assert record.split.n_test == 30
    assert record.targets["label"].test["accuracy"].value > 0.8
    assert "<html" in (tmp_path / "new.html").read_text(encoding="utf-8")


def test_evaluating_needs_labels_that_the_bundle_knows(
    fitted: Model, photos: Path, around: Surroundings, tmp_path: Path
) -> None:
    for old, new in (("red", "rot"), ("blue", "blau")):
        write_photos(tmp_path / "german", 12, seed=8)
        (tmp_path / "german" / old).rename(tmp_path / "german" / new)
    shutil.rmtree(tmp_path / "german" / "green")
    shutil.rmtree(tmp_path / "german" / "red", ignore_errors=True)
    with pytest.raises(DataError, match="it knows blue, green, red"):
        evaluate(fitted.path, tmp_path / "german", around=around)
    only_training = [p for p in photos.rglob("*.jpg") if _side(fitted, p) == "train"]
    for path in only_training:
        target = tmp_path / "seen" / path.relative_to(photos)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    with pytest.raises(DataError, match="nothing is left to measure on"):
        evaluate(fitted.path, tmp_path / "seen", around=around)


def _side(model: Model, path: Path) -> str:
    import hashlib

    return model.servable.bundle.sides()[hashlib.sha256(path.read_bytes()).hexdigest()]


def test_checking_data_shows_what_a_fit_would_see(photos: Path, around: Surroundings, tmp_path: Path) -> None:
    messy = Path(shutil.copytree(photos, tmp_path / "messy"))
    shutil.copy(messy / "red" / "00.jpg", messy / "red" / "copy.jpg")
    photo(COLOURS["red"], 5).save(messy / "blue" / "wrong.jpg")
    (messy / "red" / "empty.jpg").write_bytes(b"")
    found = check(messy, around=around)
    assert found.obstacle is None
    assert found.split is not None
    assert len(found.findings.usable) == 62
    assert [one.key for one in found.findings.rejected] == ["red/empty.jpg"]
    assert len(found.findings.exact) == 1
    assert "copies" in " ".join(found.findings.lines)


def test_checking_says_what_a_fit_would_refuse(around: Surroundings, tmp_path: Path) -> None:
    found = check(write_photos(tmp_path / "few", 2), around=around)
    assert found.split is None
    assert found.obstacle is not None
    assert "6" in found.obstacle


def test_columns_need_a_table(photos: Path, around: Surroundings) -> None:
    with pytest.raises(DataError, match="A table was asked for"):
        check(photos, options=FitOptions(group="patient"), around=around)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("2m", 120), ("1h30m", 5400), (1.5, 1.5), (None, float("inf"))],
)
def test_durations(text: str | float | None, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-3", "0", "m", "1m1h"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match="no duration"):
        duration_s(text)


def test_a_bundle_is_called_like_its_data(tmp_path: Path) -> None:
    (tmp_path / "cats.zip").write_bytes(b"")
    assert default_bundle(tmp_path / "cats.zip") == Path("cats.topwork")
    assert default_bundle(tmp_path).suffix == ".topwork"
