"""A bundle's network as one ONNX file: whole, standard, and telling what it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from tiny_bundle import LABELS, restore_tiny, tiny_contents
from topwork.bundle import Bundle, open_bundle, save
from topwork.bundle.interchange import PREFIX, opset_of, to_onnx


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    save(tmp_path / "trees.topwork", tiny_contents(("label", "other")))
    return open_bundle(tmp_path / "trees.topwork", restore_tiny)


def facts(model: bytes) -> dict[str, str]:
    proto = onnx.load_from_string(model)
    return {one.key.removeprefix(PREFIX): one.value for one in proto.metadata_props}


def test_the_weights_are_inside_and_the_batch_is_open(bundle: Bundle) -> None:
    model = to_onnx(bundle)
    onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    session = onnxruntime.InferenceSession(model)
    assert [one.name for one in session.get_outputs()] == ["features", "scores.label", "scores.other"]
    for n in (1, 4):
        batch = np.stack([one.tensor for one in bundle.goldens()[:n]])
        found = session.run(["scores.label"], {"input": batch})[0]
        expected = np.stack([one.outputs["scores.label"] for one in bundle.goldens()[:n]])
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert opset_of(model) == 17


def test_it_tells_what_goes_in_and_what_comes_out(bundle: Bundle) -> None:
    told = facts(to_onnx(bundle))
    assert told["bundle"] == bundle.identity
    assert (told["name"], told["modality"], told["trunk"]) == ("trees", "grid", "tiny")
    assert json.loads(told["preprocessing"]) == {"offset": 0}
    targets = json.loads(told["targets"])
    assert list(targets) == ["label", "other"]
    assert targets["label"]["labels"] == list(LABELS)
    assert targets["label"]["output"] == "scores.label"
    assert "softmax" in targets["label"]["means"]


def test_the_same_bundle_gives_the_same_bytes(bundle: Bundle) -> None:
    assert to_onnx(bundle) == to_onnx(replace(bundle))


def test_some_targets_alone(bundle: Bundle) -> None:
    model = to_onnx(bundle.only(["other"]))
    assert list(json.loads(facts(model)["targets"])) == ["other"]
    assert [one.name for one in onnx.load_from_string(model).graph.output] == ["features", "scores.other"]
    names = {one.name for one in onnx.load_from_string(model).graph.initializer}
    assert not any("heads.label" in name for name in names)
