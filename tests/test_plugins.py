"""Plugins enter by the door that the built-in ones use."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from topwork import plugins
from topwork.contracts import Array, Recipe, Table, Target, Task, has_classes, known_rows
from topwork.errors import PluginError, UsageError

if TYPE_CHECKING:
    from numpy.random import Generator


def entry(name: str, value: str, group: str = "topwork.tasks") -> EntryPoint:
    return EntryPoint(name=name, value=value, group=group)


def test_the_built_in_ones_are_found_by_discovery() -> None:
    found = {kind: set(plugins.discover(kind)) for kind in plugins.GROUPS}
    assert found["tasks"] >= {"classification", "multilabel", "ordinal", "regression", "survival"}
    assert found["recipes"] >= {"probe"}
    assert found["trunks"] >= {
        "efficientnet-lite0",
        "efficientnet-lite1",
        "efficientnet-lite2",
        "mobilenet-v2",
    }


def test_every_plugin_loads_and_is_called_what_its_entry_says() -> None:
    tasks, recipes, trunks = plugins.tasks(), plugins.recipes(), plugins.trunks()
    assert [name for name, one in tasks.items() if one.name != name] == []
    assert [name for name, one in recipes.items() if one.name != name] == []
    assert [name for name, one in trunks.items() if one.card.name != name] == []
    assert len(tasks) + len(recipes) + len(trunks) >= 6


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"no recipe 'probes'; installed: .*probe.*\n.*mean 'probe'"):
        plugins.recipe("probes")


def test_two_packages_may_not_bring_the_same_name() -> None:
    twice = [entry("x", "a:B"), entry("x", "c:D")]
    with pytest.raises(PluginError, match="Two packages bring task 'x'"):
        plugins.discover("tasks", twice)


def test_the_same_entry_seen_twice_is_one_plugin() -> None:
    assert list(plugins.discover("tasks", [entry("x", "a:B"), entry("x", "a:B")])) == ["x"]


def test_a_plugin_that_does_not_import_is_named() -> None:
    broken = plugins.discover("tasks", [entry("x", "no_such_module:THING")])["x"]
    with pytest.raises(PluginError, match="does not load from no_such_module:THING: ModuleNotFoundError"):
        plugins.load(broken)


def test_a_plugin_that_keeps_no_contract_is_told_what_it_lacks() -> None:
    half = plugins.discover("tasks", [entry("x", "types:SimpleNamespace")])["x"]
    with pytest.raises(PluginError, match="lacks name, needs, learn, restore, link"):
        plugins.load(half)


# --- contract suites, by discovery ----------------------------------------------------------------------


def raw_for(task: Task, letters: str) -> list[str | None]:
    """Return a label for each letter that the task can learn from: itself, a set, or a number that stands for it."""
    if task.link == "sigmoid":
        return [{"a": "x;y", "b": "z", "c": ";"}[one] for one in letters]
    if task.link == "cumulative":
        return [f"{ord(one) - 96}" for one in letters]
    if task.link == "hazard":
        return [f"{ord(one) - 96}" for one in letters]
    return [*letters] if has_classes(task.link) else [f"{ord(one) - 96}.5" for one in letters]


def better(target: Target, truth: Array, draw: Generator) -> Array:
    """Return scores that are random, and nearer to the truth than chance."""
    import numpy as np

    scores, known = draw.normal(size=(len(truth), target.n_outputs)), known_rows(truth)
    if has_classes(target.link):
        scores[np.flatnonzero(known), truth[known]] += 2
        return scores
    if target.link == "sigmoid":
        return np.asarray(scores + 3 * (truth > 0) - 1.5)
    if target.link == "cumulative":
        return np.asarray(scores + 3 * (truth[:, None] > np.arange(target.n_outputs)) - 1.5)
    if target.link == "hazard":
        return np.asarray(scores / 4 - np.nan_to_num(truth)[:, :1])
    return np.asarray(scores / 4 + np.nan_to_num(truth)[:, None])


@pytest.mark.parametrize("name", plugins.discover("tasks"))
def test_a_task_keeps_its_contract(name: str) -> None:
    import numpy as np

    task: Task = plugins.task(name)
    raw = [*raw_for(task, "ba"), None, *raw_for(task, "bc")]
    target: Target = task.learn(raw)
    again = task.restore(target.state())
    truth = again.encode(raw)
    assert again == target
    assert np.array_equal(truth, target.encode(raw), equal_nan=truth.dtype.kind == "f")
    assert known_rows(truth).tolist() == [True, True, False, True, True]
    assert target.link == task.link
    n_labels = {"identity": 0, "hazard": 0, "cumulative": target.n_outputs + 1}.get(
        target.link, target.n_outputs
    )
    assert len(target.labels) == n_labels
    assert all(target.understood)

    scores = np.random.default_rng(0).normal(size=(5, target.n_outputs))
    assert target.spell(truth[0]) == target.spell(truth[3]) != target.spell(truth[1])
    assert all(target.about_mistakes)
    assert np.isnan(target.errors(truth, scores)).tolist() == (~known_rows(truth)).tolist()
    said = target.said(scores)
    assert said.shape == truth.shape
    assert known_rows(said).all()
    assert np.allclose(target.joint(again).adopt(again, scores), scores)
    bounded = target.calibrated(np.concatenate([truth] * 10), np.tile(scores, (10, 1)))
    assert task.restore(bounded.state()) == bounded
    assert set(bounded.answer(scores[0])) == set(bounded.answer_schema()["properties"])  # type: ignore[arg-type]
    assert target.compare(truth, scores, scores, 0).keys() <= bounded.evaluate(truth, scores, 0).keys()
    metrics = target.evaluate(truth, scores, 0)
    assert target.main_metric in metrics
    assert all(m.low <= m.value <= m.high for m in metrics.values())
    assert all(target.main_metric in m for m in target.baselines(truth, truth, 0).values())
    assert set(target.answer(scores[0])) == set(target.answer_schema()["properties"])  # type: ignore[arg-type]
    assert target.sections(truth, scores, 0)
    assert all(0 <= one.row < 5 for one in target.mistakes(truth, scores, 3))


@pytest.mark.parametrize("name", plugins.discover("tasks"))
def test_a_task_compares_models_row_by_row(name: str) -> None:
    """Each metric of one less that of the other, and nothing where the two are one."""
    import numpy as np

    raw = [*raw_for(plugins.task(name), "abcabcabcabc"), None]
    target: Target = plugins.task(name).learn(raw)
    truth, draw = target.encode(raw), np.random.default_rng(0)
    ours, theirs = better(target, truth, draw), draw.normal(size=(13, target.n_outputs))
    difference = target.compare(truth, ours, theirs, 0)
    found, others = target.evaluate(truth, ours, 0), target.evaluate(truth, theirs, 0)
    assert set(difference) == set(found)
    assert {metric: one.value for metric, one in difference.items()} == pytest.approx(
        {metric: found[metric].value - others[metric].value for metric in found}
    )
    assert all(one.low <= one.value <= one.high for one in difference.values())
    turned = target.compare(truth, theirs, ours, 0)
    assert all(turned[metric].value == pytest.approx(-one.value) for metric, one in difference.items())
    same = target.compare(truth, ours, ours, 0)
    assert all(one.value == 0 and one.low <= 0 <= one.high for one in same.values())
    reordered = target.compare(truth[::-1], ours[::-1], theirs[::-1], 0)
    assert reordered[target.main_metric] == difference[target.main_metric]
    hidden = ~known_rows(truth)
    ours[hidden], theirs[hidden] = 9.0, -9.0
    assert target.compare(truth, ours, theirs, 0) == difference


@pytest.mark.parametrize("name", plugins.discover("tasks"))
def test_a_task_s_tables_of_differences_name_the_rival(name: str) -> None:
    import numpy as np

    raw = [*raw_for(plugins.task(name), "abcabcabc"), None]
    target: Target = plugins.task(name).learn(raw)
    truth, draw = target.encode(raw), np.random.default_rng(0)
    ours, theirs = (draw.normal(size=(10, target.n_outputs)) for _ in range(2))
    found = {rival: target.differences(truth, ours, theirs, rival) for rival in ("the one", "the other")}
    for rival, sections in found.items():
        assert all(rival in f"{section.title} {section.caption}" for section in sections)
        tables = [section for section in sections if isinstance(section, Table)]
        assert all(len(row) == len(one.columns) for one in tables for row in one.rows)
        assert len({section.title for section in sections}) == len(sections)
    for others in (
        (theirs, ours),
        (ours, ours),
    ):  # whose they are decides what they say, and not how they are named
        again = target.differences(truth, *others, "the one")
        assert [section.title for section in again] == [section.title for section in found["the one"]]
        assert again == () or again != found["the one"]
    unlabelled = target.differences(target.encode([None] * 10), ours, theirs, "the one")
    assert all("nan" not in str(row) for one in unlabelled if isinstance(one, Table) for row in one.rows)


@pytest.mark.parametrize("name", plugins.discover("recipes"))
def test_a_recipe_keeps_its_contract(name: str) -> None:
    """Three colours, which any network can tell apart; a recipe may train it or leave it as it is."""
    import time

    import numpy as np

    from tiny_material import SIDE, TinyMaterial, features_of
    from topwork.contracts import Budget, FitJob, Fold, Goal
    from topwork.progress import Quiet

    recipe: Recipe = plugins.recipe(name)
    assert recipe.requires
    truth, rows = np.arange(60) % 3, np.arange(60)
    colours = 60 + 120 * np.eye(3)[truth] + np.random.default_rng(0).normal(0, 15, (60, 3))
    pictures = np.tile(colours[:, None, None].astype(np.uint8), (1, SIDE, SIDE, 1))
    truth[5] = -1
    folds = tuple(Fold(rows[rows % 4 != j], rows[rows % 4 == j]) for j in range(4))
    material = TinyMaterial(pictures)
    features = features_of(material)
    job = FitJob(
        features,
        {"a": Goal(truth, "softmax", 3)},
        folds,
        0,
        Budget(time.perf_counter),
        Quiet(),
        material,
        n_steps=80,
    )
    before = features.copy()
    fitted = recipe(job)
    head = fitted.heads["a"]
    assert head.weight.shape[0] == 3
    assert (*head.hidden, head)[0].weight.shape[1] == features.shape[1]
    assert head.bias.shape == (3,)
    assert fitted.held_out["a"].shape == (60, 3)
    after = features_of(material, fitted.weights)
    known = truth >= 0
    assert np.mean(head.scores(after).argmax(1)[known] == truth[known]) > 0.6
    held_out = known & ~np.isnan(fitted.held_out["a"][:, 0])
    assert held_out.sum() >= len(folds[0].valid) - 1
    assert np.mean(fitted.held_out["a"].argmax(1)[held_out] == truth[held_out]) > 0.6
    assert np.array_equal(features, before)
    again = recipe(job)
    assert np.array_equal(again.heads["a"].weight, head.weight)


@pytest.mark.parametrize("name", ["probe", "ladder", "scratch", "full", "gradual", "head", "lora"])
def test_a_built_in_recipe_fits_numbers(name: str) -> None:
    """How red a picture is; half of the mean's error is gone on rows that were held out."""
    import time

    import numpy as np

    from tiny_material import TinyMaterial, features_of, reds
    from topwork.contracts import Budget, FitJob, Fold, Goal
    from topwork.progress import Quiet

    rows = np.arange(60)
    pictures, red = reds(60, np.random.default_rng(0))
    truth = np.where(rows == 5, np.nan, red)
    folds = tuple(Fold(rows[rows % 4 != j], rows[rows % 4 == j]) for j in range(4))
    material = TinyMaterial(pictures)
    goals, budget = {"a": Goal(truth, "identity", 1)}, Budget(time.perf_counter)
    job = FitJob(features_of(material), goals, folds, 0, budget, Quiet(), material, n_steps=80)
    fitted = plugins.recipe(name)(job)
    head, known = fitted.heads["a"], known_rows(truth)
    assert head.weight.shape[0] == 1
    said = head.scores(features_of(material, fitted.weights))[:, 0]
    assert np.mean((said - truth)[known] ** 2) < 0.5 * np.var(truth[known])
    held_out = known & ~np.isnan(fitted.held_out["a"][:, 0])
    assert held_out.sum() >= len(folds[0].valid) - 1
    assert np.mean((fitted.held_out["a"][:, 0] - truth)[held_out] ** 2) < 0.5 * np.var(truth[held_out])
    assert {rung.loss_name for rung in fitted.rungs} <= {"squared error"}


def write_spare(folder: Path) -> None:
    """Write a package that brings a task, with the metadata that pip would write."""
    (folder / "spare_task.py").write_text(
        "from topwork.tasks.classification import ClassificationTask\nT = ClassificationTask(name='spare')\n"
    )
    info = folder / "spare-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: spare\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[topwork.tasks]\nspare = spare_task:T\n")


def test_a_plugin_of_another_package_is_found(tmp_path: Path) -> None:
    write_spare(tmp_path)
    sys.path.insert(0, str(tmp_path))
    try:
        found = plugins.discover("tasks")["spare"]
        assert (found.package, found.version) == ("spare", "1.2")
        assert plugins.task("spare").name == "spare"
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("spare_task", ModuleType("none"))


def test_what_is_installed_is_read_once_and_again_for_a_name_that_is_not_there(tmp_path: Path) -> None:
    sys.path.insert(0, str(tmp_path))
    try:
        before = plugins.discover("tasks")
        write_spare(tmp_path)
        assert plugins.discover("tasks") is before
        assert "spare" not in before
        assert plugins.task("spare").name == "spare"
        assert "spare" in plugins.discover("tasks")
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("spare_task", ModuleType("none"))
