"""The archive: deterministic to write, strict to read, whole or not there at all."""

from __future__ import annotations

import hashlib
import io
import os
import random
import signal
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tiny_bundle import tiny_card
from topwork.bundle.archive import Archive, write_archive
from topwork.bundle.manifest import (
    FORMAT,
    MANIFEST,
    WHOLE,
    Manifest,
    StoredTarget,
    describe_parts,
    encode_manifest,
    part_names,
)
from topwork.errors import BundleError, StorageError, UsageError

PARTS = {name: f"content of {name} ".encode() * 20 for name in part_names(2)}


def manifest(parts: dict[str, bytes] = PARTS) -> Manifest:
    return Manifest(
        format=WHOLE,
        topwork="0.1.0",
        name="trees",
        created="2026-01-02T03:04:05Z",
        modality="grid",
        preprocessing={"offset": 0},
        trunk=tiny_card(),
        targets={"label": StoredTarget("tiny", {"labels": ["ash"]})},
        outputs=("features", "scores.label"),
        goldens=("1.grid", "2.grid"),
        parts=describe_parts(parts),
    )


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "trees.topwork"
    write_archive(path, PARTS, manifest())
    return path


def sealed(members: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip of these members with the comment that fits its manifest."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, packing)
        digest = hashlib.sha256(members.get(MANIFEST, b"")).hexdigest()
        archive.comment = f"topwork sha256:{digest}".encode()
    return stream.getvalue()


def whole() -> dict[str, bytes]:
    return {**PARTS, MANIFEST: encode_manifest(manifest())}


def refused(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(BundleError) as caught:
        Archive.open(path)
    assert str(path) in str(caught.value)
    assert caught.value.next_step
    return str(caught.value)


# --- sound files --------------------------------------------------------------------------------------


def test_what_was_written_is_read(sound: Path) -> None:
    archive = Archive.open(sound)
    assert archive.manifest == manifest()
    assert {name: archive.read(name) for name in PARTS} == PARTS


def test_the_identity_is_the_hash_of_the_manifest(tmp_path: Path) -> None:
    identity = write_archive(tmp_path / "a.topwork", PARTS, manifest())
    assert identity == hashlib.sha256(encode_manifest(manifest())).hexdigest()
    assert Archive.open(tmp_path / "a.topwork").identity == identity


def test_the_same_content_gives_the_same_bytes(tmp_path: Path, sound: Path) -> None:
    write_archive(tmp_path / "other.topwork", dict(PARTS), manifest())
    assert (tmp_path / "other.topwork").read_bytes() == sound.read_bytes()


def test_the_manifest_is_written_last_and_weights_are_not_compressed(sound: Path) -> None:
    with zipfile.ZipFile(sound) as archive:
        infos = archive.infolist()
    assert infos[-1].filename == MANIFEST
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
    packed = {info.filename for info in infos if info.compress_type == zipfile.ZIP_DEFLATED}
    assert packed == {"record.json", "split.json", "README.md", MANIFEST}


def test_a_file_that_was_replaced_after_opening_is_noticed(sound: Path) -> None:
    archive = Archive.open(sound)
    other = {**PARTS, "graph.onnx": PARTS["graph.onnx"][::-1]}
    write_archive(sound, other, manifest(other))
    with pytest.raises(BundleError, match=r"graph\.onnx is not the part that was written"):
        archive.read("graph.onnx")


# --- files that are no bundle, or no longer --------------------------------------------------------------


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no file"):
        Archive.open(tmp_path / "none.topwork")
    with pytest.raises(UsageError, match="There is no file"):
        Archive.open(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is empty"), (b"GIF89a" * 100, "no zip file"), (sealed({"a": b"b"})[:-1], "cut short")],
)
def test_a_file_of_another_kind(tmp_path: Path, content: bytes, words: str) -> None:
    assert words in refused(tmp_path / "x.topwork", content)


def test_a_zip_without_a_manifest(tmp_path: Path) -> None:
    assert f"has no {MANIFEST}" in refused(tmp_path / "x.topwork", sealed({"a.txt": b"b"}))


def test_every_truncation_is_refused(sound: Path) -> None:
    content = sound.read_bytes()
    lengths = range(0, len(content), 37)
    for n_bytes in lengths:
        refused(sound, content[:n_bytes])
    assert len(lengths) > 50


def test_a_part_too_few_and_a_part_too_many(tmp_path: Path) -> None:
    fewer = {name: data for name, data in whole().items() if name != "graph.onnx"}
    assert "Parts are missing: graph.onnx" in refused(tmp_path / "x.topwork", sealed(fewer))
    more = {"extra.bin": b"", **whole()}
    assert "does not list: extra.bin" in refused(tmp_path / "x.topwork", sealed(more))


def test_a_changed_part_is_named(tmp_path: Path) -> None:
    for name in PARTS:
        changed = {**whole(), name: b"X" + PARTS[name][1:]}
        assert f"{name} is not the part" in refused(tmp_path / "x.topwork", sealed(changed))


def test_a_part_of_another_size_is_named(tmp_path: Path) -> None:
    longer = {**whole(), "graph.onnx": PARTS["graph.onnx"] + b"!"}
    assert "graph.onnx has" in refused(tmp_path / "x.topwork", sealed(longer))


def test_a_manifest_that_was_edited_is_refused(tmp_path: Path) -> None:
    comment = f"topwork sha256:{hashlib.sha256(b'').hexdigest()}".encode()
    content = sealed(whole())
    assert "is not the one that was written" in refused(
        tmp_path / "x.topwork", content[: -len(comment)] + comment
    )


@pytest.mark.parametrize(
    "name",
    [
        "../escape",
        "/root",
        "a/../b",
        "C:evil",
        "a\\b",
        "./a",
        "a//b",
        "a/",
        ".hidden",
        "ä",
        "con:",
        " ",
    ],
)
def test_names_that_could_leave_a_folder_are_refused(tmp_path: Path, name: str) -> None:
    assert "a name that no bundle has" in refused(tmp_path / "x.topwork", sealed({name: b"", **whole()}))


def test_a_name_that_goes_on_behind_a_null_byte_is_refused(tmp_path: Path) -> None:
    content = sealed({"nul.byte": b"", **whole()}).replace(b"nul.byte", b"nul\x00byte")
    assert "a name that no bundle has" in refused(tmp_path / "x.topwork", content)


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    content = sealed({"graph.twin": b"other", **whole()}).replace(b"graph.twin", b"graph.onnx")
    assert "have one name" in refused(tmp_path / "x.topwork", content)


def test_other_ways_of_packing_are_refused(tmp_path: Path) -> None:
    content = sealed(whole(), zipfile.ZIP_BZIP2)
    assert "packed in a way" in refused(tmp_path / "x.topwork", content)


def test_bytes_hidden_between_members_are_refused(sound: Path) -> None:
    """A directory that points further along, as after something was put in front of everything."""
    content = sound.read_bytes()
    assert "does not stand where" in refused(sound, content[:4] + content)


def patched(content: bytes, mark: bytes, offset: int, value: bytes) -> bytes:
    """Overwrite bytes at ``offset`` behind every occurrence of ``mark``."""
    changed, start = bytearray(content), content.find(mark)
    assert start >= 0
    while start >= 0:
        changed[start + offset : start + offset + len(value)] = value
        start = content.find(mark, start + 1)
    return bytes(changed)


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    content = patched(sealed(whole()), b"PK\x01\x02", 8, b"\x01")
    assert "encrypted or written in pieces" in refused(tmp_path / "x.topwork", content)


def test_a_stored_member_of_two_sizes_is_refused(tmp_path: Path) -> None:
    content = patched(sealed(whole()), b"PK\x01\x02", 24, struct.pack("<I", 1 << 30))
    assert "unpacks to 1073741824 bytes" in refused(tmp_path / "x.topwork", content)


def test_bytes_hidden_before_the_directory_are_refused(tmp_path: Path) -> None:
    content = sealed(whole())
    directory = struct.unpack("<I", content[-85:-81])[0]
    hidden = content[:directory] + b"hidden!!" + content[directory:]
    hidden = patched(hidden, b"PK\x05\x06", 16, struct.pack("<I", directory + 8))
    assert "between its members and their directory" in refused(tmp_path / "x.topwork", hidden)


@pytest.mark.parametrize("n_bytes", [0, 1, 1 << 20, (1 << 32) - 1])
@pytest.mark.parametrize("field", [12, 16])
def test_a_directory_that_lies_elsewhere_is_refused(tmp_path: Path, field: int, n_bytes: int) -> None:
    content = patched(sealed(whole()), b"PK\x05\x06", field, struct.pack("<I", n_bytes))
    refused(tmp_path / "x.topwork", content)


# --- bombs ----------------------------------------------------------------------------------------------


def deflated(members: dict[str, bytes]) -> bytes:
    return sealed(members, zipfile.ZIP_DEFLATED)


def test_a_part_that_unpacks_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    bomb = {**PARTS, "record.json": bytes((64 << 20) + 1)}
    content = deflated({**bomb, MANIFEST: encode_manifest(manifest(bomb))})
    assert len(content) < 1 << 20
    assert "unpacks to" in refused(tmp_path / "x.topwork", content)


def test_a_manifest_that_unpacks_beyond_its_limit_is_refused(tmp_path: Path) -> None:
    assert "unpacks to" in refused(
        tmp_path / "x.topwork", deflated({**PARTS, MANIFEST: b" " * ((16 << 20) + 1)})
    )


def test_a_part_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    """The directory says 10 bytes, the stream holds a million."""
    small = {**PARTS, "record.json": bytes(10)}
    content = deflated({**PARTS, "record.json": bytes(1_000_000), MANIFEST: encode_manifest(manifest(small))})
    lie = content.replace(struct.pack("<I", 1_000_000), struct.pack("<I", 10))
    assert lie != content
    refused(tmp_path / "x.topwork", lie)


def test_more_members_than_a_bundle_has(tmp_path: Path) -> None:
    many = {f"m{number}": b"" for number in range(10_001)}
    assert "at most" in refused(tmp_path / "x.topwork", sealed(many))


# --- formats ----------------------------------------------------------------------------------------------


def edited(change: Callable[[dict[str, object]], object]) -> bytes:
    import json

    value = json.loads(encode_manifest(manifest()))
    change(value)
    return sealed({**PARTS, MANIFEST: json.dumps(value).encode()})


def test_a_newer_format_says_who_wrote_it_and_what_to_do(tmp_path: Path) -> None:
    def newer(value: dict[str, object]) -> None:
        value.update(format=FORMAT + 1, topwork="7.0.0", surprise=[1])

    words = refused(tmp_path / "x.topwork", edited(newer))
    assert f"written by topwork 7.0.0 in format {FORMAT + 1}" in words
    assert f"reads formats up to {FORMAT}" in words
    assert "pip install --upgrade topwork" in words


@pytest.mark.parametrize("found", [0, -1, True, "1", None, 1.0])
def test_a_format_that_never_was(tmp_path: Path, found: object) -> None:
    assert "no format" in refused(tmp_path / "x.topwork", edited(lambda value: value.update(format=found)))


def test_unknown_and_missing_keys_and_wrong_types_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.topwork"
    assert "unknown keys 'colour'" in refused(path, edited(lambda value: value.update(colour="red")))
    assert "'modality' is missing" in refused(path, edited(lambda value: value.pop("modality")))
    assert "expected a text" in refused(path, edited(lambda value: value.update(name=5)))
    assert "expected a list" in refused(path, edited(lambda value: value.update(outputs="features")))
    assert "expected an object" in refused(path, edited(lambda value: value.update(targets=[])))
    assert "other parts" in refused(path, edited(lambda value: value.update(goldens=["1"])))


@pytest.mark.parametrize("text", [b"{", b"[]", b"\xff\xfe", b'{"a":1,"a":2}', b'{"a":NaN}', b"[" * 100_000])
def test_a_manifest_that_is_not_json(tmp_path: Path, text: bytes) -> None:
    assert MANIFEST in refused(tmp_path / "x.topwork", sealed({**PARTS, MANIFEST: text}))


# --- trouble with the disk --------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="Cannot write"):
        write_archive(tmp_path / "file" / "x.topwork", PARTS, manifest())


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs Linux's /proc, where nobody may write")
def test_a_read_only_file_system() -> None:
    with pytest.raises(StorageError, match="Cannot write"):
        write_archive(Path("/proc/self/x.topwork"), PARTS, manifest())


SAVE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import test_bundle_archive as here
from topwork.bundle.archive import write_archive
parts = {**here.PARTS, "weights.safetensors": bytes(int(sys.argv[2]))}
record = here.manifest(parts)
if len(sys.argv) > 4:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]),) * 2)
print("ready", flush=True)
while True:
    write_archive(Path(sys.argv[1]), parts, record)
    print("saved", flush=True)
