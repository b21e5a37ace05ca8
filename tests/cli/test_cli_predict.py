"""`topwork predict`: files, folders and standard input; text, JSON lines and CSV; bad ones among good ones."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from commands import Desk, Told, end
from topwork import Model, load

Command = Callable[..., Told]
LABELS = {"blue", "green", "red"}


def test_a_file_gets_a_line(topwork: Command, bundle: Path, photos: Path) -> None:
    told = topwork("predict", bundle, photos / "green" / "03.jpg")
    name, answer = told.out.rstrip("\n").split("\t")
    assert (told.status, told.err, name) == (0, "", str(photos / "green" / "03.jpg"))
    assert answer.startswith("green ")
    assert answer.count("%") == 3


def test_folders_and_files_are_answered_in_order(topwork: Command, bundle: Path, photos: Path) -> None:
    told = topwork("predict", bundle, photos / "red", photos / "blue" / "00.jpg")
    names = [line.split("\t")[0] for line in told.out.splitlines()]
    assert names == [str(p) for p in [*sorted((photos / "red").iterdir()), photos / "blue" / "00.jpg"]]


def test_json_lines_hold_label_and_probabilities(topwork: Command, bundle: Path, photos: Path) -> None:
    for words in (("--json",), ("--format", "jsonl")):
        told = topwork("predict", bundle, photos / "red", *words)
        found = [json.loads(line) for line in told.out.splitlines()]
        assert len(found) == 20
        for one in found:
            assert set(one) == {"input", "label", "probabilities", "in_domain"}
            assert set(one["probabilities"]) == LABELS
            assert sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-6)
            assert one["label"] == max(one["probabilities"], key=one["probabilities"].get)


def test_csv_has_a_column_per_label(topwork: Command, bundle: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "red" / "00.jpg", tmp_path / 'a, "b".jpg')
    told = topwork("predict", bundle, "--format", "csv", 'a, "b".jpg', "gone.jpg")
    good, bad = csv.DictReader(told.out.splitlines())
    assert list(good) == ["input", "label", "error", "in_domain", "blue", "green", "red"]
    as_json = topwork("predict", bundle, "--json", 'a, "b".jpg').json
    assert (good["in_domain"], bad["in_domain"]) == (json.dumps(as_json["in_domain"]), "")
    assert (good["input"], good["label"], good["error"]) == ('a, "b".jpg', "red", "")
    assert float(good["red"]) + float(good["green"]) + float(good["blue"]) == pytest.approx(1, abs=1e-5)
    assert (bad["input"], bad["label"], bad["red"]) == ("gone.jpg", "", "")
    assert "no such file" in bad["error"]


def test_a_bad_file_costs_one_line_and_not_the_run(
    topwork: Command, bundle: Path, photos: Path, tmp_path: Path
) -> None:
    Path("note.txt").write_text("no picture", encoding="utf-8")
    Path("empty.jpg").touch()
    good = photos / "red" / "00.jpg"
    told = topwork("predict", bundle, good, "note.txt", "empty.jpg", "gone.jpg", "x" * 300, photos, good)
    assert told.status == 0
    assert len(told.out.splitlines()) == 62
    *problems, total = told.err.splitlines()
    assert [line.split(":")[0] for line in problems] == ["note.txt", "empty.jpg", "gone.jpg", "x" * 300]
    assert total == "4 of 66 could not be read."


def test_status_is_one_when_every_input_was_bad(topwork: Command, bundle: Path) -> None:
    told = topwork("predict", bundle, "gone.jpg", "gone.png")
    assert (told.status, told.out) == (1, "")
    assert told.err.endswith("2 of 2 could not be read.\n")
    assert len(told.err.splitlines()) == 3
    as_json = topwork("predict", bundle, "gone.jpg", "--json")
    assert as_json.status == 1
    assert set(as_json.json) == {"input", "error"}


def test_a_folder_without_photos_is_an_error(topwork: Command, bundle: Path, tmp_path: Path) -> None:
    told = topwork("predict", bundle, tmp_path)
    assert told.status == 1
    assert "holds no photo" in told.err


def test_a_dash_is_standard_input(desk: Desk, bundle: Path, photos: Path) -> None:
    told = desk.run("predict", str(bundle), "-", stdin=(photos / "red" / "03.jpg").read_bytes())
    assert (told.status, told.err) == (0, "")
    assert told.out.startswith("-\tred ")
    nothing = desk.run("predict", str(bundle), "-")
    assert nothing.status == 1
    assert nothing.err.startswith("-: The file is empty.")


def test_a_name_that_is_no_text_does_not_end_the_run(
    topwork: Command, bundle: Path, photos: Path, tmp_path: Path
) -> None:
    odd = os.fsdecode(b"caf\xe9\n\x1b[2J.jpg")
    try:
        shutil.copy(photos / "red" / "00.jpg", tmp_path / odd)
    except OSError:
        pytest.skip("this file system takes no such name")
    told = topwork("predict", bundle, tmp_path)
    assert told.status == 0
    assert told.out.startswith(f"{tmp_path}/caf\\udce9\\n\\x1b[2J.jpg\tred ")
    assert topwork("predict", bundle, tmp_path, "--json").json["input"] == f"{tmp_path}/{odd}"
    assert "caf\\udce9" in topwork("predict", bundle, tmp_path, "--format", "csv").out


def test_it_streams_and_stops_when_nobody_reads_on(desk: Desk, bundle: Path, photos: Path) -> None:
    many = [str(photos)] * 200
    with desk.start("predict", str(bundle), *many) as process:
        assert process.stdout is not None
        assert b"blue" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait() == 1


def test_what_is_no_bundle_is_refused(topwork: Command, photos: Path, tmp_path: Path) -> None:
    Path("note.topwork").write_text("hello", encoding="utf-8")
    for words in (
        ["predict", "note.topwork", photos],
        ["serve", "note.topwork"],
        ["bundle", "inspect", "note.topwork"],
    ):
        told = topwork(*words)
        assert (told.status, told.out) == (1, "")
        assert "It is not a bundle" in told.err
        assert "Get another copy of the bundle, or fit it again." in told.err
    missing = topwork("predict", "missing.topwork", photos)
    assert missing.status == 1
    assert "There is no file missing.topwork." in missing.err


def test_a_saved_copy_answers_the_same(topwork: Command, fitted: Model, photos: Path, tmp_path: Path) -> None:
    copy = fitted.save(tmp_path / "copy.topwork")
    assert topwork("predict", copy, photos).out == topwork("predict", fitted.path, photos).out
    assert load(copy).name == "copy"


def test_interrupting_it_ends_it(desk: Desk, bundle: Path, photos: Path) -> None:
    with desk.start("predict", str(bundle), *[str(photos)] * 200) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        told = end(process)
    assert told.status == 130
    assert told.err == "Stopped.\n"
