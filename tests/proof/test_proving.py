"""The proof of a fit: rivals, growth, doubtful labels, groups, heat maps, thresholds, going on from a bundle."""

from __future__ import annotations

import csv
import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import topwork
from quick import fit_probe
from topwork import FitOptions, Model, Surroundings, UsageError
from topwork.contracts import Chart, Gallery, Table
from topwork.progress import Quiet
from topwork.trunks import DEFAULTS
from toy_photos import photo, write_photos


@pytest.fixture(scope="module")
def climbed(
    photos: Path, tiny_trunk: Path, around: Surroundings, tmp_path_factory: pytest.TempPathFactory
) -> Model:
    out = tmp_path_factory.mktemp("climbed") / "colours.topwork"
    options = FitOptions(steps=40, error_cost=5.0)
    return topwork.fit(photos, out, trunk=str(tiny_trunk), options=options, around=around)


def titles(model: Model) -> list[str]:
    found = model.record.targets["label"]
    return [section.title for section in (*found.sections, *model.record.sections)]


def test_the_ladder_is_the_default_and_tells_what_each_rung_was_worth(climbed: Model) -> None:
    record = climbed.record
    assert record.recipe == "ladder"
    assert record.rungs[0].name == "probe"
    assert len(record.rungs) >= 2
    assert sum(rung.chosen for rung in record.rungs) == 1
    assert all(rung.log_loss is not None for rung in record.rungs)
    assert all(rung.gain is not None for rung in record.rungs[1:])
    assert {"seed", "threads", "precision"} <= set(record.plan)


def test_every_rival_is_compared_row_by_row(climbed: Model) -> None:
    result = climbed.record.targets["label"]
    rivals = {one.name: one for one in result.comparisons}
    assert {"majority", "classical baseline"} <= set(rivals)
    for one in rivals.values():
        gap = result.test["accuracy"].value - one.metrics["accuracy"].value
        assert one.difference["accuracy"].value == pytest.approx(gap)
        assert one.difference["accuracy"].low <= gap <= one.difference["accuracy"].high
    assert rivals["majority"].difference["accuracy"].low > 0


def test_what_was_trained_is_set_beside_one_from_scratch(climbed: Model) -> None:
    result = climbed.record.targets["label"]
    if "from scratch" not in [
        one.name for one in result.comparisons
    ]:  # on a slow machine, and then it is said
        assert any("too short for one look" in note for note in climbed.record.notes)
        return
    assert climbed.record.proof_seconds["from scratch"] > 0
    assert "What pretraining brought here" in titles(climbed)


def test_a_network_from_random_weights_is_not_set_beside_itself(
    photos: Path, tiny_trunk: Path, around: Surroundings
) -> None:
    model = topwork.fit(
        photos, trunk=str(tiny_trunk), recipe="scratch", options=FitOptions(steps=5), around=around
    )
    names = [one.name for one in model.record.targets["label"].comparisons]
    assert names == ["majority", "frozen network", "classical baseline"]
    assert "What pretraining brought here" not in titles(model)


@pytest.mark.slow
def test_the_full_proof_tells_how_much_depends_on_the_seed(
    photos: Path, tiny_trunk: Path, around: Surroundings
) -> None:
    options = FitOptions(steps=40, proof="full")
    model = topwork.fit(photos, trunk=str(tiny_trunk), options=options, around=around)
    assert model.record.proof_seconds["seeds"] > 0
    claims = {s.title: s for s in model.record.targets["label"].sections if isinstance(s, Table)}
    spread = claims["How much depends on the seed"]
    assert [row[0] for row in spread.rows] == ["this recipe", "from scratch"]
    assert all(
        re.fullmatch(r"[\d.]+ (%|points) \([\d.]+ to [\d.]+\)", str(cell))
        for row in spread.rows
        for cell in row[1:]
    )
    rows = {row[0]: row[2] for row in claims["What pretraining brought here"].rows}
    assert set(rows) == {
        "It generalises better", "It needs less data", "It is less brittle", "It trains fewer weights",
    }  # fmt: skip
    assert re.match(r"[\d.]+ times \(|not shown", str(rows["It is less brittle"]))


