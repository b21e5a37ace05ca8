from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub_site import COMMIT, Site, serving
from tiny_trunk import N_FEATURES
from told import Told
from topwork.errors import WeightsError
from topwork.trunks.hub import Hub, open_repository
from topwork.trunks.tensors import sha256_of


@pytest.fixture
def site(tiny_folder: Path) -> Iterator[Site]:
    with serving(Site({path.name: path.read_bytes() for path in tiny_folder.iterdir()})) as running:
        yield running


@pytest.fixture
def hub(site: Site, tmp_path: Path) -> Hub:
    return Hub(site.endpoint, tmp_path / "hub")


def test_opening_downloads_the_configuration_alone(site: Site, hub: Hub, tiny_folder: Path) -> None:
    card = open_repository("timm/tiny", "timm/tiny", hub).card
    assert (card.name, card.n_features, card.offline) == ("timm/tiny", N_FEATURES, False)
    assert card.source == f"hub:timm/tiny@{COMMIT}"
    assert card.weights_sha256 == sha256_of(tiny_folder / "model.safetensors")
    assert list((hub.cache_dir or Path()).rglob("model.safetensors")) == []


def test_weights_are_fetched_from_the_commit_of_the_configuration(
    site: Site, hub: Hub, told: Told, tmp_path: Path
) -> None:
    trunk = open_repository("timm/tiny", "timm/tiny", hub)
    site.has_moved_on = True
    weights = trunk.fetch(tmp_path, told)
    assert weights.read_bytes() == site.files["model.safetensors"]
    assert trunk.load(weights).training is False


def test_only_safetensors_and_the_configuration_are_ever_asked_for(
    site: Site, hub: Hub, told: Told, tmp_path: Path
) -> None:
    open_repository("timm/tiny", "timm/tiny", hub).fetch(tmp_path, told)
    assert {path.rpartition("/")[2] for path in site.asked} == {"config.json", "model.safetensors"}


def test_a_hub_that_states_no_hash_has_its_file_hashed(tiny_folder: Path, tmp_path: Path) -> None:
    files = {path.name: path.read_bytes() for path in tiny_folder.iterdir()}
    with serving(Site(files, states_hashes=False)) as site:
        card = open_repository("x", "timm/tiny", Hub(site.endpoint, tmp_path)).card
    assert card.weights_sha256 == sha256_of(tiny_folder / "model.safetensors")


def test_what_is_cached_needs_no_hub(tiny_folder: Path, tmp_path: Path, told: Told) -> None:
    files = {path.name: path.read_bytes() for path in tiny_folder.iterdir()}
    with serving(Site(files)) as site:
        hub = Hub(site.endpoint, tmp_path)
        first = open_repository("x", "timm/tiny", hub)
        first.fetch(tmp_path, told)
    again = open_repository("x", "timm/tiny", hub)  # the server is gone
    assert again.fetch(tmp_path, told).is_file()
    assert again.identity == first.identity


def test_a_damaged_file_in_the_hubs_cache_is_refused(
    site: Site, hub: Hub, told: Told, tmp_path: Path
) -> None:
    trunk = open_repository("x", "timm/tiny", hub)
    path = trunk.fetch(tmp_path, told).resolve()
    path.chmod(0o600)
    path.write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="is damaged"):
        trunk.fetch(tmp_path, told)


def test_a_repository_without_safetensors_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    files = {"config.json": (tiny_folder / "config.json").read_bytes(), "pytorch_model.bin": b"pickle"}
    with (
        serving(Site(files)) as site,
        pytest.raises(WeightsError, match=r"Cannot get model\.safetensors") as caught,
    ):
        open_repository("x", "timm/tiny", Hub(site.endpoint, tmp_path))
    assert "--trunk DIR" in caught.value.next_step
    assert not any(path.endswith(".bin") for path in site.asked)


def test_a_repository_that_is_not_in_timms_style_is_refused(tmp_path: Path) -> None:
    with (
        serving(Site({"config.json": b'{"architectures": ["Bert"], "auto_map": {}}'})) as site,
        pytest.raises(WeightsError, match="neither"),
    ):
        open_repository("x", "timm/tiny", Hub(site.endpoint, tmp_path))


@pytest.mark.parametrize("repository", ["timm/nothing", "not a name", "timm/tiny@nowhere"])
def test_a_repository_that_is_not_there_is_refused(hub: Hub, repository: str) -> None:
    with pytest.raises(WeightsError, match=r"Cannot get config\.json"):
        open_repository("x", repository, hub)


@pytest.mark.slow  # the library itself tries again for a while
def test_a_hub_that_does_not_answer_is_no_traceback(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="from the hub"):
        open_repository("x", "timm/tiny", Hub("http://127.0.0.1:9", tmp_path))
