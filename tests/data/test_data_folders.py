"""Folders and archives: what is recognised, what is left out, and what is said when it is not a data set."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pictures import file_of, photo
from topwork.contracts import Dataset
from topwork.data import ReadOptions, read
from topwork.errors import DataError, DecodeError

PICTURE = file_of(photo(), "JPEG")


def make(root: Path, *names: str, content: bytes = PICTURE) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def pack(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def labels(dataset: Dataset) -> dict[str, str | None]:
    return dict(zip(dataset.keys, dataset.targets["label"], strict=True))


# --- class folders ----------------------------------------------------------------------------------------


def test_class_folders_are_labels(tmp_path: Path) -> None:
    dataset = read(make(tmp_path, "cat/1.jpg", "cat/2.JPG", "dog/1.png", "dog/deep/er/2.webp"))
    assert labels(dataset) == {
        "cat/1.jpg": "cat",
        "cat/2.JPG": "cat",
        "dog/1.png": "dog",
        "dog/deep/er/2.webp": "dog",
    }
    assert dataset.read(3) == PICTURE
    assert (dataset.modality, dataset.given, dataset.rejected) == ("image", None, ())
    assert "Class folders: 2 classes, 4 files" in dataset.layout
    assert "--layout" in dataset.understood[0]


def test_hidden_files_and_notes_are_no_examples(tmp_path: Path) -> None:
    make(tmp_path, "cat/1.jpg", "dog/1.jpg", "README", "cat/notes.txt", "labels.json", "cat/.hidden.jpg")
    make(tmp_path, ".git/a/b.jpg", "cat/Thumbs.db", "dog/.DS_Store", "__MACOSX/cat/1.jpg", "dog/desktop.ini")
    dataset = read(tmp_path)
    assert dataset.keys == ("cat/1.jpg", "dog/1.jpg")
    assert dataset.rejected == ()


def test_what_is_certainly_no_picture_is_listed_and_unknown_suffixes_are_judged_later(tmp_path: Path) -> None:
    make(tmp_path, "cat/1.jpg", "dog/1.jpg", "dog/film.mp4", "cat/photo.php", "cat/no-suffix", "stray.jpg")
    dataset = read(tmp_path)
    assert set(dataset.keys) == {"cat/1.jpg", "dog/1.jpg", "cat/photo.php", "cat/no-suffix"}
    assert {one.key: one.reason for one in dataset.rejected} == {
        "dog/film.mp4": "a .mp4 file is no photo that can be read",
        "stray.jpg": "it lies in no class folder",
    }


@pytest.mark.parametrize("prefix", ["Chess/", "data/Chess/"])
def test_a_folder_around_everything_is_looked_through(tmp_path: Path, prefix: str) -> None:
    dataset = read(make(tmp_path, f"{prefix}King/1.jpg", f"{prefix}Queen/1.jpg", "README.md"))
    assert list(labels(dataset).values()) == ["King", "Queen"]


def test_labels_in_any_script_are_the_same_label_however_they_are_written(tmp_path: Path) -> None:
    dataset = read(make(tmp_path, "猫/写真 1.jpg", "кот/а.jpg", "caf\u00e9/1.jpg", "cafe\u0301/2.jpg"))
    assert set(labels(dataset).values()) == {"猫", "кот", "caf\u00e9"}
    assert all(dataset.read(row) == PICTURE for row in range(4))


def test_sub_folders_that_may_be_the_labels_are_pointed_out(tmp_path: Path) -> None:
    dataset = read(make(tmp_path, "Chess/King/1.jpg", "Chess/Queen/1.jpg", "test_images/1.jpg"))
    assert any("2 sub-folders (King, Queen)" in line and "Chess" in line for line in dataset.understood)


def test_a_file_that_goes_away_is_a_decode_error(tmp_path: Path) -> None:
    dataset = read(make(tmp_path, "cat/1.jpg", "dog/1.jpg"))
    (tmp_path / "cat" / "1.jpg").unlink()
    with pytest.raises(DecodeError, match="does not exist"):
        dataset.read(0)


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs symbolic links")
def test_links_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    make(tmp_path / "data", "cat/1.jpg", "dog/1.jpg")
    make(tmp_path / "elsewhere", "1.jpg")
    try:
        (tmp_path / "data" / "bird").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        (tmp_path / "data" / "dog" / "loop").symlink_to(tmp_path / "data", target_is_directory=True)
        (tmp_path / "data" / "dog" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
        (tmp_path / "data" / "a-second-way").symlink_to(tmp_path / "data" / "cat", target_is_directory=True)
    except OSError:
        pytest.skip("links are not allowed here")
    assert read(tmp_path / "data").keys == ("bird/1.jpg", "cat/1.jpg", "dog/1.jpg")


# --- split folders ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folders", "sides"),
    [
        (("train", "test"), ("train", "test")),
        (("Train", "VAL"), ("train", "valid")),
        (("training", "validation", "testing"), ("train", "valid", "test")),
        (("train", "valid", "test"), ("train", "valid", "test")),
    ],
)
def test_split_folders_give_sides(tmp_path: Path, folders: tuple[str, ...], sides: tuple[str, ...]) -> None:
    root = make(tmp_path, *[f"set/{folder}/{label}/1.jpg" for folder in folders for label in ("cat", "dog")])
    dataset = read(root)
    found = {key.split("/")[1]: side for key, side in zip(dataset.keys, dataset.given or (), strict=True)}
    assert found == dict(zip(folders, sides, strict=True))
    assert set(dataset.targets["label"]) == {"cat", "dog"}
    assert dataset.layout.startswith("Split folders: 2 classes")


def test_other_folders_beside_the_sides_are_left_out_with_the_reason(tmp_path: Path) -> None:
    make(
        tmp_path,
        "train/a/1.jpg",
        "train/b/1.jpg",
        "test/a/1.jpg",
        "test/b/1.jpg",
        "extra/a/1.jpg",
        "test/loose.jpg",
    )
    dataset = read(tmp_path)
    assert len(dataset) == 4
    assert {one.key for one in dataset.rejected} == {"extra/a/1.jpg", "test/loose.jpg"}


def test_trains_may_be_a_class(tmp_path: Path) -> None:
    assert set(labels(read(make(tmp_path, "train/1.jpg", "car/1.jpg", "test/1.jpg"))).values()) == {
        "train",
        "car",
        "test",
    }


def test_the_layout_can_be_insisted_on(tmp_path: Path) -> None:
    make(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "test/a/1.jpg", "test/b/1.jpg")
    assert read(tmp_path).given is not None
    dataset = read(tmp_path, ReadOptions(layout="folders"))
    assert (set(labels(dataset).values()), dataset.given) == ({"train", "test"}, None)
    with pytest.raises(DataError, match="no folder `train`"):
        read(make(tmp_path / "other", "a/x/1.jpg", "b/x/1.jpg"), ReadOptions(layout="split-folders"))


# --- what is no data set ----------------------------------------------------------------------------------


def test_a_path_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read(tmp_path / "gone")


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        ((), "no files"),
        (("notes.json",), r"no photos.*notes\.json"),
        (("notes.txt",), "1 text lies directly in .* expected one sub-folder per label"),
        (("1.jpg", "2.jpg"), "2 photos lie directly in .* expected one sub-folder per label"),
        (("photos/1.jpg", "photos/2.jpg"), "only one class, 'photos'"),
        (("train/1.jpg", "film.mp4"), "only one class"),
    ],
)
def test_a_folder_that_is_no_data_set_says_what_is_wrong(
    tmp_path: Path, names: tuple[str, ...], complaint: str
) -> None:
    with pytest.raises(DataError, match=complaint) as caught:
        read(make(tmp_path, *names))
    assert "label" in caught.value.next_step


def test_single_files_are_no_data_sets(tmp_path: Path) -> None:
    make(tmp_path, "one.JPG", "data.tar.gz")
    with pytest.raises(DataError, match="a single photo"):
        read(tmp_path / "one.JPG")
    with pytest.raises(DataError, match="Unpack other archives"):
        read(tmp_path / "data.tar.gz")


# --- archives ---------------------------------------------------------------------------------------------


def test_an_archive_reads_as_its_folder_would(tmp_path: Path) -> None:
    folder = make(tmp_path / "pets", "cat/1.jpg", "dog/ü/写真.jpg", "dog/2.jpg")
    files = {f"pets/{p.relative_to(folder).as_posix()}": p.read_bytes() for p in folder.rglob("*.jpg")}
    packed = read(
        pack(tmp_path / "pets.zip", {**files, "__MACOSX/pets/._1.jpg": b"x", "pets/.DS_Store": b"x"})
    )
    assert packed.keys == tuple(f"pets/{key}" for key in read(folder).keys)
    assert packed.targets == read(folder).targets
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(packed.read, [0, 1, 2] * 30)) == {PICTURE}


def test_an_archive_of_split_folders_is_recognised(tmp_path: Path) -> None:
    names = [f"{side}/{label}/1.jpg" for side in ("train", "val") for label in "ab"]
    assert read(pack(tmp_path / "x.zip", dict.fromkeys(names, PICTURE))).given == (
        "train",
        "train",
        "valid",
        "valid",
    )


def test_members_that_lead_out_of_the_archive_are_refused(tmp_path: Path) -> None:
    names = ["a/1.jpg", "b/1.jpg", "a/../../evil.jpg", "/etc/passwd.jpg", "C:/x.jpg", "a\\2.jpg"]
    dataset = read(pack(tmp_path / "x.zip", dict.fromkeys(names, PICTURE)))
    assert dataset.keys == ("a/1.jpg", "a/2.jpg", "b/1.jpg")
    assert {one.key for one in dataset.rejected} == {"a/../../evil.jpg", "/etc/passwd.jpg", "C:/x.jpg"}
    assert {one.reason for one in dataset.rejected} == {"its name leads out of the archive"}


def test_names_in_utf8_without_the_flag_and_in_cp437_are_both_read(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.zip", dict.fromkeys(["AAAA/1.jpg", "BBBB/1.jpg", "c/1.jpg"], PICTURE))
    raw = path.read_bytes().replace(b"AAAA", "猫x".encode()).replace(b"BBBB", "Größ".encode("cp437"))
    path.write_bytes(raw)
    dataset = read(path)
    assert set(labels(dataset).values()) == {"猫x", "Größ", "c"}
    assert [dataset.read(row) for row in range(3)] == [PICTURE] * 3


def test_a_bomb_is_refused_and_a_blank_picture_is_not(tmp_path: Path) -> None:
    blank = {"a/1.bmp": b"\0" * 1_000_000, "b/1.bmp": b"\0" * 1_000_000}
    assert len(read(pack(tmp_path / "blank.zip", blank))) == 2
    with pytest.raises(DataError, match=r"looks like a zip bomb: a/1\.bmp"):
        read(pack(tmp_path / "bomb.zip", {"a/1.bmp": b"\0" * 30_000_000, "b/1.bmp": PICTURE}))


def test_a_member_that_claims_little_and_holds_much_is_cut_off(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.zip", {"a/1.jpg": b"\0" * 2_000_000, "b/1.jpg": PICTURE})
    real, claimed = (2_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(real, claimed))
    dataset = read(path)
    with pytest.raises(DecodeError, match="damaged"):
        dataset.read(0)
    assert dataset.read(1) == PICTURE


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.zip", {"a/1.jpg": PICTURE, "b/1.jpg": PICTURE})
    raw = bytearray(path.read_bytes())
    at = raw.find(b"PK\x01\x02")
    raw[at + 8] |= 1
    path.write_bytes(bytes(raw))
    with pytest.raises(DataError, match="encrypted"):
        read(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"PK"])
def test_a_broken_archive_says_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a readable zip archive"):
        read(path)


def test_a_damaged_member_costs_one_row(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.zip", {"a/1.jpg": PICTURE, "b/1.jpg": PICTURE})
    raw = bytearray(path.read_bytes())
    at = raw.find(b"a/1.jpg") + 60
    raw[at : at + 40] = bytes(40)
    path.write_bytes(bytes(raw))
    dataset = read(path)
    with pytest.raises(DecodeError, match="damaged"):
        dataset.read(0)
    assert dataset.read(1) == PICTURE


def test_links_and_second_copies_inside_an_archive_are_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    link = zipfile.ZipInfo("a/link.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(stream, "w") as archive:
        for name in ("a/1.jpg", "b/1.jpg"):
            archive.writestr(name, PICTURE)
        archive.writestr(link, "/etc/passwd")
        archive.writestr("a\\1.jpg", b"another")
    (tmp_path / "x.zip").write_bytes(stream.getvalue())
    dataset = read(tmp_path / "x.zip")
    assert [one.reason for one in dataset.rejected] == [
        "it is a symbolic link inside an archive", "the archive holds a second file of the same name",
    ]  # fmt: skip
    assert dataset.read(0) == PICTURE
