"""A bundle without its base: what it holds, what it takes from the trunk, and what it refuses."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiny_bundle import N_BYTES, NumpyEngine, TinyModality, restore_tiny, tiny_card, tiny_contents, tiny_graph
from topwork.bundle import BundleModel, Contents, make_goldens, open_bundle, save
from topwork.bundle.base import Omission, find_trunk
from topwork.bundle.manifest import ADAPTER, decode_manifest, encode_manifest
from topwork.contracts import Array, Graph, LowRank, Preprocessing, Progress, Rates, Stage, Trunk, TrunkCard
from topwork.errors import BundleError, UsageError, WeightsError

PRODUCT = LowRank(
    np.random.default_rng(5).normal(0, 0.3, (8, 2)).astype(np.float32),
    np.random.default_rng(6).normal(0, 0.3, (2, N_BYTES)).astype(np.float32),
)


@dataclass(frozen=True)
class TensorTrunk:
    """A trunk that is nothing but its tensors."""

    tensors: Mapping[str, Array]
    card: TrunkCard

    @property
    def preprocessing(self) -> Preprocessing:
        raise NotImplementedError

    @property
    def identity(self) -> str:
        return "tensors"

    @property
    def rates(self) -> Rates:
        return Rates(1e-4, 1e-3, 3e-3)

    def fetch(self, cache_dir: Path, progress: Progress) -> Path:
        return Path()

    def graph(self, weights: Path) -> Graph | None:
        return Graph(b"", self.tensors, ("features",))

    def load(self, weights: Path) -> Any:
        raise NotImplementedError

    def stages(self, module: Any) -> tuple[Stage, ...]:
        return ()


def trunk(seed: int = 0) -> Trunk:
    tensors = {k: v for k, v in tiny_graph(seed=seed).weights.items() if k.startswith("trunk.")}
    return TensorTrunk(tensors, tiny_card())


def adapted() -> Contents:
    """Return what a recipe with adapters leaves: a trunk with a product added, and a head."""
    whole, base = tiny_contents(), trunk()
    tensors = base.graph(Path()).weights  # type: ignore[union-attr]
    weights = {**whole.graph.weights, "trunk.weight": PRODUCT.added_to(tensors["trunk.weight"])}
    inputs = [(f"{i}.grid", encoded) for i, encoded in enumerate(TinyModality().synthetic(4, seed=1))]
    goldens = make_goldens(inputs, TinyModality(), whole.preprocessing, NumpyEngine(weights))
    omitted = Omission(base, tensors, {"trunk.weight": PRODUCT})
    return replace(whole, graph=replace(whole.graph, weights=weights), goldens=goldens, omitted=omitted)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    save(tmp_path / "small.topwork", adapted())
    return tmp_path / "small.topwork"


def parts(path: Path) -> dict[str, int]:
    with zipfile.ZipFile(path) as archive:
        return {one.filename: one.file_size for one in archive.infolist()}


def test_it_holds_the_head_and_the_product_alone_and_comes_out_whole(small: Path) -> None:
    contents = adapted()
    bundle = open_bundle(small, restore_tiny, lambda _name, _folder: trunk())
    found = bundle.graph().weights
    assert set(found) == set(contents.graph.weights)
    for name, value in contents.graph.weights.items():
        assert np.array_equal(found[name], value), name
    save(small.with_name("whole.topwork"), replace(contents, omitted=None))
    whole = parts(small.with_name("whole.topwork"))
    assert set(parts(small)) - set(whole) == {ADAPTER}
    assert parts(small)["weights.safetensors"] < whole["weights.safetensors"] / 4
    model = BundleModel(bundle, TinyModality(), NumpyEngine(found))
    model.prove()


def test_the_base_is_named_and_hashed(small: Path) -> None:
    manifest = json.loads(zipfile.ZipFile(small).read("manifest.json"))
    assert manifest["format"] == 2
    assert (manifest["base"]["name"], manifest["base"]["weights_sha256"]) == ("tiny", "0" * 64)
    assert len(manifest["base"]["tensors_sha256"]) == 64
    save(small.with_name("whole.topwork"), replace(adapted(), omitted=None))
    plain = json.loads(zipfile.ZipFile(small.with_name("whole.topwork")).read("manifest.json"))
    assert plain["format"] == 1
    assert "base" not in plain


def test_a_format_and_a_base_that_do_not_go_together_are_refused(small: Path) -> None:
    manifest = open_bundle(small, restore_tiny).manifest
    for wrong in (replace(manifest, format=1), replace(manifest, base=None)):
        with pytest.raises(BundleError, match="bundles of format 2 have one"):
            decode_manifest(encode_manifest(wrong))


def test_another_base_is_refused_with_both_hashes(small: Path) -> None:
    def renamed(name: str, folder: Path) -> Trunk:
        return TensorTrunk({}, replace(tiny_card(), weights_sha256="1" * 64))

    with pytest.raises(WeightsError, match=rf"(?s){'0' * 64}.*{'1' * 64}.*beside the bundle"):
        open_bundle(small, restore_tiny, renamed).graph()
    expected = json.loads(zipfile.ZipFile(small).read("manifest.json"))["base"]["tensors_sha256"]
    with pytest.raises(WeightsError, match=rf"tensors of SHA-256 {expected}; here"):
        open_bundle(small, restore_tiny, lambda _name, _folder: trunk(seed=1)).graph()


def test_a_base_that_lacks_a_tensor_is_refused(small: Path) -> None:
    def bare(name: str, folder: Path) -> Trunk:
        return TensorTrunk({}, tiny_card())

    with pytest.raises(BundleError, match=r"lacks 'trunk.bias', and so does its base 'tiny'"):
        open_bundle(small, restore_tiny, bare).graph()


def test_a_base_that_cannot_be_had_is_told_with_its_hash(small: Path) -> None:
    with pytest.raises(WeightsError, match=rf"(?s)its base 'tiny' .*{'0' * 64}.*folder 'tiny' beside"):
        open_bundle(small, restore_tiny).graph()
    record = open_bundle(small, restore_tiny).record()  # all else is read without it
    assert record.name == "trees"


def test_a_product_of_another_shape_is_refused(tmp_path: Path) -> None:
    contents = adapted()
    assert contents.omitted is not None
    wrong = replace(contents.omitted, products={"trunk.weight": LowRank(PRODUCT.up[:3], PRODUCT.down)})
    save(tmp_path / "wrong.topwork", replace(contents, omitted=wrong))
    with pytest.raises(BundleError, match=r"holds a product of \[3, 2\]"):
        open_bundle(tmp_path / "wrong.topwork", restore_tiny, lambda _name, _folder: trunk()).graph()


def test_a_folder_beside_the_bundle_is_found_and_no_other_place(tmp_path: Path, tiny_trunk: Path) -> None:
    (tmp_path / "tiny").symlink_to(tiny_trunk)
    assert find_trunk("tiny", tmp_path).card.name == tiny_trunk.name
    with pytest.raises(UsageError, match="no trunk named 'tinier'"):
        find_trunk("tinier", tmp_path)
    assert find_trunk("mobilenet-v2", tmp_path).card.name == "mobilenet-v2"
