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
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

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
N_ROWS = 3000


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


def was_killed(process: subprocess.Popen[bytes], delay_s: float, since: Callable[[], bool]) -> bool:
    """Kill a process a while after something is so; return False where it ended by itself before."""
    with process:
        while process.poll() is None and not since():
            time.sleep(0.01)
        try:
            process.communicate(timeout=delay_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return True
    assert process.returncode == 0
    return False


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")
@pytest.mark.parametrize("n_kills", [2, pytest.param(40, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_killed_at_any_moment_it_loses_no_row_and_doubles_none(desk: Desk, n_kills: int) -> None:
    """Batches of the same rows that are killed again and again end in the bytes of one that is left in peace.

    Some are killed at any moment, others once they have kept rows.
    """
    write_texts(desk.folder / "in.jsonl")
    rng, n_killed, n_resumed = random.Random(n_kills), 0, 0
    journal = desk.folder / "a.jsonl.journal"
    with serving() as url:
        words = ("batch", url, "in.jsonl", "-q", "--out")
        began_s = time.monotonic()
        assert desk.run(*words, "whole.jsonl").status == 0
        took_s = time.monotonic() - began_s
        whole = [(desk.folder / f"whole{end}").read_bytes() for end in (".jsonl", ".failed.jsonl")]
        while n_killed < n_kills:
            while True:
                delay_s, since = rng.uniform(0.3, 1.0) * took_s, always
                if rng.random() < 0.5:
                    delay_s, since = rng.uniform(0.0, 0.3) * took_s, partial(has_rows, journal)
                if not was_killed(desk.start(*words, "a.jsonl", "--resume"), delay_s, since):
                    break
                n_killed += 1
                n_resumed += has_rows(journal)
            ends = [desk.folder / f"a{end}" for end in (".jsonl", ".failed.jsonl")]
            assert [path.read_bytes() for path in ends] == whole
            assert not [*desk.folder.glob("*part*"), *desk.folder.glob("*.journal")]
            assert sorted(rows_of(ends[0]) + rows_of(ends[1])) == list(range(1, N_ROWS + 1))
            for path in ends:
                path.unlink()
    assert n_resumed >= n_kills // 3, f"of {n_killed} kills only {n_resumed} left rows behind"


def always() -> bool:
    return True


def has_rows(journal: Path) -> bool:
    """Return whether something was kept: the journal has a line below its head."""
    return journal.exists() and journal.read_bytes().count(b"\n") > 1


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
    mount(disk, "400k")
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


def asked(url: str, body: bytes | None = None, content_type: str = "application/json") -> dict[str, Any]:
    order = urllib.request.Request(url, body, {"content-type": content_type})
    with urllib.request.urlopen(order, timeout=60) as response:
        found: dict[str, Any] = json.load(response)
        return found


def test_a_bundle_answers_the_same_here_behind_a_server_and_on_it(
    desk: Desk, fitted: Model, photos: Path
) -> None:
    (desk.folder / "in").symlink_to(photos)
    (desk.folder / "in.txt").write_text("".join(f"in/red/{i:02}.jpg\n" for i in range(20)))
    settings = (
        "--port",
        "0",
        "--jobs",
        "jobs.sqlite",
        "--batches-below",
        ".",
        "--batches-below",
        str(photos),
    )
    with desk.start("serve", str(fitted.path), *settings) as server:
        try:
            assert server.stderr is not None
            url = server.stderr.readline().decode().rpartition(" ")[2].strip()
            assert url.startswith("http://"), server.stderr.read()
            told = [
                desk.run("batch", source, "in.txt", "--out", out, "--json")
                for source, out in ((str(fitted.path), "here.jsonl"), (url, "there.jsonl"))
            ]
            assert [one.status for one in told] == [0, 0], told
            model = f"{url}/v1/models/{fitted.name}"
            made = [
                asked(f"{model}/batches", b'{"input": "in.txt", "output": "on.jsonl"}'),
                asked(f"{model}/jobs", (photos / "red" / "00.jpg").read_bytes(), "image/jpeg"),
            ]
            until = time.monotonic() + 60
            while {(job := asked(f"{url}/v1/jobs/{one['id']}"))["status"] for one in made} != {"done"}:
                assert time.monotonic() < until, job
                time.sleep(0.05)
        finally:
            server.kill()
    rows = [
        (desk.folder / name).read_text().splitlines() for name in ("here.jsonl", "there.jsonl", "on.jsonl")
    ]
    found = [[json.loads(line) for line in lines] for lines in rows]
    assert [len(one) for one in found] == [20, 20, 20]
    for several in zip(*found, strict=True):
        assert len({one["input"] for one in several}) == 1
        labels = {one["answer"]["label"] for one in several}
        assert labels == {"red"}
        reds = [one["answer"]["probabilities"]["red"] for one in several]
        assert max(reds) - min(reds) < 1e-4
    assert job["result"]["predictions"][0]["label"] == "red"
