"""`compare`: two bundles on the same rows, paired; rows that either knows left out; labels that only one knows."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from PIL import Image

from quick import fit_probe
from tiny_trunk import write_tiny_trunk
from topwork import DataError, FitOptions, Model, Surroundings, UsageError, compare, evaluate, load
from topwork.verbs.comparing import TargetComparison
from toy_photos import write_photos


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compared")


@pytest.fixture(scope="module")
def fit(folder: Path, around: Surroundings) -> Callable[..., Path]:
    """Fit on another trunk than that of `fitted`."""
    trunk = write_tiny_trunk(folder / "tiny", seed=5)

    def give(data: Path, name: str, options: FitOptions | None = None) -> Path:
        model = fit_probe(
            data, folder / f"{name}.topwork", trunk=str(trunk), options=options, seed=3, around=around
        )
        return model.path

    return give


@pytest.fixture(scope="module")
def new(folder: Path) -> Path:
    return write_photos(folder / "new", 12, seed=7)


@pytest.fixture(scope="module")
def other(fit: Callable[..., Path], folder: Path) -> Path:
    return fit(write_photos(folder / "others", 15, seed=3), "other")


def the_counts(one: TargetComparison) -> int:
    return one.n_both_right + one.n_only_a_right + one.n_only_b_right + one.n_both_wrong


def test_the_metrics_are_those_of_evaluate_and_the_difference_is_theirs(
    fitted: Model, other: Path, new: Path, around: Surroundings
) -> None:
    found = compare(fitted.path, other, new, around=around)
    one = found.targets["label"]
    assert (found.a, found.b) == ("colours", "other")
    assert found.notes == ()
    for path, metrics in ((fitted.path, one.a), (other, one.b)):
        alone = evaluate(path, new, around=around).targets["label"].test
        assert {name: m.value for name, m in metrics.items()} == {name: m.value for name, m in alone.items()}
    for name, difference in one.difference.items():
        assert difference.value == pytest.approx(one.a[name].value - one.b[name].value, abs=1e-6)
        assert difference.low <= difference.value <= difference.high
    assert one.n_rows == the_counts(one) == 36
    assert (one.n_only_a_right - one.n_only_b_right) / 36 == pytest.approx(one.difference["accuracy"].value)


def test_disagreements_are_what_the_models_say(
    fitted: Model, other: Path, new: Path, around: Surroundings
) -> None:
    one = compare(fitted.path, other, new, around=around).targets["label"]
    paths = sorted(new.rglob("*.jpg"))
    said = [[str(p.label) for p in model.predict(list(map(str, paths)))] for model in (fitted, load(other))]
    expected = {
        (f"{path.parent.name}/{path.name}", path.parent.name, a, b)
        for path, a, b in zip(paths, *said, strict=True)
        if a != b
    }
    assert {(d.key, d.truth, d.a, d.b) for d in one.disagreements} == expected
    assert one.n_disagreements == len(expected) > 0
    right_first = [d.truth in (d.a, d.b) for d in one.disagreements]
    assert right_first == sorted(right_first, reverse=True)


def test_turning_the_two_round_turns_the_difference(
    fitted: Model, other: Path, new: Path, around: Surroundings
) -> None:
    there = compare(fitted.path, other, new, around=around).targets["label"]
    back = compare(other, fitted.path, new, around=around).targets["label"]
    assert (there.n_only_a_right, there.n_only_b_right) == (back.n_only_b_right, back.n_only_a_right)
    for name, difference in there.difference.items():
        assert back.difference[name].value == pytest.approx(-difference.value, abs=1e-9)
    assert back.difference["accuracy"].low == pytest.approx(-there.difference["accuracy"].high)


def test_rows_that_either_was_fitted_on_are_left_out(
    fitted: Model, fit: Callable[..., Path], photos: Path, around: Surroundings
) -> None:
    again = fit(photos, "again")  # the same photos, split by another seed
    sides = [fitted.servable.bundle.sides(), load(again).servable.bundle.sides()]
    untouched = [key for key in sides[0] if all(side[key] == "test" for side in sides)]
    assert 0 < len(untouched) < 12
    for a, b in ((fitted.path, again), (again, fitted.path)):
        found = compare(a, b, photos, around=around)
        assert found.targets["label"].n_rows == len(untouched)
        assert found.notes[0].startswith(
            f"{60 - len(untouched)} rows were left out because a bundle was fitted"
        )
        assert found.notes[0].endswith("48 by the first, 48 by the second.")


def test_nothing_left_says_what_to_do(
    fitted: Model, other: Path, photos: Path, folder: Path, around: Surroundings
) -> None:
    sides = fitted.servable.bundle.sides()
    known = folder / "known"
    for path in photos.rglob("*.jpg"):
        if sides[sha256(path.read_bytes()).hexdigest()] != "test":
            (known / path.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, known / path.parent.name)
    with pytest.raises(
        DataError, match=r"colours\.topwork was fitted on 48 of these, other\.topwork on 0"
    ) as told:
        compare(fitted.path, other, known, around=around)
    assert "--seed" in told.value.next_step


def test_near_copies_of_known_rows_are_left_out(
    fitted: Model, other: Path, photos: Path, new: Path, tmp_path: Path, around: Surroundings
) -> None:
    sides = fitted.servable.bundle.sides()
    data = tmp_path / "data"
    shutil.copytree(new, data)
    known = next(
        p for p in sorted(photos.rglob("*.jpg")) if sides[sha256(p.read_bytes()).hexdigest()] == "train"
    )
    shutil.copy(known, data / known.parent.name / "known.jpg")
    Image.open(known).save(data / known.parent.name / "copy.jpg", quality=80)
    found = compare(fitted.path, other, data, around=around)
    assert found.targets["label"].n_rows == 36
    assert found.notes[0].startswith("2 rows were left out")


def test_a_label_that_one_does_not_know_counts_as_wrong_for_it(
    fitted: Model, fit: Callable[..., Path], new: Path, folder: Path, around: Surroundings
) -> None:
    two = write_photos(folder / "two", 15, seed=4)
    shutil.rmtree(two / "green")
    narrow = fit(two, "narrow")
    found = compare(fitted.path, narrow, new, around=around)
    one = found.targets["label"]
    assert one.n_rows == the_counts(one) == 36
    assert found.notes == (
        "The second bundle does not know green; 12 rows so labelled count as wrong for it, with the highest log "
        "loss that is counted.",
    )
    assert one.b["accuracy"].value <= 24 / 36
    assert one.b["log_loss"].value > 12  # nats: a third of the rows at the highest that is counted, 36
    assert all(d.b != "green" for d in one.disagreements)
    assert sum(d.truth == "green" for d in one.disagreements) >= one.n_only_a_right - 24
    alone = evaluate(narrow, new, around=around).targets["label"].test["accuracy"].value  # of 24 rows
    assert one.b["accuracy"].value == pytest.approx(alone * 24 / 36)
    turned = compare(narrow, fitted.path, new, around=around)
    assert turned.notes[0].startswith("The first bundle does not know green; 12 rows")
    assert turned.targets["label"].n_only_b_right == one.n_only_a_right


def test_a_label_that_neither_knows_is_left_out(
    fitted: Model, other: Path, new: Path, tmp_path: Path, around: Surroundings
) -> None:
    data = tmp_path / "data"
    shutil.copytree(new, data)
    (data / "red").rename(data / "violet")
    found = compare(fitted.path, other, data, around=around)
    assert found.targets["label"].n_rows == 24
    assert found.notes == ("12 rows were left out because neither bundle knows their label: violet.",)
    shutil.rmtree(data / "green")
    (data / "blue").rename(data / "azure")
    with pytest.raises(DataError, match="they know blue, green, red, the data have azure, violet"):
        compare(fitted.path, other, data, around=around)


def test_bundles_of_the_same_stem_are_told_apart_by_their_paths(
    fitted: Model, other: Path, new: Path, tmp_path: Path, around: Surroundings
) -> None:
    same = tmp_path / fitted.path.name
    shutil.copy(other, same)
    found = compare(fitted.path, same, new, around=around)
    assert (found.a, found.b) == (str(fitted.path), str(same))


def test_a_bundle_beside_itself_shows_no_difference(fitted: Model, new: Path, around: Surroundings) -> None:
    one = compare(fitted.path, fitted.path, new, around=around).targets["label"]
    assert one.n_disagreements == one.n_only_a_right == one.n_only_b_right == 0
    assert all(d.value == 0 and d.low <= 0 <= d.high for d in one.difference.values())


# --- several targets ------------------------------------------------------------------------------------


def write_table(folder: Path, photos: Path, **columns: Callable[[Path], str]) -> Path:
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["file", *columns])
        for path in sorted(photos.rglob("*.jpg")):
            rows.writerow([path.relative_to(folder), *(of(path) for of in columns.values())])
    return folder / "table.csv"


def colour(path: Path) -> str:
    return path.parent.name


def half(path: Path) -> str:
    return "early" if int(path.stem) < 8 else "late"


def test_common_targets_alone_are_compared(
    fit: Callable[..., Path], fitted: Model, folder: Path, new: Path, around: Surroundings
) -> None:
    (folder / "tables").mkdir()
    seen = write_photos(folder / "tables" / "seen", 16, seed=11)
    table = write_table(folder / "tables", seen, colour=colour, half=half)
    both = FitOptions(target=("colour", "half"))
    two = fit(table, "two-targets", both)
    one = fit(table, "one-target", FitOptions(target=("colour",)))
    halves = fit(table, "halves", FitOptions(target=("half",)))
    asked = write_table(folder, new, colour=colour, half=half)

    found = compare(two, one, asked, options=both, around=around)
    assert list(found.targets) == ["colour"]
    assert found.notes == ("Not compared: half.",)
    everything = compare(two, two, asked, options=both, around=around)
    assert list(everything.targets) == ["colour", "half"]

    # A bundle fitted on folders calls the same labels `label`; where each has one target, that is the one.
    renamed = compare(fitted.path, one, new, around=around)
    assert list(renamed.targets) == ["label"]
    assert renamed.notes == ("'colour' of the second bundle is taken for 'label' of the first.",)
    assert compare(one, fitted.path, asked, options=both, around=around).targets["colour"].n_rows == 36

    with pytest.raises(UsageError, match=r"one-target.topwork predicts colour \(blue, green, red\); halves"):
        compare(one, halves, asked, options=both, around=around)
    with pytest.raises(DataError, match="The data have labels for half; both bundles predict colour"):
        compare(two, one, asked, options=FitOptions(target=("half",)), around=around)
