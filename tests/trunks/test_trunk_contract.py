"""What every trunk must keep to, found through the entry points, ours and others' alike.

The networks behind the catalogue are downloaded from the package index, so what loads one is slow.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
import torch

from told import Told
from topwork.contracts import Trunk, padded
from topwork.inputs import modalities, modality
from topwork.trunks import DEFAULTS, resolve
from topwork.trunks.folder import open_folder

TRUNKS: dict[str, Trunk] = {entry.name: entry.load() for entry in entry_points(group="topwork.trunks")}


def test_the_built_in_trunks_are_found() -> None:
    assert {
        DEFAULTS["image"],
        DEFAULTS["text"],
        "efficientnet-lite1",
        "efficientnet-lite2",
        "mobilenet-v2",
    } <= set(TRUNKS)
    assert set(DEFAULTS) == {one.name for one in modalities()}
    assert all(resolve(name, TRUNKS).card.modality == kind for kind, name in DEFAULTS.items())


@pytest.mark.parametrize("name", TRUNKS)
def test_a_card_is_complete(name: str) -> None:
    card = TRUNKS[name].card
    assert card.name == name
    assert card.modality == TRUNKS[name].preprocessing.modality
    assert card.summary
    assert card.source
    assert card.licence
    assert "://" not in card.licence
    assert card.n_parameters > 0
    assert card.n_features > 0
    assert all(side > 0 for side in card.input_size)
    assert "pooled" in card.offers
    rates = TRUNKS[name].rates
    assert 0 < rates.lowest <= rates.highest <= rates.head
    assert len(bytes.fromhex(card.weights_sha256)) == 32


def test_no_two_trunks_share_an_identity() -> None:
    assert len({trunk.identity for trunk in TRUNKS.values()}) == len(TRUNKS) >= 4


def keeps_the_contract(trunk: Trunk, cache_dir: Path, told: Told) -> None:
    module = trunk.load(trunk.fetch(cache_dir, told))
    assert not any(part.training for part in module.modules())
    assert sum(p.numel() for p in module.parameters()) == trunk.card.n_parameters
    kind = modality(trunk.card.modality)
    batch = torch.from_numpy(
        padded(kind.decode(one, trunk.preprocessing).tensor for one in kind.synthetic(2, seed=0))
    )
    with torch.inference_mode():
        features = module(batch)
        alone = module(batch[1:])
    assert features.shape == (2, trunk.card.n_features)
    assert torch.isfinite(features).all()
    torch.testing.assert_close(features[1:], alone, rtol=1e-3, atol=1e-3)
    held = [id(p) for s in trunk.stages(module) for part in s.modules for p in part.parameters()]
    assert sorted(held) == sorted(id(p) for p in module.parameters())


def test_a_folder_trunk_keeps_the_contract(tiny_folder: Path, tmp_path: Path, told: Told) -> None:
    keeps_the_contract(open_folder(tiny_folder), tmp_path, told)


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all slow tests, so that each wheel is downloaded once."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.slow
@pytest.mark.parametrize("name", TRUNKS)
def test_a_trunk_of_the_catalogue_keeps_the_contract(name: str, cache_dir: Path, told: Told) -> None:
    keeps_the_contract(TRUNKS[name], cache_dir, told)


@pytest.mark.slow
def test_mobilenet_gives_what_torchvisions_own_network_gives(cache_dir: Path, told: Told) -> None:
    from safetensors.torch import load_file

    from topwork.trunks.torchvision_guard import import_torchvision

    trunk = TRUNKS["mobilenet-v2"]
    weights = trunk.fetch(cache_dir, told)
    theirs = import_torchvision().models.mobilenet_v2(weights=None).eval()
    theirs.load_state_dict(load_file(weights))
    batch = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    planes = torch.from_numpy(((batch / 255 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32))
    with torch.inference_mode():
        expected = theirs.features(planes).mean((2, 3))
        found = trunk.load(weights)(torch.from_numpy(batch))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mean", "deviation", "largest", "where"),
    [
        ("efficientnet-lite0", 0.165482, 0.534740, 5.337553, 425),
        ("efficientnet-lite1", 0.170651, 0.502097, 5.379011, 388),
        ("efficientnet-lite2", 0.168341, 0.435126, 5.630753, 966),
    ],
)
def test_efficientnet_lite_gives_what_the_network_of_its_own_author_gives(
    name: str, mean: float, deviation: float, largest: float, where: int, cache_dir: Path, told: Told
) -> None:
    """Numbers of the PyPI package efficientnet-lite-pytorch 0.1.0; another padding or epsilon gives others."""
    trunk = TRUNKS[name]
    with torch.inference_mode():
        picture = torch.from_numpy(waves(trunk.card.input_size[0])[None])
        features = trunk.load(trunk.fetch(cache_dir, told))(picture)[0]
    assert features.argmax() == where
    found = [features.mean().item(), features.std().item(), features.max().item()]
    assert found == pytest.approx([mean, deviation, largest], rel=1e-4)


def waves(side_px: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Draw smooth colours, the same on every machine, ``uint8 [side_px, side_px, 3]``."""
    y, x = np.mgrid[0:side_px, 0:side_px] / side_px
    planes = [
        np.sin(9 * x + 4 * y * y),
        np.cos(7 * x * y + 2 * y),
        np.sin(30 * (x - 0.5) ** 2 + 20 * (y - 0.4) ** 2),
    ]
    return (127.5 + 127.5 * np.stack(planes, -1)).astype(np.uint8)
