"""`fit` with ``--trunk auto``: what it chooses, on which rows, at what cost, and what it says of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import topwork
from quick import fit_probe as fit
from tiny_trunk import write_tiny_trunk
from told import Told
from topwork import FitOptions, Model, Surroundings, UsageError
from topwork.contracts import Estimate, Table, TrunkChoice
from topwork.engines.machine import limited_to, survey
from topwork.progress import Quiet
from topwork.steps.asking import look_up
from topwork.steps.assigning import assign
from topwork.steps.choosing import KEPT, choice_json, settle
from topwork.steps.reading import read_rows
from topwork.steps.transfer import Preparation, choice_for
from topwork.trunks import speeds
from toy_photos import write_followed, write_measured, write_photos

if TYPE_CHECKING:
    from torch import Tensor


def changed(folder: Path, change: Callable[[str, Tensor], Tensor]) -> Path:
    """Write the tiny trunk with its tensors changed, and return its folder."""
    from safetensors.torch import load_file, save_file

    weights = write_tiny_trunk(folder) / "model.safetensors"
    save_file({name: change(name, tensor) for name, tensor in load_file(weights).items()}, weights)
    return folder


def blind(folder: Path) -> Path:
    """Write one that gives every picture the same features."""
    return changed(folder, lambda name, tensor: tensor * 0 if name == "conv1.weight" else tensor)


def alike(folder: Path) -> Path:
    """Write one of other weights that computes the same: they differ in a count that nothing uses."""
    return changed(
        folder, lambda name, tensor: tensor + 1 if name.endswith("num_batches_tracked") else tensor
    )


@pytest.fixture(scope="module")
def trunks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One that sees nothing, which stands first, and one that sees."""
    folder = tmp_path_factory.mktemp("trunks")
    return blind(folder / "a-blind"), write_tiny_trunk(folder / "b-seeing")


@pytest.fixture(scope="module")
def word(trunks: tuple[Path, Path]) -> str:
    return "auto:" + ",".join(map(str, trunks))


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Surroundings:
    """A cache in which nothing has been read by other tests."""
    return Surroundings(cache_dir=tmp_path_factory.mktemp("cache"), progress=Quiet())


@pytest.fixture(scope="module")
def chosen(photos: Path, word: str, own_cache: Surroundings) -> Model:
    return fit(photos, trunk=word, around=own_cache)


def choice_of(model: Model) -> TrunkChoice:
    assert model.record.trunk_choice is not None
    return model.record.trunk_choice


# --- what is chosen -------------------------------------------------------------------------------------


def test_the_trunk_that_sees_is_taken_and_the_record_says_why(chosen: Model) -> None:
    choice = choice_of(chosen)
    assert chosen.record.trunk.name == choice.chosen == "b-seeing"
    assert choice.why.startswith("Trunk b-seeing: a probe on it has the lowest log loss")
    assert [one.name for one in choice.tried] == ["b-seeing", "a-blind"]
    better, worse = choice.tried
    for one in choice.tried:
        assert one.loss is not None
        assert one.loss.low < one.loss.value < one.loss.high
    assert better.loss is not None
    assert worse.loss is not None
    assert better.loss.high < worse.loss.value
    assert worse.h_score == 0
    assert (worse.score or 0) < 0.6 < (better.score or 0)
    assert (better.log_me or 0) > (worse.log_me or 0)
    assert choice.n_rows == chosen.record.split.n_train == 48
    assert chosen.record.targets["label"].test["accuracy"].value > 0.8


def test_the_report_has_the_table(chosen: Model) -> None:
    (table, *_) = [one for one in chosen.record.sections if isinstance(one, Table)]
    assert [row[0] for row in table.rows] == ["b-seeing", "a-blind"]
    assert choice_of(chosen).why in table.caption
    page = chosen.path.with_name(f"{chosen.path.stem}.report.html").read_text(encoding="utf-8")
    assert "Trunks that were tried" in page


def test_it_is_the_model_that_the_chosen_trunk_alone_would_have_made(
    chosen: Model, photos: Path, trunks: tuple[Path, Path], own_cache: Surroundings
) -> None:
    alone = fit(photos, trunk=str(trunks[1]), around=own_cache)
    first, second = chosen.servable.bundle.graph().weights, alone.servable.bundle.graph().weights
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert chosen.servable.bundle.sides() == alone.servable.bundle.sides()
    assert alone.record.trunk_choice is None
    assert alone.record.n_cached == 60


