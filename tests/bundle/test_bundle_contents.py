"""A whole bundle: what goes in comes out, and what is edited does not get in."""

from __future__ import annotations

import hashlib
import json
import random
import tracemalloc
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiny_bundle import NumpyEngine, TinyModality, restore_tiny, tiny_contents
from topwork.bundle import BundleModel, Contents, open_bundle, save
from topwork.bundle.archive import Archive
from topwork.bundle.manifest import MANIFEST, part_names
from topwork.contracts import Json, Target
from topwork.errors import BundleError, UsageError

INPUTS = TinyModality().synthetic(3, seed=9)


@pytest.fixture(scope="module")
def contents() -> Contents:
    return tiny_contents(("label", "other"))


@pytest.fixture
def sound(tmp_path: Path, contents: Contents) -> Path:
    save(tmp_path / "trees.topwork", contents)
    return tmp_path / "trees.topwork"


def answers(path: Path) -> list[Any]:
    """Open, prove and ask: all that a server does with a bundle."""
    bundle = open_bundle(path, restore_tiny)
    bundle.sides(), bundle.statistics()
    model = BundleModel(bundle, TinyModality(), NumpyEngine(bundle.graph().weights))
    model.prove()
    return [answer.value for answer in model.submit(INPUTS)]


def forged(path: Path, part: str, data: bytes) -> Path:
    """Replace a part, or the manifest, and seal the whole again, as somebody who means harm would."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()} | {part: data}
    if part != MANIFEST:
        manifest = json.loads(members[MANIFEST])
        manifest["parts"][part] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        members[MANIFEST] = json.dumps(manifest).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
        archive.comment = f"topwork sha256:{hashlib.sha256(members[MANIFEST]).hexdigest()}".encode()
    return path


# --- the round trip ---------------------------------------------------------------------------------------


def test_everything_comes_back(sound: Path, contents: Contents) -> None:
    bundle = open_bundle(sound, restore_tiny)
    assert bundle.path == sound
    assert bundle.sides() == contents.sides
    assert dict(bundle.targets) == dict(contents.targets)
    assert bundle.record().targets.keys() == contents.record.targets.keys()
    assert (bundle.manifest.trunk, bundle.manifest.name) == (contents.trunk, "trees")
    assert bundle.graph().topology == contents.graph.topology
    assert bundle.graph().output_names == contents.graph.output_names
    for found, put in (
        (bundle.graph().weights, contents.graph.weights),
        (bundle.statistics(), contents.statistics),
    ):
        assert found.keys() == put.keys()
        for name, array in put.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype
    assert [golden.key for golden in bundle.goldens()] == [golden.key for golden in contents.goldens]


def test_saving_twice_gives_the_same_bytes_and_identity(
    tmp_path: Path, sound: Path, contents: Contents
) -> None:
    identity = save(tmp_path / "again.topwork", contents)
    assert (tmp_path / "again.topwork").read_bytes() == sound.read_bytes()
    assert identity == open_bundle(sound, restore_tiny).identity


def test_another_content_has_another_identity(tmp_path: Path, contents: Contents) -> None:
    identities = {
        save(tmp_path / "a.topwork", contents),
        save(tmp_path / "a.topwork", replace(contents, name="other")),
        save(tmp_path / "a.topwork", replace(contents, sides={})),
        save(tmp_path / "a.topwork", replace(contents, statistics={})),
    }
    assert len(identities) == 4


def test_a_bundle_holds_the_parts_of_its_format(sound: Path) -> None:
    assert tuple(Archive.open(sound).manifest.parts) == part_names(4)


def test_the_order_of_weights_does_not_show(tmp_path: Path, sound: Path, contents: Contents) -> None:
    turned = dict(reversed(list(contents.graph.weights.items())))
    save(tmp_path / "b.topwork", replace(contents, graph=replace(contents.graph, weights=turned)))
    assert (tmp_path / "b.topwork").read_bytes() == sound.read_bytes()


# --- what cannot be saved ---------------------------------------------------------------------------------


def test_what_could_not_be_opened_is_not_saved(tmp_path: Path, contents: Contents) -> None:
    path = tmp_path / "x.topwork"
    broken = [
        replace(contents, graph=replace(contents.graph, topology=b"\xff")),
        replace(contents, graph=replace(contents.graph, output_names=("features",))),
        replace(contents, goldens=contents.goldens[:1]),
        replace(contents, record=replace(contents.record, schema=99)),
    ]
    for one in broken:
        with pytest.raises(BundleError):
            save(path, one)
        assert not path.exists()


# --- what cannot be opened --------------------------------------------------------------------------------


def test_a_part_that_vouches_for_itself_is_still_read_strictly(sound: Path, contents: Contents) -> None:
    whole = sound.read_bytes()
    cases = {
        "split.json": [
            b"{}",
            b"[]",
            b'{"train":"ab","valid":[],"test":[]}',
            b'{"train":["a","a"],"valid":[],"test":[]}',
        ],
        "statistics.safetensors": [b"", b"\xff" * 100],
        "weights.safetensors": [b"", b"PK"],
        "graph.onnx": [b"", b"\xff\xff", b"\x08"],
        "record.json": [b"{}", b"null", b'{"schema":2}'],
        "goldens.safetensors": [b"", b"\x02\x00\x00\x00\x00\x00\x00\x00{}"],
        "goldens/000.bin": [b"", INPUTS[0]],
    }
    n_refused = 0
    for part, forgeries in cases.items():
        for data in forgeries:
            sound.write_bytes(whole)
            with pytest.raises(BundleError) as caught:
                answers(forged(sound, part, data))
            assert str(sound) in str(caught.value)
            n_refused += 1
    assert n_refused == 18


@pytest.mark.parametrize(
    "failure",
    [
        KeyError("labels"),
        TypeError("no"),
        ValueError("no"),
        UsageError("There is no task.", next_step="Install it."),
    ],
)
def test_a_target_that_cannot_be_restored_is_named(sound: Path, failure: Exception) -> None:
    def restore(task: str, state: Mapping[str, Json]) -> Target:
        raise failure

    with pytest.raises(BundleError, match="'label'") as caught:
        open_bundle(sound, restore)
    assert str(sound) in str(caught.value)


def test_a_task_that_is_not_installed_is_said_so(sound: Path) -> None:
    with pytest.raises(BundleError, match="There is no task 'tiny'"):
        open_bundle(sound)


# --- fuzzing ----------------------------------------------------------------------------------------------


def flip(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def drop(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + content[start + rng.randrange(1, 200) :]


def double(content: bytes, rng: random.Random) -> bytes:
    start, other = rng.randrange(len(content)), rng.randrange(len(content))
    return content[:start] + content[other : other + rng.randrange(1, 500)] + content[start:]


def flip_structure(content: bytes, rng: random.Random) -> bytes:
    """Change the headers, the directory or the end, which are a small part of the bytes."""
    marks = [
        i for i in range(len(content) - 4) if content[i : i + 2] == b"PK" and content[i + 2] in (1, 3, 5)
    ]
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = min(rng.choice(marks) + rng.randrange(46), len(changed) - 1)
        changed[place] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(changed)


def splice(content: bytes, rng: random.Random) -> bytes:
    """Put bytes of one place over those of another."""
    changed = bytearray(content)
    n_bytes = rng.randrange(1, 300)
    start, other = (rng.randrange(len(content) - n_bytes) for _ in range(2))
    changed[start : start + n_bytes] = content[other : other + n_bytes]
    return bytes(changed)


FUZZERS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    flip,
    flip_structure,
    cut,
    drop,
    double,
    splice,
)


def outcome(path: Path, right: list[Any]) -> str:
    """Return what became of a bundle: refused, right or wrong. Another error than ours is raised."""
    try:
        return "right" if answers(path) == right else "wrong"
    except BundleError as error:
        return "refused" if str(path) in str(error) else "refused without a name"


def test_300_damaged_bundles_are_refused_or_sound(sound: Path) -> None:
    right, content = answers(sound), sound.read_bytes()
    rng = random.Random(0)
    outcomes: Counter[str] = Counter()
    tracemalloc.start()
    for number in range(300):
        sound.write_bytes(FUZZERS[number % len(FUZZERS)](content, rng))
        outcomes[outcome(sound, right)] += 1
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert outcomes["refused"] + outcomes["right"] == 300
    assert outcomes["refused"] > 240
    assert peak_bytes < 50 << 20


STRANGE: tuple[Any, ...] = (None, 0, -1, 1e300, 2**70, "", "../x", [], {}, True, "\udcff" * 9, [[]], {"x": 1})


def distort(value: Any, rng: random.Random) -> Any:
    """Make a value longer, shorter, or another one altogether."""
    if rng.random() < 0.5 or not isinstance(value, str | list | dict):
        return rng.choice(STRANGE)
    if isinstance(value, dict):
        items = list(value.items())
        return dict(items[1:] if rng.random() < 0.5 else [*items, ("more", 1)])
    return value[:-1] if rng.random() < 0.5 else value * 1000


def edit(value: Any, rng: random.Random) -> Any:
    """Change one value somewhere in a tree of JSON."""
    deeper = isinstance(value, dict | list) and value and rng.random() < 0.75
    if not deeper:
        return distort(value, rng)
    key = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
    copy = value.copy()
    copy[key] = edit(value[key], rng)
    return copy


@pytest.mark.parametrize("part", [MANIFEST, "record.json", "split.json"])
def test_100_sealed_edits_of_each_json_part_are_refused_or_read(sound: Path, part: str) -> None:
    """Whoever seals an edit again may rename a label; they may not make the reader stumble."""
    right, content, rng = answers(sound), sound.read_bytes(), random.Random(1)
    with zipfile.ZipFile(sound) as archive:
        original = json.loads(archive.read(part))
    outcomes: Counter[str] = Counter()
    for _ in range(100):
        sound.write_bytes(content)
        forged(sound, part, json.dumps(edit(original, rng)).encode())
        outcomes[outcome(sound, right)] += 1
    assert sum(outcomes[kind] for kind in ("refused", "right", "wrong")) == 100
    assert outcomes["refused"] >= 30
