"""What every command shares: help, the version, listings, exit statuses, tracebacks, Ctrl-C, terminals."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commands import PROGRAM, Desk, Told, end
from quick import PROBE_WORDS
from topwork import Surroundings, __version__
from topwork.cli.lines import one_line

Command = Callable[..., Told]
COMMANDS = [
    *(
        ["fit"],
        ["lr-find"],
        ["evaluate"],
        ["predict"],
        ["serve"],
        ["plugins"],
        ["data", "check"],
        ["trunks", "list"],
    ),
    *(
        ["bundle", "inspect"],
        ["bundle", "report"],
        ["bundle", "compare"],
        ["keys", "create"],
        ["keys", "list"],
        ["keys", "revoke"],
        ["cache", "info"],
        ["cache", "clear"],
    ),
]


# --- words --------------------------------------------------------------------------------------------


def test_the_version_is_told(topwork: Command) -> None:
    told = topwork("--version")
    assert (told.status, told.out, told.err) == (0, f"topwork {__version__}\n", "")


def test_the_package_is_run_as_the_command(desk: Desk, topwork: Command) -> None:
    run = (sys.executable, "-W", "error", "-m", "topwork")
    assert desk.run("--version", program=run) == topwork("--version")
    wrong = desk.run("fit", "nowhere", program=run)
    assert wrong == topwork("fit", "nowhere")
    assert wrong.status == 1


def test_every_command_has_help_that_fits_a_terminal(topwork: Command) -> None:
    overview = topwork("--help").out
    for words in COMMANDS:
        told = topwork(*words, "--help")
        assert told.status == 0
        assert told.out.startswith(f"Usage: topwork {' '.join(words)}")
        assert max(map(len, told.out.splitlines())) <= 80
        assert f"\n  {words[0]} " in overview
    assert "..." not in overview.split("Commands:")[1], "a summary was cut off"


WRONG_WORDS = {
    "fot photos": "Did you mean 'fit'?",
    "fit": "Missing argument 'DATA'",
    "fit photos --bogus": "No such option: --bogus",
    "fit photos --seed x": "Invalid value for '--seed'",
    "fit photos --seed -1": "Invalid value for '--seed'",
    "fit photos --layout heap": "'heap' is not one of 'auto', 'folders'",
    "fit photos --engine steam": "'steam' is not one of 'auto', 'openvino'",
    "fit photos --device gpu": "'gpu' is not one of 'auto', 'cpu', 'cuda'",
    "fit photos --out=": "it is empty; expected a path",
    "lr-find": "Missing argument 'DATA'",
    "lr-find photos --steps 2": "Invalid value for '--steps'",
    "evaluate a.topwork": "Missing argument 'DATA'",
    "predict": "Missing argument 'BUNDLE'",
    "predict a.topwork": "Missing argument 'INPUTS'",
    "predict a.topwork b.jpg --format xml": "'xml' is not one of 'text', 'jsonl', 'csv'",
    "serve": "Invalid value for 'BUNDLE': it is missing; give one, or --config",
    "serve a.topwork --keys=": "it is empty; expected a path",
    "keys create": "Missing argument 'NAME'",
    "serve a.topwork --port http": "Invalid value for '--port'",
}


@pytest.mark.parametrize("words", WRONG_WORDS)
def test_a_mistake_on_the_command_line_ends_with_two_and_points_to_the_help(
    words: str, topwork: Command
) -> None:
    told = topwork(*words.split())
    assert (told.status, told.out) == (2, "")
    assert WRONG_WORDS[words] in told.err
    assert re.search(r"Try 'topwork.* --help' for help\.", told.err)


def test_an_empty_word_is_not_the_folder_one_stands_in(topwork: Command) -> None:
    told = topwork("fit", "")
    assert told.status == 2
    assert "it is empty; expected a path" in told.err


# --- listings -----------------------------------------------------------------------------------------


def test_plugins_are_listed(topwork: Command) -> None:
    told = topwork("plugins")
    assert told.status == 0
    assert re.search(r"^recipe +probe +topwork +\S+ +topwork.recipes.probe:PROBE$", told.out, re.MULTILINE)
    kinds = {one["kind"] for one in topwork("plugins", "--json").json}
    assert kinds == {"task", "trunk", "recipe", "writer"}


def test_trunks_are_listed(topwork: Command) -> None:
    told = topwork("trunks", "list")
    assert told.status == 0
    for name in ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2", "mobilenet-v2"):
        assert re.search(rf"^{name} +\d\.\d M +\d+ × \d+ ", told.out, re.MULTILINE)
    assert "timm/NAME" in told.err
    one = next(t for t in topwork("trunks", "list", "--json").json if t["name"] == "efficientnet-lite0")
    assert one["n_features"] == 1280
    assert one["commercial"] is True
    assert one["items_per_s"] is None or one["items_per_s"] > 0


def test_a_bundle_is_inspected(topwork: Command, bundle: Path) -> None:
    told = topwork("bundle", "inspect", bundle)
    assert (told.status, told.err) == (0, "")
    assert "Trunk   tiny (apache-2.0), recipe probe" in told.out
    assert "Its golden examples were replayed" in told.out
    assert topwork("bundle", "inspect", bundle, "--json").json["trunk"]


def test_the_report_of_a_bundle_is_printed_in_every_form(topwork: Command, bundle: Path) -> None:
    as_markdown = topwork("bundle", "report", bundle)
    assert (as_markdown.status, as_markdown.err) == (0, "")
    assert as_markdown.out.startswith("# ")
    as_json = json.loads(topwork("bundle", "report", bundle, "--format", "json").out)
    (result,) = as_json["targets"].values()
    accuracy = result["test"]["accuracy"]["value"]
    page = topwork("bundle", "report", bundle, "--format", "html").out
    assert page.startswith("<!doctype html>")
    for form in (as_markdown.out, page):
        assert f"{100 * accuracy:.1f}" in form


@pytest.mark.usefixtures("fitted")
def test_the_cache_is_told_of_and_cleared(
    topwork: Command, around: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = shutil.copytree(around.cache_dir, tmp_path / "cache")
    monkeypatch.setenv("TOPWORK_CACHE", str(own))
    assert re.match(rf"{own}: [\d,]+ cached features, ", topwork("cache", "info").out)
    assert topwork("cache", "info", "--json").json["n_entries"] >= 60
    graphs = sorted((own / "graphs").iterdir())
    told = topwork("cache", "clear")
    assert (told.status, told.out) == (0, "The feature cache is empty.\n")
    assert topwork("cache", "info", "--json").json["n_entries"] == 0
    assert sorted((own / "graphs").iterdir()) == graphs != []


def test_a_cache_that_cannot_be_used_is_told_of(
    topwork: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TOPWORK_CACHE", str(tmp_path / "file" / "cache"))
    told = topwork("cache", "info")
    assert told.status == 0
    assert "could not be used" in told.err
    cleared = topwork("cache", "clear")
    assert cleared.status == 1
    assert "a part of the path is a file" in cleared.err


# --- errors -------------------------------------------------------------------------------------------


def test_a_traceback_is_shown_to_those_who_ask(desk: Desk) -> None:
    plain = desk.run("fit", "nowhere")
    assert plain.status == 1
    assert plain.err.startswith("Error: ")
    assert "Traceback" not in plain.err
    asked = desk.run("fit", "nowhere", environment={"TOPWORK_TRACEBACK": "1"})
    assert asked.status == 1
    assert "Traceback" in asked.err
    assert "DataError" in asked.err


FAULTY = "from topwork.cli.entry import guarded\ndef fail(): {body}\nguarded(fail)"


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ("raise KeyError('lost')", 70, "topwork itself failed: KeyError: 'lost'"),
        ("open('/nowhere/at/all')", 1, "Cannot use /nowhere/at/all: there is no such place."),
        ("raise KeyboardInterrupt", 130, ""),
    ],
)
def test_what_nobody_foresaw_is_told_without_a_traceback(
    body: str, status: int, text: str, desk: Desk
) -> None:
    told = desk.run(program=(sys.executable, "-c", FAULTY.format(body=body)))
    assert told.status == status
    assert text in told.err
    assert "Traceback" not in told.err


# --- Ctrl-C -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_ctrl_c_during_a_fit_ends_it_and_leaves_nothing(desk: Desk, photos: Path, tiny_trunk: Path) -> None:
    fresh = Desk(desk.folder, desk.folder / "cache")
    with fresh.start(
        "fit", str(photos), "--trunk", str(tiny_trunk), *PROBE_WORDS, "--out", "models/m"
    ) as process:
        assert process.stderr is not None
        assert b"Class folders" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        told = end(process)
    assert told.status == 130
    assert told.err.splitlines()[-1] == "Stopped."
    assert "Traceback" not in told.err
    assert list((desk.folder / "models").iterdir()) == []


STUCK = """
import threading, time
from topwork.cli.interruption import Interruption
with Interruption(patience_s={patience_s}):
    threading.Thread(target=time.sleep, args=(600,)).start()
    print("at work", flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize(("n_times", "patience_s"), [(1, 0.1), (2, 600)])
def test_ctrl_c_ends_a_command_whose_threads_go_on(n_times: int, patience_s: float, desk: Desk) -> None:
    """Either patience ends, or a second Ctrl-C does not wait for that."""
    program = (sys.executable, "-c", STUCK.format(patience_s=patience_s))
    with desk.start(program=program) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            process.send_signal(signal.SIGINT)
            assert process.stderr.readline() == b"Stopped.\n"
            if n_times == 2:
                process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
        finally:
            process.kill()


# --- terminals ----------------------------------------------------------------------------------------


def in_terminal(desk: Desk, *words: str, columns: int) -> str:
    """Run a command in a pseudo-terminal and return all that it wrote there."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    streams: dict[str, Any] = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    settings = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR", "TERM")}
    settings |= {"TOPWORK_CACHE": str(desk.cache), "TERM": "xterm"}
    with subprocess.Popen([*PROGRAM, *words], cwd=desk.folder, env=settings, **streams) as process:
        os.close(theirs)
        shown = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)
    assert process.returncode == 0, shown.decode()
    return shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other side has closed it
        return b""


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX's")
def test_a_terminal_gets_bars_that_go_and_a_cursor_that_stays(desk: Desk, photos: Path) -> None:
    shown = in_terminal(desk, "data", "check", str(photos), columns=80)
    assert "━" in shown
    assert "0/60" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    last_screen = shown[shown.rindex("\x1b[?25h") :]
    assert "━" not in last_screen
    assert "to test on." in last_screen


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX's")
def test_a_table_too_wide_for_the_terminal_becomes_blocks(desk: Desk) -> None:
    narrow = in_terminal(desk, "trunks", "list", columns=60).replace("\r\n", "\n")
    assert "\nmobilenet-v2\n  parameters  2.2 M\n" in narrow
    wide = in_terminal(desk, "trunks", "list", columns=250)
    assert re.search(r"mobilenet-v2 +2\.2 M +224 × 224", wide)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain 日本 🌸\ttab", "plain 日本 🌸\ttab"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("\x1b[2Jcleared", "\\x1b[2Jcleared"),
        ("\x9b\u2028\x7f", "\\x9b\\u2028\\x7f"),
    ],
)
def test_a_line_stays_a_line(text: str, shown: str) -> None:
    assert one_line(text) == shown
