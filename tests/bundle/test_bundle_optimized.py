"""Format 3: bundles that keep examples, and bundles that name what they run with."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tiny_bundle import restore_tiny, tiny_contents
from topwork.bundle import Bundle, Contents, open_bundle, save
from topwork.bundle.archive import write_archive
from topwork.bundle.goldens import difference
from topwork.bundle.manifest import EXAMPLES, Optimized, decode_manifest, encode_manifest
from topwork.bundle.preference import as_optimized
from topwork.engines.choice import EngineChoice
from topwork.errors import BundleError, MissingExtraError

EXAMPLE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
SHORT = Optimized("a" * 64, "openvino", "int8")


def written(folder: Path, contents: Contents) -> Bundle:
    save(folder / "made.topwork", contents)
    return open_bundle(folder / "made.topwork", restore_tiny)


def test_examples_come_back_in_their_order(tmp_path: Path) -> None:
    examples = tuple(EXAMPLE + number for number in range(12))
    bundle = written(tmp_path, replace(tiny_contents(), examples=examples))
    assert bundle.manifest.format == 3
    assert "optimized" not in json.loads(zipfile.ZipFile(bundle.path).read("manifest.json"))
    for found, expected in zip(bundle.examples(), examples, strict=True):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == np.uint8


def test_a_bundle_without_examples_is_written_as_before(tmp_path: Path) -> None:
    bundle = written(tmp_path, tiny_contents())
    assert bundle.manifest.format == 1
    assert bundle.examples() == ()
    assert EXAMPLES not in bundle.manifest.parts
    stored = json.loads(zipfile.ZipFile(bundle.path).read("manifest.json"))
    assert not {"optimized", "base"} & set(stored)


def test_what_it_runs_with_is_in_the_manifest(tmp_path: Path) -> None:
    bundle = written(tmp_path, replace(tiny_contents(), optimized=SHORT))
    assert (bundle.manifest.format, bundle.manifest.optimized) == (3, SHORT)


@pytest.mark.parametrize("wrong", ["torch", "", 3])
def test_an_engine_that_runs_no_bundles_is_refused(tmp_path: Path, wrong: object) -> None:
    manifest = written(tmp_path, replace(tiny_contents(), optimized=SHORT)).manifest
    value = json.loads(encode_manifest(manifest))
    value["optimized"]["engine"] = wrong
    with pytest.raises(BundleError, match="optimized"):
        decode_manifest(json.dumps(value).encode())


def test_an_older_format_has_no_room_for_either(tmp_path: Path) -> None:
    named = written(tmp_path, replace(tiny_contents(), optimized=SHORT)).manifest
    with pytest.raises(BundleError, match="names an engine in format 1; those of format 3 may"):
        decode_manifest(encode_manifest(replace(named, format=1)))
    kept = written(tmp_path, replace(tiny_contents(), examples=(EXAMPLE,))).manifest
    with pytest.raises(BundleError, match=r"other parts than format 1 has: examples\.safetensors"):
        decode_manifest(encode_manifest(replace(kept, format=1)))


def test_damaged_examples_are_told_and_cost_nothing_else(tmp_path: Path) -> None:
    bundle = written(tmp_path, replace(tiny_contents(), examples=(EXAMPLE,)))
    parts = {name: bundle.archive.read(name) for name in bundle.manifest.parts}
    parts[EXAMPLES] = b"no tensors"
    from topwork.bundle.manifest import describe_parts

    manifest = replace(bundle.manifest, parts=describe_parts(parts))
    write_archive(tmp_path / "odd.topwork", parts, manifest)
    odd = open_bundle(tmp_path / "odd.topwork", restore_tiny)
    assert odd.goldens()
    with pytest.raises(BundleError, match=r"odd\.topwork: examples\.safetensors is not valid safetensors"):
        odd.examples()


# --- what an optimised bundle is opened with ------------------------------------------------------------

BEST = EngineChoice("openvino", "bf16")


def opened(made: Optimized, best: EngineChoice, *installed: str) -> EngineChoice:
    return as_optimized(
        made, best, installed=installed or ("openvino", "onnxruntime"), path=Path("a.topwork")
    )


def test_the_engine_it_was_made_for_is_taken() -> None:
    assert opened(SHORT, BEST) == EngineChoice("openvino", "int8")
    other = Optimized("a" * 64, "onnxruntime", "fp32")
    assert opened(other, BEST) == EngineChoice("onnxruntime", "fp32")
    half = replace(SHORT, precision="bf16")
    assert opened(half, BEST) == BEST
    without = EngineChoice("openvino", "fp32")  # a processor that would only emulate bf16
    assert opened(half, without) == without
    assert opened(SHORT, without).precision == "int8"


def test_an_engine_that_is_missing_is_told_with_what_to_do() -> None:
    with pytest.raises(MissingExtraError) as told:
        opened(SHORT, BEST, "onnxruntime")
    assert told.value.problem == "a.topwork was optimised for openvino in int8, which is not installed here."
    assert (
        told.value.next_step
        == "Run: pip install openvino; or run it with --engine onnxruntime, which may be slower."
    )
    with pytest.raises(MissingExtraError, match=r"pip install openvino$"):
        opened(SHORT, BEST, "torch")


# --- how far outputs are off ----------------------------------------------------------------------------


def test_the_difference_is_the_largest_relative_to_the_spread() -> None:
    goldens = tiny_contents().goldens
    outputs = {name: np.stack([one.outputs[name] for one in goldens]) for name in goldens[0].outputs}
    assert difference(goldens, outputs) == 0
    spread = float(np.std(outputs["features"]))
    outputs["features"][2] += np.float32(0.25 * spread)
    assert difference(goldens, outputs) == pytest.approx(0.25, rel=1e-4)
    outputs["scores.label"][0, 0] = np.nan
    assert np.isnan(difference(goldens, outputs))
