from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tiny_trunk import INPUT_PX, N_FEATURES
from topwork.errors import WeightsError
from topwork.trunks.folder import FolderWeights
from topwork.trunks.kinds import open_config
from topwork.trunks.origin import Origin, read_object
from topwork.trunks.timm_config import TimmConfig, assemble
from topwork.trunks.timm_config import parse as parse_object

SOMEWHERE = Origin("x", "somewhere", FolderWeights(Path("w"), "0"), "0", offline=True)


def config(**inputs: Any) -> str:
    return json.dumps({"architecture": "resnet18", "pretrained_cfg": {"input_size": [3, 48, 64], **inputs}})


def parse(text: str, where: str) -> TimmConfig:
    return parse_object(read_object(text, where), where)


def test_what_timm_writes_is_understood() -> None:
    found = parse(
        config(mean=[0.1, 0.2, 0.3], std=[1, 1, 1], crop_pct=0.9, interpolation="bicubic", license="mit"), "c"
    )
    assert found.architecture.name == "resnet18"
    assert found.architecture.mean == (0.1, 0.2, 0.3)
    assert (found.preprocessing.height, found.preprocessing.width) == (48, 64)
    assert found.preprocessing.crop_fraction == 0.9
    assert found.preprocessing.interpolation == "bicubic"
    assert found.licence == "mit"


def test_what_is_left_out_is_what_timm_takes() -> None:
    found = parse(config(), "c")
    assert found.architecture.mean == (0.485, 0.456, 0.406)
    assert found.architecture.std == (0.229, 0.224, 0.225)
    assert found.preprocessing.crop_fraction == 0.875
    assert found.preprocessing.fit == "crop"


def test_the_old_style_has_its_fields_at_the_top() -> None:
    old = {"architecture": "resnet18", "input_size": [3, 32, 32], "crop_mode": "squash"}
    assert parse(json.dumps(old), "c").preprocessing.fit == "squash"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[1]", "holds a list"),
        ("{}", "architecture"),
        (json.dumps({"architecture": "resnet18"}), "input_size"),
        (json.dumps({"architecture": "resnet18", "pretrained_cfg": 3}), "does not describe"),
        (json.dumps({"architectures": ["BertModel"], "model_type": "bert"}), "there is no tokenizer.json"),
        (config(input_size=[1, 32, 32]), "input_size"),
        (config(input_size=[3, 0, 32]), "input_size"),
        (config(input_size=[3, 10**6, 32]), "input_size"),
        (config(input_size=[32, 32]), "does not describe"),
        (config(mean=[0.5, 0.5]), "does not describe"),
        (config(std=[0.5, 0, 0.5]), "std"),
        (config(std=[0.5, float("nan"), 0.5]), "std"),
        (config(interpolation="lanczos3"), "lanczos3"),
        (config(crop_mode="spiral"), "spiral"),
        (config(crop_pct="wide"), "does not describe"),
    ],
)
def test_what_is_not_understood_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(WeightsError, match=complaint) as caught:
        open_config(text, "there/config.json", lambda _: None, lambda: SOMEWHERE)
    assert "there/config.json" in caught.value.problem
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("licence", "commercial"),
    [
        ("apache-2.0", True),
        ("mit", True),
        ("bsd-3-clause-clear", True),
        ("cc-by-nc-4.0", False),
        ("CC_BY_NC_SA", False),
        ("fair-noncommercial-research-license", False),
        ("", False),
    ],
)
def test_only_a_licence_that_allows_it_is_commercial(licence: str, commercial: bool) -> None:
    card = assemble(parse(config(license=licence), "c"), SOMEWHERE).card
    assert card.commercial is commercial
    assert card.licence


def test_the_card_is_complete(tiny_folder: Path) -> None:
    text = (tiny_folder / "config.json").read_text(encoding="utf-8")
    origin = Origin("tiny", "somewhere", FolderWeights(Path("w"), "ab"), "ab", offline=False)
    card = assemble(parse(text, "c"), origin).card
    assert (card.name, card.source, card.weights_sha256, card.offline) == ("tiny", "somewhere", "ab", False)
    assert (card.n_features, card.input_size) == (N_FEATURES, (INPUT_PX, INPUT_PX))
    assert card.offers == {"pooled", "stages"}
