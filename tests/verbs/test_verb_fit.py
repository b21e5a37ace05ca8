"""`fit`, from photos to a bundle and a report."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import topwork
from quick import fit_probe as fit
from topwork import DataError, FitOptions, Model, StorageError, Surroundings, UsageError, load
from topwork.bundle.contents import open_bundle
from topwork.contracts import Afterwards, FitJob, Gallery
from topwork.progress import Lines, Quiet
from topwork.steps.speeds import DELIVERY_S, row_s_of
from topwork.training.reading import Reading
from toy_photos import write_photos


def test_the_model_tells_the_colours_apart(fitted: Model) -> None:
    result = fitted.record.targets["label"]
    assert result.labels == ("blue", "green", "red")
    assert result.test["accuracy"].value > 0.8
    assert result.test["accuracy"].low <= result.test["accuracy"].value <= result.test["accuracy"].high
    assert result.baselines["majority"]["accuracy"].value == pytest.approx(1 / 3, abs=0.01)


def test_the_record_adds_up(fitted: Model) -> None:
    record = fitted.record
    assert (record.split.n_train, record.split.n_valid, record.split.n_test) == (48, 0, 12)
    assert record.data.n_listed == record.data.n_used == 60
    assert record.data.class_counts["label"] == {"blue": 20, "green": 20, "red": 20}
    assert [rung.name for rung in record.rungs] == ["probe"]
    assert 0 < record.rungs[0].seconds <= record.seconds_to_first_model <= record.seconds
    assert record.settings["seed"] == "0"


def test_test_rows_are_no_training_rows(fitted: Model) -> None:
    sides = fitted.servable.bundle.sides()
    assert sorted(set(sides.values())) == ["test", "train"]
    assert len(sides) == 60


def test_the_same_call_gives_the_same_model(
    fitted: Model, photos: Path, tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    again = fit(photos, tmp_path / "again.topwork", trunk=str(tiny_trunk), around=around)
    first, second = fitted.servable.bundle.graph().weights, again.servable.bundle.graph().weights
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert again.record.n_cached == 60
    assert fitted.servable.bundle.sides() == again.servable.bundle.sides()


def test_another_seed_gives_another_split(
    fitted: Model, photos: Path, tiny_trunk: Path, around: Surroundings
) -> None:
    other = fit(photos, trunk=str(tiny_trunk), seed=1, around=around)
    assert other.servable.bundle.sides() != fitted.servable.bundle.sides()


def test_the_report_stands_beside_the_bundle_and_holds_the_figures(fitted: Model) -> None:
    report = fitted.path.with_name("colours.report.html").read_text(encoding="utf-8")
    accuracy = fitted.record.targets["label"].test["accuracy"].value
    assert f"{100 * accuracy:.1f}" in report
    assert not re.search(r"(src|href)=[\"']?https?:", report)


def test_without_a_place_the_bundle_lives_in_a_temporary_one_until_saved(
    photos: Path, tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    model = fit(photos, trunk=str(tiny_trunk), around=around)
    where = model.path
    saved = model.save(tmp_path / "kept.topwork")
    answer = model.predict(photos / "red" / "00.jpg")
    del model
    assert not where.exists()
    assert load(saved).predict(photos / "red" / "00.jpg") == answer


def test_no_training_data_means_no_picture_anywhere(
    photos: Path, tiny_trunk: Path, around: Surroundings
) -> None:
    model = fit(photos, trunk=str(tiny_trunk), options=FitOptions(keep_training_data=False), around=around)
    bundle = model.servable.bundle
    sections = (*model.record.targets["label"].sections, *model.record.sections)
    shown = [picture for s in sections if isinstance(s, Gallery) for picture in s.pictures]
    assert shown
    assert all(picture.jpeg_base64 == picture.heat_base64 == "" for picture in shown)
    originals = {path.read_bytes() for path in photos.rglob("*.jpg")}
    assert all(golden.encoded not in originals for golden in bundle.goldens())
    whole = bundle.path.read_bytes()
    assert not any(original in whole for original in originals)
    assert "data:image" not in bundle.path.with_name("colours.report.html").read_text(encoding="utf-8")


def test_with_training_data_the_goldens_are_training_rows(fitted: Model, photos: Path) -> None:
    import hashlib

    sides = fitted.servable.bundle.sides()
    goldens = fitted.servable.bundle.goldens()
    assert len(goldens) == 8
    assert {sides[hashlib.sha256(g.encoded).hexdigest()] for g in goldens} == {"train"}
    assert len({g.key.split("/")[0] for g in goldens}) == 3


def test_goldens_may_come_from_a_folder_of_ones_own(
    photos: Path, tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    own = write_photos(tmp_path / "own", 1, seed=9)
    (own / "notes.jpg").write_bytes(b"no picture")
    model = fit(photos, trunk=str(tiny_trunk), options=FitOptions(golden=own), around=around)
    assert [g.key for g in model.servable.bundle.goldens()] == ["blue/00.jpg", "green/00.jpg", "red/00.jpg"]
    with pytest.raises(DataError, match="holds 0 inputs that can be read"):
        fit(photos, trunk=str(tiny_trunk), options=FitOptions(golden=tiny_trunk), around=around)


def test_bad_files_are_left_out_and_named(
    photos: Path, tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    messy = Path(shutil.copytree(photos, tmp_path / "messy"))
    (messy / "red" / "empty.jpg").write_bytes(b"")
    (messy / "red" / "text.png").write_bytes(b"this is text")
    (messy / "blue" / "half.jpg").write_bytes((photos / "blue" / "00.jpg").read_bytes()[:300])
    record = fit(messy, trunk=str(tiny_trunk), around=around).record
    assert {one.key for one in record.data.rejected} == {"red/empty.jpg", "red/text.png", "blue/half.jpg"}
    assert record.data.n_used == 60


def test_too_little_is_refused_with_the_reason(
    tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    few = write_photos(tmp_path / "few", 4)
    for path in (few / "red").iterdir():
        path.write_bytes(b"broken")
    with pytest.raises(DataError, match="4 "):
        fit(few, trunk=str(tiny_trunk), around=around)


def test_a_split_that_came_with_the_data_is_kept(
    tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    data = tmp_path / "split"
    write_photos(data / "train", 15, seed=1)
    write_photos(data / "val", 5, seed=2)
    record = fit(data, trunk=str(tiny_trunk), around=around).record
    assert (record.split.n_train, record.split.n_valid, record.split.n_test) == (45, 0, 15)
    assert any("validation" in note for note in record.split.notes)


def test_a_group_stays_on_one_side(
    photos: Path, tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    table = tmp_path / "labels.csv"
    rows = [
        (p.relative_to(photos).as_posix(), p.parent.name, f"patient {int(p.stem) // 4}")
        for p in sorted(photos.rglob("*.jpg"))
    ]
    table.write_text("file,label,patient\n" + "\n".join(",".join(row) for row in rows), encoding="utf-8")
    shutil.copytree(photos, tmp_path, dirs_exist_ok=True)
    model = fit(table, trunk=str(tiny_trunk), options=FitOptions(group="patient"), around=around)
    import hashlib

    sides = model.servable.bundle.sides()
    by_patient: dict[str, set[str]] = {}
    for name, _, patient in rows:
        side = sides[hashlib.sha256((photos / name).read_bytes()).hexdigest()]
        by_patient.setdefault(patient, set()).add(side)
    assert len(by_patient) == 5
    assert all(len(found) == 1 for found in by_patient.values())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"trunk": "efficientnet-lite9"}, "efficientnet-lite"),
        ({"recipe": "prob"}, "Did you mean 'probe'"),
        ({"budget": "soon"}, "is no duration"),
    ],
)
def test_a_wrong_word_is_refused_before_anything_is_read(
    words: dict[str, str], said: str, photos: Path, around: Surroundings
) -> None:
    with pytest.raises(UsageError, match=said):
        fit(photos, around=around, **words)  # type: ignore[arg-type]


def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    photos: Path, around: Surroundings, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="Cannot write"):
        fit(photos, tmp_path / "file" / "x.topwork", trunk="does not matter", around=around)
    (tmp_path / "folder.topwork").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        fit(photos, tmp_path / "folder.topwork", trunk="does not matter", around=around)


def test_a_budget_that_is_over_at_once_still_gives_a_model(
    photos: Path, tiny_trunk: Path, around: Surroundings
) -> None:
    model = fit(photos, trunk=str(tiny_trunk), budget=0.0001, around=around)
    assert "cut short by the budget" in model.record.rungs[0].notes[0]


def test_a_recipe_is_told_what_the_budget_must_still_hold_for(
    photos: Path, tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    """All rows of the data, at the speed of reading them where it has been seen."""
    around = replace(around, cache_dir=tmp_path / "cache")
    with recipe_that_tells(tmp_path / "plugin") as seen:
        for data in (photos, write_photos(tmp_path / "many", 34, seed=5)):
            options = FitOptions(proof="none")
            topwork.fit(data, trunk=str(tiny_trunk), recipe="telling", options=options, around=around)
    few, many = (job.afterwards for job in seen)
    assert few == Afterwards(60, None, DELIVERY_S)
    assert (many.n_rows, many.delivery_s) == (102, DELIVERY_S)
    assert many.row_s is not None
    assert 0 < many.row_s < 1


@contextmanager
def recipe_that_tells(folder: Path) -> Iterator[list[FitJob]]:
    """Put a recipe on the path that is the probe, and keeps the jobs that it is given."""
    info = folder / "telling-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: telling\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[topwork.recipes]\ntelling = telling_recipe:TELLING\n")
    (folder / "telling_recipe.py").write_text(
        "from topwork.recipes.probe import PROBE\n"
        "class Telling:\n"
        "    name, requires, seen = 'telling', PROBE.requires, []\n"
        "    def __call__(self, job):\n"
        "        self.seen.append(job)\n"
        "        return PROBE(job)\n"
        "TELLING = Telling()\n"
    )
    sys.path.insert(0, str(folder))
    try:
        yield import_module("telling_recipe").TELLING.seen
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("telling_recipe", None)


def test_the_time_of_a_row_is_known_where_enough_were_run() -> None:
    empty = np.zeros((0, 1))
    reading = Reading((), empty, empty, np.zeros(0, bool), n_cached=0, n_computed=200, items_per_s=50.0)
    assert row_s_of(reading) == 0.02
    assert row_s_of(replace(reading, n_computed=20)) is None
    assert row_s_of(replace(reading, n_computed=0, items_per_s=0.0)) is None


def test_what_was_understood_is_said_before_the_work(
    photos: Path, tiny_trunk: Path, around: Surroundings
) -> None:
    import io

    told = io.StringIO()
    fit(photos, trunk=str(tiny_trunk), around=replace(around, progress=Lines(told)))
    lines = told.getvalue().splitlines()
    assert "3 classes" in lines[0]
    assert any("60 of 60 inputs were cached" in line for line in lines)


@pytest.mark.slow
def test_another_engine_gives_the_same_answers(
    photos: Path, tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    elsewhere = replace(around, cache_dir=tmp_path / "cache", engine="torch")
    by_torch = fit(photos, trunk=str(tiny_trunk), around=replace(elsewhere, engine="torch"))
    by_default = fit(photos, trunk=str(tiny_trunk), around=around)
    assert by_torch.record.settings["engine"].startswith("torch")
    files = sorted(path for path in photos.rglob("*") if path.is_file())
    ours, theirs = (model.predict(files) for model in (by_torch, by_default))
    apart = [
        abs(share - b.probabilities[label])
        for a, b in zip(ours, theirs, strict=True)
        for label, share in a.probabilities.items()
    ]
    assert len(apart) == 3 * 60
    # Not the weights: a machine with bf16 fits on features in bf16, and many weights give the same answers.
    assert np.mean(apart) < 0.005


def test_a_fit_works_where_nothing_can_be_cached(photos: Path, tiny_trunk: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    model = fit(
        photos,
        trunk=str(tiny_trunk),
        around=Surroundings(cache_dir=tmp_path / "file" / "x", progress=Quiet()),
    )
    assert model.predict(photos / "red" / "00.jpg").label == "red"


def test_the_manifest_is_json_that_anybody_can_read(fitted: Model) -> None:
    import zipfile

    with zipfile.ZipFile(fitted.path) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        assert archive.namelist()[-1] == "manifest.json"
    assert manifest["targets"]["label"]["state"]["labels"] == ["blue", "green", "red"]
    assert open_bundle(fitted.path).identity == fitted.servable.bundle.identity


@pytest.mark.slow
def test_a_first_fit_with_the_catalogue_imports_no_torch(
    photos: Path, around: Surroundings, tmp_path: Path
) -> None:
    import subprocess
    import sys

    from topwork import plugins
    from topwork.trunks import DEFAULTS

    plugins.trunk(DEFAULTS["image"]).fetch(around.cache_dir, around.progress)
    script = (
        "import sys, pathlib, topwork\n"
        "around = topwork.Surroundings(cache_dir=pathlib.Path(sys.argv[2]))\n"
        "options = topwork.FitOptions(proof='none')\n"
        "model = topwork.fit(sys.argv[1], recipe='probe', options=options, around=around)\n"
        "print(model.record.n_cached, sorted({'torch', 'timm', 'torchvision', 'scipy'} & set(sys.modules)))"
    )
    words = [sys.executable, "-c", script, str(photos), str(around.cache_dir)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "0 []"


def test_a_task_is_chosen_by_name(photos: Path, tiny_trunk: Path, around: Surroundings) -> None:
    model = fit(photos, trunk=str(tiny_trunk), options=FitOptions(task="classification"), around=around)
    assert model.record.targets["label"].task == "classification"
    with pytest.raises(UsageError, match=r"no task 'clasification'.*\n.*mean 'classification'"):
        fit(photos, trunk=str(tiny_trunk), options=FitOptions(task="clasification"), around=around)