def test_the_proof_has_its_parts(climbed: Model) -> None:
    result = climbed.record.targets["label"]
    assert result.n_test == 12
    assert {"baselines", "growth", "labels", "heat maps"} <= set(climbed.record.proof_seconds)
    assert result.growth is not None
    assert result.growth.n_now == 48
    assert result.growth.doubled.low <= result.growth.doubled.value <= result.growth.doubled.high
    assert {"When it is sure, is it right?", "When only the surest answers are taken"} <= set(titles(climbed))
    assert "From which probability to answer" in titles(climbed)


def test_pictures_show_where_it_looks(climbed: Model) -> None:
    galleries = [s for s in climbed.record.targets["label"].sections if isinstance(s, Gallery)]
    typical = next(one for one in galleries if one.title == "Typical of each class")
    assert len(typical.pictures) >= 3
    assert all(one.jpeg_base64 and one.heat_base64 for one in typical.pictures)
    assert all(one.jpeg_base64 != one.heat_base64 for one in typical.pictures)


def test_without_a_proof_there_is_none(photos: Path, tiny_trunk: Path, around: Surroundings) -> None:
    model = fit_probe(photos, trunk=str(tiny_trunk), options=FitOptions(proof="none"), around=around)
    assert not model.record.proof_seconds
    assert not model.record.targets["label"].comparisons


def test_a_user_who_wants_no_more_keeps_what_there_is(
    photos: Path, tiny_trunk: Path, around: Surroundings
) -> None:
    asked: Iterator[bool] = iter([False, False])  # two parts may begin
    impatient = replace(around, should_stop=lambda: next(asked, True))
    model = fit_probe(photos, trunk=str(tiny_trunk), around=impatient)
    assert list(model.record.proof_seconds) == ["baselines", "growth"]
    assert any("stopped before: labels" in note for note in model.record.notes)
    assert model.predict(photos / "red" / "00.jpg").label == "red"


def test_a_model_that_knows_nothing_doubts_no_label_and_says_so(
    photos: Path, tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    draw = random.Random(0)
    for number, path in enumerate(sorted(photos.rglob("*.jpg"))):
        folder = tmp_path / "coins" / draw.choice(["heads", "tails"])
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / f"{number}.jpg")
    model = fit_probe(tmp_path / "coins", trunk=str(tiny_trunk), around=around)
    assert any(note.startswith("No label is called wrong by the model") for note in model.record.notes)
    titles = [one.title for one in model.record.targets["label"].sections]
    assert "Labels that look wrong" not in titles


