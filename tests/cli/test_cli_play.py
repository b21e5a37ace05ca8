"""`topwork play`: a game through pipes, Ctrl-C, a story that is gone on with, the page, what is refused."""

from __future__ import annotations

import io
import os
import re
import signal
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from commands import Desk, Told, end
from tiny_writers import write_tiny_writer
from topwork.cli.playing import Prose

Command = Callable[..., Told]
SMALL = ("--precision", "fp32", "--saves", "stories", "--set", "length=24", "--set", "temperature=1.5")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_writer(tmp_path_factory.mktemp("writers") / "tiny")


@contextmanager
def typed(*lines: str) -> Iterator[None]:
    """Have standard input hold lines, as through a pipe."""
    before, sys.stdin = sys.stdin, io.StringIO("".join(f"{line}\n" for line in lines))
    try:
        yield
    finally:
        sys.stdin = before


def test_a_game_is_played_through_pipes_and_gone_on_with(
    topwork: Command, tiny: Path, tmp_path: Path
) -> None:
    deeds = ("/remember The key is brass.", *["I take the lamp"] * 6, "/context", "/hlep", "/set length 20")
    with typed(*deeds):
        told = topwork("play", tiny, *SMALL, "--start", "fantasy", "--seed", "3")
    assert told.status == 0, told.err
    assert told.out.startswith("\nYou are ")
    assert told.out.count("You take the lamp. ") == 6
    assert "1. The key is brass." in told.out
    assert "Remembered as number 1." in told.err
    assert "Did you mean /help?" in told.err
    [name] = re.findall(r"--load (auto-fantasy-[0-9-]+)$", told.err, re.M)
    assert f"topwork play {tiny} --load {name}" in told.err
    with typed("/print", "/set", "/quit", "never read"):
        again = topwork("play", tiny, *SMALL[:4], "--load", name)
    assert again.status == 0, again.err
    assert "You take the lamp. " in again.out
    assert "length 20 " in again.out
    assert "never read" not in again.out
    assert [path.stem for path in (tmp_path / "stories").glob("*.json")] == [name]


def test_the_same_seed_tells_the_same_and_words_are_masked(
    topwork: Command, tiny: Path, tmp_path: Path
) -> None:
    (tmp_path / "words.txt").write_text("lamp\n", encoding="utf-8")
    told = []
    for _ in range(2):
        with typed("take the lamp", ""):
            words = ("--start", "sea", "--seed", "9", "--filter", "words.txt")
            told.append(topwork("play", tiny, *SMALL, *words).out)
    assert told[0] == told[1]
    assert "You take the ***." in told[0]


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_ctrl_c_stops_what_is_written_and_keeps_the_game(desk: Desk, tiny: Path) -> None:
    words = ("play", str(tiny), *SMALL[:4], "--set", "length=400", "--set", "memory=64", "--start", "sea")
    with desk.start(*words) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"wait\n")
        seen = b""
        while b"You wait." not in seen:
            seen += process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        told = end(process, b"/print\n")
    assert told.status == 0, told.err
    assert "Stopped" in told.err
    assert "Traceback" not in told.err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--start", "opera"), "There is no genre 'opera'"),
        (("--start", "sea", "--prompt", "I wake"), "begins in one way"),
        (("--load", "nowhere"), "There is no story"),
        (("--set", "temperature=9"), "temperature is 9; expected 0 to 5"),
        (("--filter", "none.txt"), "none.txt"),
    ],
)
def test_what_makes_no_sense_is_refused(words: tuple[str, ...], problem: str, topwork: Command) -> None:
    told = topwork("play", "no-such-model", "--saves", "stories", *words)
    assert told.status == 1
    assert problem in told.err


@contextmanager
def captured() -> Iterator[io.StringIO]:
    before, sys.stdout = sys.stdout, io.StringIO()
    try:
        yield sys.stdout
    finally:
        sys.stdout = before


def test_prose_is_wrapped_as_it_comes() -> None:
    with captured() as out:
        prose = Prose(12)
        for piece in ("You take", " the la", "mp. It", " is cold.\n\nVery", " cold\x1b[2J."):
            prose.put(piece)
        prose.end()
    assert out.getvalue() == "You take the\nlamp. It is\ncold.\n\nVery\ncold\\x1b[2J.\n\n"


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_the_page_is_served_until_ctrl_c(desk: Desk, tiny: Path) -> None:
    with desk.start("play", str(tiny), *SMALL, "--web", "--port", "0") as process:
        assert process.stderr is not None
        url = ""
        while not url:
            line = process.stderr.readline().decode()
            assert line, "it ended before it was ready"
            url = "".join(re.findall(r"http://\S+", line))
        with urllib.request.urlopen(url, timeout=20) as response:
            assert b"topwork play" in response.read()
        process.send_signal(signal.SIGINT)
        told = end(process)
    assert told.status == 0
    assert "Traceback" not in told.err
