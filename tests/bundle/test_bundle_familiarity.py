"""What a bundle says beside its answers: in the domain or not, better asked or not; or nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiny_bundle import (
    LABELS,
    NumpyEngine,
    TinyModality,
    TinyTarget,
    restore_tiny,
    tiny_contents,
    tiny_graph,
)
from topwork.bundle import BundleModel, open_bundle, save
from topwork.contracts import Array, Fold
from topwork.errors import BundleError
from topwork.training.domain import LEVEL, learn
from topwork.training.profile import to_statistics


def statistics(heads: tuple[str, ...] = ("label",)) -> dict[str, Array]:
    """Return what a fit on 300 synthetic pictures would keep."""
    engine, modality = NumpyEngine(tiny_graph(heads).weights), TinyModality()
    batch = np.stack([np.frombuffer(one, np.uint8) for one in modality.synthetic(300, seed=5)])
    outputs = engine.run(batch)
    every = np.arange(300)
    parts = [Fold(every[every % 5 != i], every[every % 5 == i]) for i in range(5)]
    domain = learn(outputs["features"], None, parts)
    assert domain is not None
    found = domain.to_statistics()
    for head in heads:
        answers = [TinyTarget().answer(one) for one in outputs[f"scores.{head}"]]
        found |= {f"{head}.{name}": one for name, one in to_statistics(answers, LABELS).items()}
    return found


def model(folder: Path, kept: dict[str, Array], heads: tuple[str, ...] = ("label",)) -> BundleModel:
    path = folder / "oaks.topwork"
    save(path, replace(tiny_contents(heads), statistics=kept))
    bundle = open_bundle(path, restore_tiny)
    return BundleModel(bundle, TinyModality(), NumpyEngine(bundle.graph().weights))


LIKE = TinyModality().synthetic(200, seed=6)
STRANGE = tuple(bytes(colour * 16) for colour in ([255, 0, 0], [0, 0, 255], [255, 255, 0]))


def values(one: BundleModel, inputs: tuple[bytes, ...]) -> list[Any]:
    return [answer.value for answer in one.submit(inputs)]


def test_like_inputs_are_in_the_domain_and_strange_ones_are_not(tmp_path: Path) -> None:
    one = model(tmp_path, statistics())
    told = [value["in_domain"] for value in values(one, LIKE)]
    assert 0.85 < np.mean(told) < 1
    assert [value["in_domain"] for value in values(one, STRANGE)] == [False] * 3
    schema: Any = one.answer_schema
    assert schema["properties"]["in_domain"]["type"] == "boolean"
    assert "in_domain" in schema["required"]


def test_a_bundle_that_knows_nothing_says_nothing(tmp_path: Path) -> None:
    one = model(tmp_path, {"mean": np.zeros(3)})
    (answer,) = one.submit(LIKE[:1])
    assert answer.value is not None
    assert set(answer.value) == {"label", "scores"}
    assert answer.traits == ()
    assert one.reference is None
    assert one.answer_schema == TinyTarget().answer_schema()


def test_traits_are_as_many_as_the_reference_has(tmp_path: Path) -> None:
    one = model(tmp_path, statistics())
    assert one.reference is not None
    assert one.reference.out_of_domain == LEVEL
    assert one.reference.profiles[""].n == 300
    assert sum(one.reference.profiles[""].counts["label"].values()) == 300
    (answer,) = one.submit(LIKE[:1])
    assert len(answer.traits) == len(one.reference.traits)
    (far,) = one.submit(STRANGE[:1])
    assert far.traits[-1] > answer.traits[-1]


def test_several_targets_share_one_domain(tmp_path: Path) -> None:
    heads = ("kind", "age")
    one = model(tmp_path, statistics(heads), heads)
    (value,) = values(one, STRANGE[:1])
    assert set(value) == {"kind", "age", "in_domain"}
    assert value["in_domain"] is False
    assert one.reference is not None
    assert set(one.reference.profiles) == {"kind", "age"}
    schema: Any = one.answer_schema
    assert schema["required"] == ["kind", "age", "in_domain"]


def test_a_target_that_is_called_like_the_word_keeps_its_name(tmp_path: Path) -> None:
    heads = ("in_domain", "features")
    one = model(tmp_path, statistics(heads), heads)
    (value,) = values(one, LIKE[:1])
    assert set(value) == set(heads)
    assert set(value["in_domain"]) == {"label", "scores"}


@pytest.mark.parametrize(
    ("answer_from", "expected"), [(0.0, {False}), (np.inf, {True}), (0.6, {True, False})]
)
def test_it_abstains_below_the_threshold(tmp_path: Path, answer_from: float, expected: set[bool]) -> None:
    one = model(tmp_path, {"label.answer_from": np.array(answer_from)})
    found = values(one, LIKE[:60])
    assert {value["abstains"] for value in found} == expected
    for value in found:
        odds = np.exp(np.array(value["scores"]) - max(value["scores"]))
        assert value["abstains"] == (1 / odds.sum() < answer_from)
    schema: Any = one.answer_schema
    assert schema["properties"]["abstains"]["type"] == "boolean"


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("mean", np.zeros(3, np.float32)),
        ("axes", np.zeros(5, np.float32)),
        ("parts", np.array([np.nan, 1], np.float32)),
        ("centres", np.zeros((2, 1), np.float32)),
    ],
)
def test_statistics_that_were_edited_are_refused(tmp_path: Path, name: str, wrong: Array) -> None:
    kept = {**statistics(), f"features.domain.{name}": wrong}
    with pytest.raises(BundleError, match=r"oaks\.topwork.*statistics of the training features"):
        model(tmp_path, kept)
