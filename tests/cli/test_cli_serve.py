"""`topwork serve` as a process: ready, a request, a signal, the end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from commands import Desk, Told, end
from markdown_blocks import ROOT
from served import ask, serving

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_it_answers_until_it_is_told_to_stop(
    ending: signal.Signals, desk: Desk, bundle: Path, photos: Path
) -> None:
    with serving(desk, str(bundle)) as (process, url):
        answer = ask(f"{url}/predict", (photos / "green" / "03.jpg").read_bytes())
        assert "green" in json.dumps(answer)
        assert "/predict" in json.dumps(ask(f"{url}/openapi.json"))
        process.send_signal(ending)
        told = end(process)
    assert (told.status, told.out) == (0, "")
    assert f"curl -F file=@FILE {url}/predict" in told.err


def test_a_disturbed_bundle_is_not_served(desk: Desk, bundle: Path) -> None:
    content = bytearray(bundle.read_bytes())
    content[len(content) // 2] ^= 1
    (desk.folder / "disturbed.topwork").write_bytes(content)
    told = desk.run("serve", "disturbed.topwork", "--port", "0")
    assert told.status == 1
    assert told.err.startswith("Error: disturbed.topwork")
    assert "Ready" not in told.err
    assert "Traceback" not in told.err


def test_a_port_that_is_taken_is_an_error(desk: Desk, bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        told = desk.run("serve", str(bundle), "--port", port)
    assert told.status == 1
    assert f"port {port}" in told.err
    assert "Choose another port" in told.err


# --- settings -----------------------------------------------------------------------------------------


def test_settings_come_from_a_file_and_are_applied_again(desk: Desk, bundle: Path, photos: Path) -> None:
    photo = (photos / "green" / "03.jpg").read_bytes()
    settings = desk.folder / "topwork.yaml"
    text = f"port: 0\nmodels:\n- {{bundle: {bundle}, name: one}}\n- {{bundle: {bundle}, name: two}}\n"
    settings.write_text(text)
    with serving(desk, "-c", "topwork.yaml", "--max-inputs", "5") as (process, url):
        assert ask(f"{url}/predict", photo)["model"] == "one"
        assert ask(f"{url}/v1/models/two/predict", photo)["model"] == "two"
        settings.write_text(text.replace("two", "three") + "limits: {max_inputs: 6, max_body: 10MB}\n")
        process.send_signal(signal.SIGHUP)
        assert process.stderr is not None
        while not (line := process.stderr.readline().decode()).startswith("Settings"):
            assert line.startswith("  "), line
        assert line == "Settings applied: opened three; kept one; removed two; other limits.\n"
        assert ask(f"{url}/v1/models/three/predict", photo)["model"] == "three"
        model = ask(f"{url}/v1/models/one")
        assert isinstance(model["input"], dict)
        assert (model["input"]["max_inputs"], model["input"]["max_bytes"]) == (
            5,
            10_000_000,
        )  # a flag beats the file
        process.send_signal(signal.SIGTERM)
        assert end(process).status == 0


@pytest.fixture
def _hangups_mean_something() -> Iterator[None]:
    """Let SIGHUP end the programs that are started here; below nohup they would inherit that it is ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("_hangups_mean_something")
def test_several_bundles_may_be_given(desk: Desk, bundle: Path, topwork: Callable[..., Told]) -> None:
    key = topwork("keys", "create", "me", "--scope", "both", "--keys", "keys.json").out.strip()
    other = desk.folder / "other.topwork"
    shutil.copy(bundle, other)
    with serving(desk, str(bundle), "other.topwork", "--keys", "keys.json") as (process, url):
        listing = urllib.request.Request(f"{url}/v1/models", headers={"X-API-Key": key})
        with urllib.request.urlopen(listing, timeout=60) as response:
            assert [one["name"] for one in json.load(response)["models"]] == [bundle.stem, "other"]
        refitted = desk.folder / "refitted"
        shutil.copy(bundle, refitted)
        refitted.replace(other)
        order = urllib.request.Request(f"{url}/v1/admin/reload", b"", {"X-API-Key": key})
        with urllib.request.urlopen(order, timeout=60) as response:
            assert json.load(response)["opened"] == ["other"]
        process.send_signal(signal.SIGHUP)  # without a settings file it is what it is for every program
        assert end(process).status == -signal.SIGHUP


def test_mistakes_in_settings_are_told(desk: Desk, bundle: Path, topwork: Callable[..., Told]) -> None:
    (desk.folder / "topwork.yaml").write_text(f"port: 0\nmodels:\n- bundel: {bundle}\n")
    (desk.folder / "empty.yaml").write_text("port: 0\n")
    mistakes: list[tuple[list[object], int, str]] = [
        (["-c", "topwork.yaml"], 1, "topwork.yaml, line 3: entry 1 of models has no setting bundel"),
        (["-c", "nothing.yaml"], 1, "Cannot read nothing.yaml"),
        (["-c", "empty.yaml"], 1, "There is no model to serve"),
        ([bundle, "--deadline", "soon"], 2, "'--deadline': 'soon'; expected a duration"),
        ([bundle, "--port", "65536"], 2, "expected a whole number from 0 to 65535"),
        ([bundle, "--engine", "torch"], 2, "expected one of auto, openvino, onnxruntime"),
        ([bundle, "--below", "elsewhere"], 1, "does not lie below elsewhere"),
        ([bundle, bundle, "--port", "0"], 1, "2 models with 1 different names"),
    ]
    for words, status, told in mistakes:
        given = topwork("serve", *words)
        assert (given.status, told in given.err) == (status, True), given.err


def test_the_schema_is_printed(topwork: Callable[..., Told]) -> None:
    told = topwork("serve", "--schema")
    assert (told.status, told.err) == (0, "")
    assert json.loads(told.out)["title"] == "topwork.yaml"
    assert told.out == (ROOT / "docs" / "topwork.schema.json").read_text(encoding="utf-8")