"""


def saver(path: Path, *more: int) -> subprocess.Popen[bytes]:
    """Start a process that saves over and over."""
    folder = Path(__file__).parent
    paths = os.pathsep.join([str(folder.parent), *filter(None, sys.path)])
    return subprocess.Popen(
        [sys.executable, "-c", SAVE, str(path), str(4 << 20), str(folder), *map(str, more)],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs a limit on the size of files")
def test_a_disk_that_fills_up_leaves_the_old_file(sound: Path) -> None:
    before = sound.read_bytes()
    process = saver(sound, 1 << 20)
    _, errors = process.communicate(timeout=60)
    assert b"StorageError: Cannot write" in errors
    assert sound.read_bytes() == before
    assert [p.name for p in sound.parent.iterdir()] == [sound.name]


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_a_whole_file(sound: Path) -> None:
    """Ten kills at random moments of a save: what stands under the name always opens."""
    rng, sizes = random.Random(0), []
    for _ in range(10):
        process = saver(sound)
        assert process.stdout is not None
        process.stdout.readline()
        with process:
            try:
                process.wait(rng.uniform(0, 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
        sizes.append(len(Archive.open(sound).read("weights.safetensors")))
    assert set(sizes) <= {len(PARTS["weights.safetensors"]), 4 << 20}
    assert len(sizes) == 10


def test_replacing_keeps_nothing_of_the_old(sound: Path) -> None:
    write_archive(sound, PARTS, replace(manifest(), name="other"))
    assert Archive.open(sound).manifest.name == "other"
