from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tiny_trunk import INPUT_PX, N_FEATURES, write_tiny_trunk
from told import Told
from topwork.contracts import Trunk
from topwork.errors import UsageError, WeightsError
from topwork.trunks.folder import open_folder


@pytest.fixture
def copied(tiny_folder: Path, tmp_path: Path) -> Path:
    """A folder trunk that a test may change."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "copied"))


def pixels(n: int = 3) -> torch.Tensor:
    drawn = np.random.default_rng(0).integers(0, 256, (n, INPUT_PX, INPUT_PX, 3), dtype=np.uint8)
    return torch.from_numpy(drawn)


def test_a_folder_becomes_a_trunk(tiny_folder: Path, tmp_path: Path, told: Told) -> None:
    trunk: Trunk = open_folder(tiny_folder)
    weights = trunk.fetch(tmp_path, told)
    assert weights == tiny_folder.resolve() / "model.safetensors"
    assert list(tmp_path.iterdir()) == []
    module = trunk.load(weights)
    with torch.inference_mode():
        features = module(pixels())
    assert features.shape == (3, N_FEATURES)
    assert features.dtype == torch.float32
    assert features.std() > 0.01
    assert trunk.card.offline
    assert trunk.card.n_parameters == sum(p.numel() for p in module.parameters())


def test_names_in_the_state_dict_are_those_of_the_trunk(tiny_folder: Path) -> None:
    trunk = open_folder(tiny_folder)
    names = set(trunk.load(tiny_folder / "model.safetensors").state_dict())
    assert all(name.startswith("trunk.") for name in names)
    assert "trunk.conv1.weight" in names


def test_the_tiny_trunk_is_tiny_and_seeded(tiny_folder: Path, tmp_path: Path) -> None:
    weights = (tiny_folder / "model.safetensors").read_bytes()
    assert len(weights) < 160_000
    assert (write_tiny_trunk(tmp_path / "same") / "model.safetensors").read_bytes() == weights
    assert (write_tiny_trunk(tmp_path / "other", seed=1) / "model.safetensors").read_bytes() != weights


def test_identity_changes_with_weights_and_with_normalisation(copied: Path, tmp_path: Path) -> None:
    first = open_folder(copied).identity
    assert open_folder(copied).identity == first
    config = json.loads((copied / "config.json").read_text(encoding="utf-8"))
    config["pretrained_cfg"]["mean"] = [0.4, 0.5, 0.5]
    (copied / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert open_folder(copied).identity != first
    assert open_folder(write_tiny_trunk(tmp_path / "other", seed=1)).identity != first


def test_a_trunk_cuts_only_what_it_loaded(tiny_folder: Path) -> None:
    trunk = open_folder(tiny_folder)
    assert trunk.stages(trunk.load(tiny_folder / "model.safetensors"))[0].name == "conv1"
    with pytest.raises(UsageError, match="Linear"):
        trunk.stages(torch.nn.Linear(1, 1))


def test_weights_that_changed_after_opening_are_refused(copied: Path, tmp_path: Path, told: Told) -> None:
    trunk = open_folder(copied)
    with (copied / "model.safetensors").open("r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"\x55")
    with pytest.raises(WeightsError, match="has changed"):
        trunk.fetch(tmp_path, told)


def test_weights_that_went_away_are_missed(copied: Path, tmp_path: Path, told: Told) -> None:
    trunk = open_folder(copied)
    (copied / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="gone"):
        trunk.fetch(tmp_path, told)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pth", "weights.PKL", "model.ckpt", "net.pt"])
def test_a_pickle_is_not_opened_and_how_to_convert_it_is_told(copied: Path, name: str) -> None:
    (copied / "model.safetensors").unlink()
    # Unpickled, this would write a file; it must stay closed.
    (copied / name).write_bytes(b"cos\nsystem\n(S'touch " + bytes(copied / "ran") + b"'\ntR.")
    with pytest.raises(WeightsError, match="pickle") as caught:
        open_folder(copied)
    assert name in caught.value.problem
    assert "save_file" in caught.value.next_step
    assert not (copied / "ran").exists()


def test_code_in_the_folder_is_never_run(copied: Path) -> None:
    (copied / "modeling.py").write_text("raise SystemExit('ran')", encoding="utf-8")
    (copied / "__init__.py").write_text("raise SystemExit('ran')", encoding="utf-8")
    trunk = open_folder(copied)
    trunk.load(copied / "model.safetensors")


def test_a_folder_without_weights_or_configuration_says_what_is_missing(copied: Path) -> None:
    (copied / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"holds no model\.safetensors"):
        open_folder(copied)
    (copied / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"holds no config\.json"):
        open_folder(copied)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"There is no folder .*nowhere"):
        open_folder(tmp_path / "nowhere")


def test_a_configuration_that_is_no_text_is_refused(copied: Path) -> None:
    (copied / "config.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WeightsError, match="UTF-8"):
        open_folder(copied)


def test_weights_of_another_architecture_are_refused(copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text(encoding="utf-8"))
    config["model_args"]["channels"] = [8, 8, 16, 40]
    (copied / "config.json").write_text(json.dumps(config), encoding="utf-8")
    trunk = open_folder(copied)
    with pytest.raises(WeightsError, match="another shape"):
        trunk.load(copied / "model.safetensors")