def test_a_wrong_label_is_listed_and_can_be_handed_back(
    photos: Path, tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    data = tmp_path / "colours"
    shutil.copytree(photos, data)
    wrong = data / "blue" / "zz wrong.jpg"
    shutil.copy(next((photos / "red").glob("*.jpg")), wrong)
    out = tmp_path / "m.topwork"
    fit_probe(data, out, trunk=str(tiny_trunk), around=around)
    table = tmp_path / "m.labels.csv"
    rows = list(csv.DictReader(table.read_text(encoding="utf-8-sig").splitlines()))
    doubted = next(row for row in rows if row["key"] == "blue/zz wrong.jpg")
    assert (doubted["label"], doubted["suggested"]) == ("blue", "red")
    for row in rows:
        row["action"] = "drop" if row is doubted else ""
    with table.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    again = fit_probe(
        data, trunk=str(tiny_trunk), options=FitOptions(labels=table, proof="none"), around=around
    )
    assert again.record.data.n_used == 60


def test_a_column_to_slice_by_must_be_there(photos: Path, tiny_trunk: Path, around: Surroundings) -> None:
    with pytest.raises(UsageError, match="hospital"):
        fit_probe(photos, trunk=str(tiny_trunk), options=FitOptions(slices=("hospital",)), around=around)


def test_a_column_tells_the_groups_apart(tiny_trunk: Path, around: Surroundings, tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "d", 40)
    lines = ["file,label,ward"]
    for i, file in enumerate(sorted(folder.rglob("*.jpg"))):
        lines.append(f"{file.relative_to(folder)},{file.parent.name},{'ab'[i % 2]}")
    (folder / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    options = FitOptions(slices=("ward",), proof="quick", target=("label",))
    model = fit_probe(folder / "labels.csv", trunk=str(tiny_trunk), options=options, around=around)
    groups = next(
        s for s in model.record.targets["label"].sections if isinstance(s, Table) and s.title == "Groups"
    )
    assert {"ward: a", "ward: b"} <= {str(row[0]) for row in groups.rows}


def test_going_on_from_a_bundle_keeps_its_sides_and_its_network(
    climbed: Model, photos: Path, tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    data = tmp_path / "more"
    shutil.copytree(photos, data)
    (data / "pink").mkdir()
    for i in range(8):
        photo((250, 160, 190), 9000 + i).save(data / "pink" / f"{i}.jpg")
    options = FitOptions(onward=climbed.path, proof="none")
    more = fit_probe(data, trunk=str(tiny_trunk), options=options, around=around)
    before, after = climbed.servable.bundle.sides(), more.servable.bundle.sides()
    assert {key: side for key, side in after.items() if key in before} == before
    assert len(after) == len(before) + 8

    # The next one on other data: what the first was tuned on is still in the network, and known.
    others = write_photos(tmp_path / "others", 8, seed=77)
    options = FitOptions(onward=more.path, proof="none")
    third = fit_probe(
        others, tmp_path / "third.topwork", trunk=str(tiny_trunk), options=options, around=around
    )
    sides = third.servable.bundle.sides()
    assert {key for key, side in before.items() if side != "test"} <= set(sides)
    assert not {key for key, side in sides.items() if side == "test"} & set(before)
    assert more.record.targets["label"].labels == ("blue", "green", "pink", "red")
    old, new = climbed.servable.bundle.graph().weights, more.servable.bundle.graph().weights
    trunk = [name for name in old if not name.startswith("heads.")]
    assert trunk
    assert all(np.array_equal(old[name], new[name]) for name in trunk)


@pytest.mark.parametrize("named", [DEFAULTS["image"], "mobilenet-v2"])
def test_another_trunk_than_the_bundle_s_is_refused(
    named: str, climbed: Model, photos: Path, around: Surroundings
) -> None:
    """The default is no exception where it is named: only a trunk that was not given gives way to the bundle's."""
    options = FitOptions(onward=climbed.path, proof="none")
    for verb in (topwork.fit, topwork.estimate):
        with pytest.raises(UsageError, match=f"{named!r} has other weights"):
            verb(photos, trunk=named, options=options, around=around)


def test_corrected_labels_are_still_there_after_the_fit_that_used_them(
    photos: Path, tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    data = tmp_path / "colours"
    shutil.copytree(photos, data)
    shutil.copy(next((photos / "red").glob("*.jpg")), data / "blue" / "zz wrong.jpg")
    out, table = tmp_path / "m.topwork", tmp_path / "m.labels.csv"
    assert fit_probe(data, out, trunk=str(tiny_trunk), around=around).labels == table
    decided = table.read_text(encoding="utf-8-sig").replace(",,red", ",keep,red")
    assert "keep" in decided
    table.write_text(decided, encoding="utf-8")
    again = fit_probe(data, out, trunk=str(tiny_trunk), options=FitOptions(labels=table), around=around)
    assert table.read_text(encoding="utf-8") == decided
    assert again.labels == tmp_path / "m.labels.2.csv"


def test_a_part_that_fails_is_told_and_costs_no_other(
    photos: Path, tiny_trunk: Path, around: Surroundings
) -> None:
    class Failing(Quiet):
        def track(self, title: str, total: int, unit: str) -> Any:
            if title == "Growing the data":
                raise ValueError("no curve today")
            return super().track(title, total, unit)

    model = fit_probe(photos, trunk=str(tiny_trunk), around=replace(around, progress=Failing()))
    assert any("growth could not be made: no curve today" in note for note in model.record.notes)
    result = model.record.targets["label"]
    assert result.growth is None
    assert {one.name for one in result.comparisons} >= {"majority", "classical baseline"}


@pytest.mark.parametrize("cost", [-1.0, float("inf"), float("nan")])
def test_a_cost_that_is_none_is_refused_at_once(cost: float, photos: Path, around: Surroundings) -> None:
    with pytest.raises(UsageError, match="expected a finite number"):
        fit_probe(photos, options=FitOptions(error_cost=cost), around=around)


def test_the_way_up_is_drawn(climbed: Model) -> None:
    chart = next(
        s for s in climbed.record.sections if isinstance(s, Chart) and s.title == "Validation over time"
    )
    assert chart.series[0].name == "probe"
    assert all(point.x >= 0 for series in chart.series for point in series.points)
