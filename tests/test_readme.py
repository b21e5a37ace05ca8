"""The README does what it says: its commands, its Python and its server are run, block by block, in one folder.

So is the Python of those pages in docs/ that need no more than the README's files.

The folder holds what the README says it does: ``photos/``, ``others/``, ``new.jpg``, ``reviews.csv`` and ``offers/``.
The blocks run as they stand, with three allowances. Lines that call make are only checked against the Makefile; the
port is a free one; and the cache holds random weights for the default trunks (see `stand_in_weights`), so that nothing
is downloaded.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import sleep

import pytest

from markdown_blocks import ROOT, Block, blocks_of
from stand_in_weights import fill_cache
from topwork import load
from toy_photos import COLOURS, photo, write_mixed, write_photos
from toy_texts import write_text_table

README = ROOT / "README.md"
PORT = "8000"
METRIC = re.compile(r"^  ([a-zA-Z][\w ]*?) {2,}(?:under |over )?\S*\d.* to ", re.M)
STARTS_A_SERVER = "topwork serve "
READY = re.compile(r"Ready at (\S+)[\s\S]*?(curl [^\n]*)\n")


@dataclass(frozen=True, slots=True)
class Desk:
    """Where the README is worked through: a folder, and the environment of an activated venv."""

    folder: Path
    environment: Mapping[str, str]

    def run(self, command: list[str], text: str) -> str:
        done = subprocess.run(
            command,
            input=text,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def shell(self, text: str) -> str:
        return self.run(["sh", "-eu"], text)

    def python(self, text: str) -> str:
        return self.run([sys.executable, "-W", "error", "-"], text)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder, cache = tmp_path_factory.mktemp("desk"), tmp_path_factory.mktemp("cache")
    fill_cache(cache)
    write_photos(folder / "photos", 12)
    write_photos(folder / "others", 5, seed=7)
    write_text_table(folder / "reviews.csv")
    write_mixed(folder / "offers", 60).rename(folder / "offers" / "offers.csv")
    photo(COLOURS["red"], 12345).save(folder / "new.jpg")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # No GPU: torch would run there, and it runs no graphs but the weights themselves.
    return Desk(folder, {**os.environ, "PATH": path, "TOPWORK_CACHE": str(cache), "CUDA_VISIBLE_DEVICES": ""})


@contextmanager
def server(desk: Desk, command: str) -> Iterator[str]:
    """Run a command that serves until it is told to stop, and give what it says once it is ready."""
    told = desk.folder / "server.txt"
    with told.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            ["sh", "-c", f"exec {command}"], cwd=desk.folder, env=desk.environment, stderr=stream
        )
    try:
        yield wait_until_ready(process, told)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0, told.read_text()
    finally:
        process.kill()
        process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], told: Path) -> str:
    while process.poll() is None:
        if READY.search(text := told.read_text(encoding="utf-8")):
            return text
        sleep(0.1)
    raise AssertionError(f"the server ended: {told.read_text(encoding='utf-8')}")


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def of_language(language: str) -> list[Block]:
    found = [block for block in blocks_of(README) if block.language == language]
    assert found, f"the README has no {language} block"
    return found


def make_targets() -> set[str]:
    return set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))


def keys_of(value: object) -> object:
    """Return the shape of a JSON value: keys of objects, shape of the first item of lists, else its type."""
    if isinstance(value, dict):
        return {key: keys_of(one) for key, one in value.items()}
    if isinstance(value, list):
        return [keys_of(one) for one in value[:1]]
    return "number" if isinstance(value, int | float) else type(value).__name__


def without_other_metrics(result: dict[str, object]) -> dict[str, object]:
    """Drop every metric but the one that the README shows."""
    text = json.dumps(result)
    return dict(
        json.loads(text, object_hook=lambda one: {"accuracy": one["accuracy"]} if "accuracy" in one else one)
    )


# --- the blocks -----------------------------------------------------------------------------------------


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    assert {block.language for block in blocks_of(README)} == {"sh", "python", "json", "text"}


def test_make_has_the_targets_that_the_readme_names() -> None:
    named = set(re.findall(r"\bmake ([a-z-]+)\b", README.read_text(encoding="utf-8")))
    assert named >= {"demo", "install", "test"}
    assert named <= make_targets()


@pytest.fixture(scope="module")
def result(desk: Desk) -> dict[str, object]:
    """Fit, leave photos.topwork on the desk, and return the result."""
    return dict(json.loads(desk.shell("topwork fit photos/ --recipe probe --proof none --quiet --json")))


@pytest.mark.slow
def test_the_result_looks_as_it_is_shown(result: dict[str, object]) -> None:
    [block] = of_language("json")
    shown, got = json.loads(block.text), without_other_metrics(result)
    assert shown.pop("cautions") == []
    assert got.pop("cautions") == result["cautions"] != [], (
        "36 photos are few: something must be said of that"
    )
    assert keys_of(shown) == keys_of(got)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_its_commands_and_its_python_run(desk: Desk) -> None:
    """Run the blocks in their order; while a server runs, the shell blocks that follow talk to it."""
    port, n_run = free_port(), {"sh": 0, "python": 0, "server": 0}
    waiting = [block for block in blocks_of(README) if block.language in {"sh", "python"}]
    while waiting:
        block, *waiting = waiting
        text = block.text.replace(PORT, port)
        if block.language == "python":
            desk.python(text)
        elif text.startswith(STARTS_A_SERVER):
            talk, *waiting = waiting
            with server(desk, text) as told:
                check_answers(desk.shell(talk.text.replace(PORT, port)))
                check_what_it_told(desk, told, port)
            n_run["server"] += 1
        elif not text.startswith("make "):
            check_tables(text, desk.shell(text))
        n_run[block.language] += 1
    assert n_run == {"sh": 5, "python": 4, "server": 1}
    check_files(desk.folder)


@pytest.mark.slow
@pytest.mark.usefixtures("result")
@pytest.mark.parametrize("page", ["bundle", "evaluation", "verbs"])
def test_the_python_of_other_pages_runs(page: str, desk: Desk) -> None:
    blocks = [block.text for block in blocks_of(ROOT / "docs" / f"{page}.md") if block.language == "python"]
    assert blocks
    for text in blocks:
        desk.python(text)


def check_answers(output: str) -> None:
    """The two predictions say red, and the description of the API follows."""
    answers = re.findall(r'\{"model":"photos","predictions":\[\{"label":"(\w+)"', output)
    assert answers == ["red", "red"], output
    assert '"openapi"' in output


def check_tables(commands: str, output: str) -> None:
    """Each fit and each evaluation prints the metrics that the README shows."""
    n_tables = len(re.findall(r"^topwork (?:fit|evaluate) ", commands, re.M))
    names = ["accuracy", "balanced accuracy", "macro F1", "log loss", "calibration error"]
    [shown] = of_language("text")
    assert [name for name in METRIC.findall(shown.text) if name in names] == names
    assert [name for name in METRIC.findall(output) if name in names] == n_tables * names


def check_what_it_told(desk: Desk, told: str, port: str) -> None:
    """The server is where it says, and the example that it gives works."""
    ready = READY.search(told)
    assert ready is not None
    assert ready[1] == f"http://127.0.0.1:{port}"
    assert '"label":"red"' in desk.shell(ready[2].replace("@FILE", "@new.jpg") + " --fail")


def check_files(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} >= {
        "photos.topwork",
        "photos.report.html",
        "reviews.topwork",
        "reviews.report.html",
        "others.report.html",
        "mine.topwork",
    }
    rows = (folder / "predictions.csv").read_text(encoding="utf-8").splitlines()
    assert rows[0] == "input,label,error,in_domain,blue,green,red"
    assert len(rows) == 1 + 15
    assert load(folder / "mine.topwork").record.trunk.name == "efficientnet-lite0"
