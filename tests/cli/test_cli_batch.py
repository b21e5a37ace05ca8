"""`topwork batch`: killed at any moment and resumed, no row is lost or twice; what it tells; full disks."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from commands import Desk, Told, end
from faulty_disks import mount, unmount
from topwork import Model

Command = Callable[..., Told]
TESTS = Path(__file__).resolve().parents[1]
SERVER = """
from dataclasses import replace
from fake_servable import TEXT, FakeServable
from topwork.serving.app import application
from topwork.serving.server import run
run(application(FakeServable("texts", TEXT, delay_s=0.0005)), port=0, on_ready=lambda url: print(url, flush=True))
"""
N_ROWS = 6000


@contextmanager
def serving() -> Iterator[str]:
    """Serve a model of texts that answers by their length."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def write_texts(path: Path, n_rows: int = N_ROWS) -> None:
    with path.open("w") as stream:
        for i in range(n_rows):
            text = "bad" if i % 97 == 0 else f"text number {i} " + "x" * (i % 50)
            stream.write(json.dumps({"id": i, "text": text}) + "\n")


def rows_of(path: Path) -> list[int]:
    return [json.loads(line)["row"] for line in path.read_text().splitlines()]


def test_it_answers_and_tells(topwork: Command, fitted: Model, photos: Path, tmp_path: Path) -> None:
    told = topwork("batch", fitted.path, photos, "--out", "a.csv", "-q")
    assert (told.status, told.err) == (0, "")
    assert told.out.startswith("Answers a.csv  (60 of 60 rows)\n")
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 61
    as_json = topwork("batch", fitted.path, photos, "--out", "b.jsonl", "--json", "-q").json
    assert (as_json["n_rows"], as_json["n_failed"], as_json["failed"]) == (60, 0, None)
    dry = topwork("batch", fitted.path, photos, "--out", "c.parquet", "--dry-run", "--json", "-q").json
    assert (dry["n_rows"], dry["n_tried"]) == (60, 60)
    shown = topwork("batch", fitted.path, photos, "--out", "c.parquet", "--dry-run", "-q")
    assert "60 rows\nAbout " in shown.out
    assert shown.err == "Nothing was written.\n"
    assert not (tmp_path / "c.parquet").exists()


def test_status_is_one_when_no_row_has_an_answer(topwork: Command, fitted: Model, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("gone.jpg\ngone.png\n")
    told = topwork("batch", fitted.path, "a.txt", "--out", "a.csv", "-q")
    assert told.status == 1
    assert "Failed  a.failed.jsonl  (2 rows, each with its reason)" in told.out
    assert topwork("batch", fitted.path, "a.txt", "--out", "a.csv", "-q").status == 1
    assert topwork("batch", fitted.path, "a.txt", "--out", "a.csv", "-q", "--resume").status == 0


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")
@pytest.mark.parametrize("n_kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_any_moment_it_loses_no_row_and_doubles_none(desk: Desk, n_kills: int) -> None:
    """Two batches of the same rows, of which one is killed again and again, end in the same bytes."""
    write_texts(desk.folder / "in.jsonl")
    rng = random.Random(n_kills)
    with serving() as url:
        words = ("batch", url, "in.jsonl", "-q", "--out")
        began_s = time.monotonic()
        assert desk.run(*words, "whole.jsonl").status == 0
        took_s = time.monotonic() - began_s
        n_killed, n_kept = 0, set()
        for _ in range(3 * n_kills):
            with desk.start(*words, "killed.jsonl", "--resume") as process:
                try:
                    process.communicate(timeout=rng.uniform(0.2, 1.0) * took_s / 2)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.communicate()
                    n_killed += 1
            if n_killed >= n_kills or (desk.folder / "killed.jsonl").exists():
                break
            journal = desk.folder / "killed.jsonl.journal"
            n_kept.add(journal.read_bytes().count(b"\n") if journal.exists() else 0)
        told = desk.run(*words, "killed.jsonl", "--resume", "--json")
    assert told.status == 0, told.err
    assert n_killed >= 1
    for name in ("killed.jsonl", "killed.failed.jsonl"):
        assert (desk.folder / name).read_bytes() == (
            desk.folder / name.replace("killed", "whole")
        ).read_bytes()
    rows = rows_of(desk.folder / "killed.jsonl") + rows_of(desk.folder / "killed.failed.jsonl")
    assert sorted(rows) == list(range(1, N_ROWS + 1))
    assert not list(desk.folder.glob("*part*")) + list(desk.folder.glob("*.journal"))


def test_interrupted_it_keeps_what_is_done(desk: Desk) -> None:
    write_texts(desk.folder / "in.jsonl", 40 * N_ROWS)
    with serving() as url:
        words = ("batch", url, "in.jsonl", "--out", "a.jsonl")
        with desk.start(*words) as process:
            part = desk.folder / "a.jsonl.part"
            until = time.monotonic() + 60
            while not part.exists() or not part.stat().st_size:
                assert time.monotonic() < until
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            told = end(process)
        assert told.status == 130
        assert "rows are kept; the same command with --resume goes on." in told.err
        n_rows = len(rows_of(part))
        assert 0 < n_rows < 40 * N_ROWS
        assert rows_of(part) == sorted(set(rows_of(part)))


def test_a_disk_that_fills_up_loses_nothing(desk: Desk) -> None:
    write_texts(desk.folder / "in.jsonl")
    disk = desk.folder / "disk"
    disk.mkdir()
    mount(disk, "600k")
    try:
        with serving() as url:
            told = desk.run("batch", url, "in.jsonl", "-q", "--out", "disk/a.jsonl")
            assert told.status == 1
            assert "the disk is full" in told.err
            kept = json.loads((disk / "a.jsonl.journal").read_bytes().splitlines()[-1])["rows"][0]
            assert kept > 0
            larger = desk.folder / "larger"
            shutil.copytree(disk, larger)
            again = desk.run("batch", url, "in.jsonl", "-q", "--json", "--resume", "--out", "larger/a.jsonl")
        assert again.status == 0, again.err
        assert again.json["n_resumed"] == kept
        rows = rows_of(larger / "a.jsonl") + rows_of(larger / "a.failed.jsonl")
        assert sorted(rows) == list(range(1, N_ROWS + 1))
    finally:
        unmount(disk)


def test_a_server_that_goes_away_is_waited_for(desk: Desk) -> None:
    write_texts(desk.folder / "in.jsonl")
    with serving() as url:
        process = desk.start("batch", url, "in.jsonl", "-q", "--out", "a.jsonl", "--tries", "2")
        part = desk.folder / "a.jsonl.part"
        until = time.monotonic() + 60
        while not part.exists():
            assert time.monotonic() < until
            time.sleep(0.02)
    with process:
        told = end(process)
    assert told.status == 1
    assert "--resume" in told.err