def test_the_sample_is_not_computed_twice(chosen: Model) -> None:
    assert chosen.record.n_cached == 48  # and the 12 test rows were seen for the first time


@pytest.mark.slow
def test_labels_of_test_rows_have_no_say(
    trunks: tuple[Path, Path], own_cache: Surroundings, tmp_path: Path
) -> None:
    word = f"auto:{trunks[0]},{trunks[1]}"
    write_photos(tmp_path / "a" / "train")
    write_photos(tmp_path / "a" / "test", 10, seed=9)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for old, new in (("red", "kept"), ("blue", "red"), ("kept", "blue")):
        (tmp_path / "b" / "test" / old).rename(tmp_path / "b" / "test" / new)
    first, second = (fit(tmp_path / name, trunk=word, around=own_cache) for name in "ab")
    assert choice_of(first).why == choice_of(second).why
    untimed = [
        [replace(one, seconds=0, items_per_s=None) for one in choice_of(m).tried] for m in (first, second)
    ]
    assert untimed[0] == untimed[1]
    accuracy = [m.record.targets["label"].test["accuracy"].value for m in (first, second)]
    assert accuracy[0] > accuracy[1] + 0.3  # the labels were another's indeed


def test_the_first_and_the_others_are_tried_on_the_same_rows(
    trunks: tuple[Path, Path], own_cache: Surroundings, tmp_path: Path
) -> None:
    write_photos(tmp_path / "many", 230)
    turned = write_tiny_trunk(tmp_path / "a-seeing"), blind(tmp_path / "b-blind")
    found = []
    for several in (trunks, turned):
        word = "auto:" + ",".join(map(str, several))
        choice = choice_of(
            fit(tmp_path / "many", trunk=word, around=own_cache, options=FitOptions(proof="none"))
        )
        assert choice.n_rows == 500
        found.append({one.name[2:]: (one.log_me, one.h_score, one.loss, one.score) for one in choice.tried})
    assert found[0] == found[1]
    assert found[0]["seeing"] != found[0]["blind"]


def test_numbers_are_chosen_by_their_squared_error(
    word: str, own_cache: Surroundings, tmp_path: Path
) -> None:
    prices = write_measured(tmp_path / "prices")
    model = fit(prices, trunk=word, around=own_cache, options=FitOptions(task="regression", proof="none"))
    choice = choice_of(model)
    assert (choice.chosen, choice.loss_name) == ("b-seeing", "squared error")
    assert [one.h_score for one in choice.tried] == [None, None]
    assert (choice.tried[0].log_me or 0) > (choice.tried[1].log_me or 0)


def test_times_are_left_to_the_referee(word: str, own_cache: Surroundings, tmp_path: Path) -> None:
    table = write_followed(tmp_path / "followed")
    options = FitOptions(task="survival", target=("days",), event="broke", proof="none")
    choice = choice_of(fit(table, trunk=word, around=own_cache, options=options))
    assert (choice.chosen, choice.loss_name) == ("b-seeing", "Cox loss")
    assert [(one.log_me, one.h_score) for one in choice.tried] == [(None, None)] * 2


# --- equals, time and a single one ----------------------------------------------------------------------


@pytest.mark.parametrize("faster", ["one", "other"])
def test_of_equals_the_faster_is_taken(
    faster: str, photos: Path, own_cache: Surroundings, tmp_path: Path
) -> None:
    folders = [write_tiny_trunk(tmp_path / "one"), alike(tmp_path / "other")]
    engine = choice_for(limited_to(survey(), own_cache.device), own_cache.engine)
    for folder in folders:
        speed = 90.0 if folder.name == faster else 30.0
        speeds.remember(
            own_cache.cache_dir,
            folder.name,
            engine=engine.name,
            precision=engine.precision,
            items_per_s=speed,
        )
    word = "auto:" + ",".join(map(str, folders))
    choice = choice_of(fit(photos, trunk=word, around=own_cache, options=FitOptions(proof="none")))
    assert choice.chosen == faster
    assert {one.name: one.items_per_s for one in choice.tried}[faster] == 90.0


def ticking() -> Iterator[float]:
    yield from (float(s) for s in count())


