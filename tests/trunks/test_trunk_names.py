from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from topwork.contracts import Trunk
from topwork.errors import UsageError, WeightsError
from topwork.trunks import DEFAULTS, catalogue, resolve

CATALOGUE: Mapping[str, Trunk] = {
    trunk.card.name: trunk for trunk in (catalogue.EFFICIENTNET_LITE0, catalogue.MOBILENET_V2)
}


def test_a_name_of_the_catalogue_is_found() -> None:
    assert resolve(DEFAULTS["image"], CATALOGUE) is catalogue.EFFICIENTNET_LITE0


def test_a_folder_is_opened_by_its_path(tiny_folder: Path) -> None:
    trunk = resolve(str(tiny_folder), CATALOGUE)
    assert (trunk.card.name, trunk.card.source) == ("tiny", "local folder")


@pytest.mark.parametrize("name", ["./nowhere", "some/where", "~/nowhere", "."])
def test_what_looks_like_a_path_is_taken_for_one(name: str) -> None:
    with pytest.raises(WeightsError, match=r"no folder|holds no config"):
        resolve(name, CATALOGUE)


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("mobilenet_v2", "mobilenet-v2"),
        ("efficientnet-lite", "efficientnet-lite0"),
        ("EfficientNet-Lite0", DEFAULTS["image"]),
    ],
)
def test_a_near_miss_is_told_what_was_meant(name: str, guess: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(name, CATALOGUE)
    assert guess in caught.value.next_step


def test_a_file_is_no_trunk_and_pickles_are_never_opened(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"anything")
    with pytest.raises(WeightsError, match="is a file") as caught:
        resolve(str(tmp_path / "weights.pth"), CATALOGUE)
    assert "never opened" in caught.value.next_step


@pytest.mark.parametrize("name", ["", "qqq", "日本", "x" * 5000])
def test_a_name_that_means_nothing_lists_what_there_is(name: str) -> None:
    with pytest.raises(UsageError, match="efficientnet-lite0, mobilenet-v2") as caught:
        resolve(name, CATALOGUE)
    assert "Did you mean" not in caught.value.next_step


def test_names_and_cards_need_no_heavy_library() -> None:
    code = (
        "import sys, topwork.trunks, topwork.trunks.catalogue, topwork.engines;"
        "heavy = {'torch', 'timm', 'torchvision', 'PIL', 'onnx', 'openvino', 'huggingface_hub', 'safetensors'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
