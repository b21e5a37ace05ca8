"""A recipe that wants pictures of another size gets them, where the network takes such."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import topwork
from told import Told
from topwork import FitOptions, Model, Surroundings, load
from topwork.errors import UsageError
from topwork.inputs.image_preprocessing import ImagePreprocessing
from topwork.steps.onward import trunk_of
from topwork.trunks import resolve
from topwork.trunks.timm_trunk import TimmTrunk

STEPS = FitOptions(steps=2, proof="none", recipe_settings={"resize": "rule"})


@pytest.fixture(scope="module")
def sized(
    photos: Path, tiny_trunk: Path, around: Surroundings, tmp_path_factory: pytest.TempPathFactory
) -> Model:
    """Big Transfer's rule on photos of fewer than 96 × 96 pixels."""
    out = tmp_path_factory.mktemp("sized") / "colours.topwork"
    trunk = str(tiny_trunk)
    return topwork.fit(
        photos, out, trunk=trunk, recipe="hyperrule", budget=None, options=STEPS, around=around
    )


def test_small_photos_are_brought_to_the_size_of_the_rule(sized: Model, photos: Path) -> None:
    preprocessing = sized.servable.preprocessing
    assert isinstance(preprocessing, ImagePreprocessing)
    assert (preprocessing.height, preprocessing.width, preprocessing.fit) == (128, 128, "squash")
    assert sized.record.trunk.input_size == (128, 128)
    assert any(
        note.startswith("Pictures are 128 × 128, as the rule crops them") for note in sized.record.notes
    )
    some = sorted(photos.rglob("*.jpg"))[:5]
    again = load(sized.path)
    assert [one.answer for one in again.predict(some)] == [one.answer for one in sized.predict(some)]


def test_the_size_of_the_network_is_kept_unless_the_rule_s_is_asked_for(
    photos: Path, tiny_trunk: Path, around: Surroundings
) -> None:
    own = replace(STEPS, recipe_settings={})
    trunk = str(tiny_trunk)
    model = topwork.fit(photos, trunk=trunk, recipe="hyperrule", budget=None, options=own, around=around)
    assert model.record.trunk.input_size == (32, 32)
    assert any(note.startswith("Pictures stay at the network's own 32 × 32") for note in model.record.notes)


def test_a_fit_that_goes_on_keeps_the_size(
    sized: Model, photos: Path, tiny_trunk: Path, around: Surroundings
) -> None:
    assert trunk_of(sized.path, str(tiny_trunk)).card.input_size == (128, 128)
    onward = replace(STEPS, onward=sized.path, recipe_settings={})
    trunk = str(tiny_trunk)
    again = topwork.fit(photos, trunk=trunk, recipe="probe", budget=None, options=onward, around=around)
    assert again.record.trunk.input_size == (128, 128)


def test_a_network_of_one_size_refuses_another(tiny_trunk: Path) -> None:
    trunk = resolve(str(tiny_trunk), {})
    assert isinstance(trunk, TimmTrunk)
    fixed = replace(
        trunk, architecture=replace(trunk.architecture, name="vit_tiny_patch16_224", arguments={})
    )
    assert fixed.of_side(32) is fixed
    with pytest.raises(UsageError, match="takes pictures of 32 × 32 pixels only, not of 128 × 128"):
        fixed.of_side(128)


def test_where_the_network_takes_no_other_size_the_fit_says_that_it_stays(
    photos: Path, around: Surroundings, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    from topwork.trunks.torchvision_guard import import_timm

    settings = {"img_size": 32, "patch_size": 16, "embed_dim": 32, "depth": 3, "num_heads": 2}
    network = import_timm().create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0, **settings)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    pretrained = {"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 1.0}
    config = {
        "architecture": "vit_tiny_patch16_224",
        "num_features": 32,
        "model_args": settings,
        "pretrained_cfg": {**pretrained, "interpolation": "bilinear", "license": "apache-2.0"},
    }
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    told = Told()
    model = topwork.fit(
        photos,
        trunk=str(tmp_path),
        recipe="hyperrule",
        budget=None,
        options=STEPS,
        around=replace(around, progress=told),
    )
    assert any("pixels only, not of 128 × 128. They stay at that size." in line for line in told.lines)
    assert model.record.trunk.input_size == (32, 32)