def test_a_trunk_that_there_is_no_time_for_is_said_to_be_left_out(
    photos: Path, word: str, own_cache: Surroundings
) -> None:
    ticks = ticking()
    around = replace(own_cache, clock=lambda: next(ticks))
    model = fit(photos, trunk=word, budget="2s", around=around, options=FitOptions(proof="none"))
    choice = choice_of(model)
    assert choice.chosen == model.record.trunk.name == "a-blind"
    assert "no time" in choice.why
    assert [one.note for one in choice.tried] == ["", "no time for it"]


def test_one_alone_is_taken_without_being_tried(
    photos: Path, trunks: tuple[Path, Path], own_cache: Surroundings
) -> None:
    told = Told()
    around = replace(own_cache, progress=told)
    model = fit(photos, trunk=f"auto:{trunks[1]}", around=around, options=FitOptions(proof="none"))
    choice = choice_of(model)
    assert choice.tried == ()
    assert choice.chosen == model.record.trunk.name == "b-seeing"
    assert choice.why in told.lines
    assert "no other one is here" in choice.why


def test_a_bundle_to_go_on_from_leaves_nothing_to_choose(chosen: Model, photos: Path, word: str) -> None:
    with pytest.raises(UsageError, match="none to choose"):
        fit(photos, trunk=word, options=FitOptions(onward=chosen.path))


# --- going on -------------------------------------------------------------------------------------------


def test_a_fit_that_is_gone_on_with_has_the_trunk_that_it_had(
    photos: Path, word: str, own_cache: Surroundings, tmp_path: Path
) -> None:
    options = FitOptions()
    order = look_up(photos, word, "probe", 0, None, options, own_cache)
    preparation = Preparation(order.trunk, order.modality, own_cache)
    rows = assign(order, read_rows(order, preparation))
    first = settle(order, rows, preparation, tmp_path)
    assert first.order.trunk.card.name == "b-seeing"
    assert first.choice is not None
    kept = (tmp_path / KEPT).read_text(encoding="utf-8")
    (tmp_path / KEPT).write_text(kept.replace('"chosen":"b-seeing"', '"chosen":"a-blind"'), encoding="utf-8")
    resumed = replace(order, options=replace(options, resume=True))
    again = settle(resumed, rows, preparation, tmp_path)
    assert again.order.trunk.card.name == "a-blind"
    assert again.choice == replace(first.choice, chosen="a-blind")
    (tmp_path / KEPT).write_text("{", encoding="utf-8")
    anew = settle(resumed, rows, preparation, tmp_path)
    assert anew.order.trunk.card.name == "b-seeing"


def test_a_trunk_that_is_named_is_not_chosen(
    photos: Path, trunks: tuple[Path, Path], own_cache: Surroundings
) -> None:
    order = look_up(photos, str(trunks[0]), "probe", 0, None, FitOptions(), own_cache)
    preparation = Preparation(order.trunk, order.modality, own_cache)
    rows = assign(order, read_rows(order, preparation))
    settled = settle(order, rows, preparation)
    assert settled.rows is rows
    assert settled.choice is None


# --- estimate -------------------------------------------------------------------------------------------


def test_an_estimate_holds_the_choice(photos: Path, word: str, own_cache: Surroundings) -> None:
    found = topwork.estimate(photos, trunk=word, around=own_cache)
    (choice,) = [one for one in found.forecasts if one.name == "choice of trunk"]
    assert 0 < choice.low < choice.high
    (note,) = found.notes
    assert "a-blind" in note
    assert "(b-seeing)" in note


def test_a_choice_is_plain_json(chosen: Model) -> None:
    choice = choice_of(chosen)
    endless = replace(choice.tried[0], loss=Estimate(0.5, float("-inf"), float("inf")), h_score=None)
    told = choice_json(replace(choice, tried=(endless,)))
    again = json.loads(json.dumps(told, allow_nan=False))["trunk_choice"]
    assert (again["chosen"], again["why"], again["n_rows"]) == (choice.chosen, choice.why, choice.n_rows)
    (tried,) = again["tried"]
    assert tried["loss"] == {"value": 0.5, "low": None, "high": None}
    assert (tried["name"], tried["log_me"], tried["h_score"]) == ("b-seeing", choice.tried[0].log_me, None)
    assert choice_json(None) == {}
