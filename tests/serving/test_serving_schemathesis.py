"""Schemathesis finds nothing: what the description allows is accepted, what it forbids is not.

It is run as a user runs it, against a server process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from doors import made
from exploring import schemathesis

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).resolve().parents[1]
SERVER = """
import os, sys
from dataclasses import replace
from pathlib import Path
from doors import keyed_door
from fake_servable import PICTURE, TEXT, FakeServable
from topwork.contracts import Wire
from topwork.serving.app import Application
from topwork.serving.jobs.batches import Batches
from topwork.serving.hosting import Hosted
from topwork.serving.jobs.jobs import Jobs
from topwork.serving.limits import Limits
from topwork.serving.server import run
from topwork.serving.traffic.shares import Lane, Traffic
from topwork.serving.traffic.versions import Versions
from topwork.verbs.served_batches import run_served
wires = {
    "picture": PICTURE,
    "text": replace(TEXT, max_bytes=1 << 20),
    "numbers": Wire("numbers", ("text/csv",), "textarea", 1 << 20, "vector"),
}
limits = Limits(max_inputs=int(sys.argv[1]), max_waiting=1000, max_jobs=1_000_000)
def split(name):
    members = {version: Hosted(FakeServable(name, wires[name]), limits) for version in ("v1", "v2")}
    return Versions(members, Traffic(name, [Lane(version, 1.0) for version in members]), {})
names = [one.partition("*") for one in sys.argv[2:]]
hosted = [split(name) if star else Hosted(FakeServable(name, wires[name]), limits) for name, star, _ in names]
keys = os.environ.get("KEYS")
door = keyed_door(Path(keys)) if keys else None
folder = os.environ.get("JOBS")
batches = Batches([Path(folder)], run_served) if folder else None
jobs = Jobs(Path(folder) / "jobs.sqlite", batches=batches) if folder else None
run(Application(hosted, limits, door=door, jobs=jobs), port=0, on_ready=lambda url: print(url, flush=True))
"""
MAX_INPUTS = 64
"""As by default. Where forms have more parts than that the server refuses, which no schema can say of them all."""


@contextmanager
def serving(*names: str, keys: Path | None = None, jobs: Path | None = None) -> Iterator[str]:
    paths = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(MAX_INPUTS), *names],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": paths, "KEYS": str(keys or ""), "JOBS": str(jobs or "")},
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "n_operations"),
    [(["picture"], 20), (["text"], 22), (["numbers"], 20), (["text", "numbers", "picture"], 24)],
)
def test_it_finds_nothing(names: list[str], n_operations: int, tmp_path: Path) -> None:
    with serving(*names) as url:
        done = schemathesis(url, tmp_path, "--max-examples", "30", "--exclude-path-regex", "/v2/.*infer")
    assert done.returncode == 0, done.stdout
    assert f"Tested: {n_operations}\n" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["picture", "text", "numbers"])
def test_it_finds_nothing_in_tensors(name: str, tmp_path: Path) -> None:
    # That data has as many values as its shape of two dimensions says, no JSON Schema can tell.
    unsaid = ("--exclude-checks", "positive_data_acceptance") if name == "numbers" else ()
    with serving(name) as url:
        options = ("--max-examples", "30", "--include-path-regex", "/v2/.*infer", *unsaid)
        done = schemathesis(url, tmp_path, *options)
    assert done.returncode == 0, done.stdout
    assert "Tested: 2\n" in done.stdout


@pytest.mark.slow
def test_it_finds_nothing_where_versions_share_the_requests(tmp_path: Path) -> None:
    # With two headers described the tool at times takes an unknown one beside them for forbidden, which it is not.
    further = "[generation]\nallow-extra-parameters = false\n"
    with serving("text*") as url:
        options = ("--max-examples", "30", "--exclude-path-regex", "/v2/.*infer")
        done = schemathesis(url, tmp_path, *options, further=further)
    assert done.returncode == 0, done.stdout
    assert "Tested: 22\n" in done.stdout


@pytest.mark.slow
def test_it_finds_nothing_behind_keys(tmp_path: Path) -> None:
    key = made(tmp_path / "keys.json", "phone")
    with serving("picture", keys=tmp_path / "keys.json") as url:
        # With a header of its own the tool takes an unknown header for forbidden; the other tests look at what is.
        options = ("--max-examples", "5", "--exclude-checks", "negative_data_rejection")
        done = schemathesis(url, tmp_path, *options, "-H", f"X-API-Key: {key}")
    assert done.returncode == 0, done.stdout
    assert "Tested: 22\n" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["picture", "text", "numbers"])
def test_it_finds_nothing_in_jobs(name: str, tmp_path: Path) -> None:
    with serving(name, jobs=tmp_path) as url:
        done = schemathesis(url, tmp_path, "--max-examples", "30", "--include-path-regex", "jobs|batches")
    assert done.returncode == 0, done.stdout
    assert "Tested: 5\n" in done.stdout


def test_it_would_find_something(tmp_path: Path) -> None:
    """Ask only for a status that nothing has: were the tool or its options broken, it would say that all is well."""
    with serving("text") as url:
        wrong = "[checks.positive_data_acceptance]\nexpected-statuses = [299]\n"
        done = schemathesis(url, tmp_path, "--max-examples", "1", "--include-path", "/livez", further=wrong)
    assert done.returncode == 1, done.stdout
    assert "Schema-valid request rejected" in done.stdout


def test_it_finds_nothing_at_a_glance(tmp_path: Path) -> None:
    with serving("text") as url:
        options = (
            "--max-examples",
            "5",
            "--include-path",
            "/predict",
            "--include-path",
            "/v2/models/{name}/infer",
        )
        done = schemathesis(url, tmp_path, *options)
    assert done.returncode == 0, done.stdout
    assert "Tested: 2\n" in done.stdout
