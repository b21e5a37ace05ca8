"""Weights in several files, as transformers writes those of large networks."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch

from hub_site import Site, serving
from tiny_writers import cut_in_shards, tiny_writer, write_tiny_writer
from told import Told
from topwork.errors import WeightsError
from topwork.trunks import resolve_writer
from topwork.trunks.causal_config import open_writer
from topwork.trunks.hub import Hub, repository_as
from topwork.trunks.shards import INDEX, seal_of, shards_in


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return cut_in_shards(write_tiny_writer(tmp_path / "large"))


def equal(network: torch.nn.Module, other: torch.nn.Module) -> bool:
    found = other.state_dict()
    return all(torch.equal(value, found[name]) for name, value in network.state_dict().items())


def test_a_folder_of_shards_is_the_same_network_as_one_file(folder: Path, tmp_path: Path, told: Told) -> None:
    model = resolve_writer(str(folder), {})
    loaded = model.load(model.fetch(tmp_path, told))
    single = resolve_writer(str(write_tiny_writer(tmp_path / "single")), {})
    assert equal(loaded, single.load(single.fetch(tmp_path, told)))
    assert model.card.weights_sha256 != single.card.weights_sha256


def test_the_hash_stands_for_every_shard(folder: Path, tmp_path: Path, told: Told) -> None:
    model = resolve_writer(str(folder), {})
    last = sorted(folder.glob("model-*.safetensors"))[-1]
    content = bytearray(last.read_bytes())
    content[-1] ^= 1
    last.write_bytes(content)
    assert resolve_writer(str(folder), {}).card.weights_sha256 != model.card.weights_sha256
    with pytest.raises(WeightsError, match="has changed"):
        model.fetch(tmp_path, told)


def test_a_shard_that_is_missing_is_named(folder: Path) -> None:
    sorted(folder.glob("model-*.safetensors"))[0].unlink()
    with pytest.raises(WeightsError, match=r"model-00001-of-00002.*, which is not in"):
        resolve_writer(str(folder), {})


def test_one_file_goes_before_an_index(folder: Path, tmp_path: Path) -> None:
    single = write_tiny_writer(tmp_path / "single")
    (folder / "model.safetensors").write_bytes((single / "model.safetensors").read_bytes())
    both, one = (resolve_writer(str(path), {}).card.weights_sha256 for path in (folder, single))
    assert both == one


@pytest.mark.parametrize(
    ("index", "what"),
    [
        ("[]", "holds a list"),
        ("{}", "tells of no files"),
        ('{"weight_map": {}}', "tells of no files"),
        ('{"weight_map": {"a": "../secret.safetensors"}}', "tells of the file '../secret"),
        ('{"weight_map": {"a": "pickle.bin"}}', "tells of the file 'pickle.bin'"),
        ('{"weight_map": {"a": null}}', "tells of the file 'None'"),
    ],
)
def test_an_index_that_is_none_is_refused(index: str, what: str) -> None:
    with pytest.raises(WeightsError, match=what):
        shards_in(index, "index")


def test_a_single_shard_has_its_own_hash() -> None:
    assert seal_of({"model.safetensors": "aa"}) == "aa"
    assert seal_of({"a": "1", "b": "2"}) == seal_of({"b": "2", "a": "1"})
    assert seal_of({"a": "1", "b": "2"}) != seal_of({"a": "2", "b": "1"})


def test_a_repository_of_shards_is_fetched_whole(folder: Path, tmp_path: Path, told: Told) -> None:
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    with serving(Site(files)) as site:
        hub = Hub(site.endpoint, tmp_path / "cache")
        model = repository_as("hf/timm/tiny", "timm/tiny", hub, open_writer)
        assert not any(path.endswith("00001-of-00002.safetensors") for path in site.downloaded)
        weights = model.fetch(tmp_path, told)
    assert weights.name == INDEX
    assert equal(model.load(weights), tiny_writer(dict(model.config)))
    hashes = {
        name: hashlib.sha256(files[name]).hexdigest()
        for name in set(json.loads(files[INDEX])["weight_map"].values())
    }
    assert model.card.weights_sha256 == seal_of(hashes)


def test_a_repository_with_neither_names_the_file_that_is_missing(folder: Path, tmp_path: Path) -> None:
    files = {name: (folder / name).read_bytes() for name in ("config.json", "tokenizer.json")}
    with serving(Site(files)) as site, pytest.raises(WeightsError, match=r"Cannot get model\.safetensors of"):
        repository_as("x", "timm/tiny", Hub(site.endpoint, tmp_path / "cache"), open_writer)
