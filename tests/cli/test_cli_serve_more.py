"""`topwork serve` of what is no bundle alone, as a process: a trunk, one's own code, a chain."""

from __future__ import annotations

import json
import os
import shutil
import signal
import urllib.error
from pathlib import Path

import numpy as np
import pytest

from commands import Desk, end
from served import ask, serving
from tiny_trunk import N_FEATURES

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")

OWN_CODE = """
from topwork import DecodeError

def before(content):
    if content == b"empty":
        raise DecodeError("It is empty.", next_step="Send a photo.")
    return content.removeprefix(b"prefix")

def after(answer):
    return {"colour": answer["label"].upper()}
"""
CHAIN = """
models:
  - name: both
    chain:
      - bundle: {bundle}
        name: first
      - bundle: {bundle}
        name: second
        when: {{first: {{label: green}}}}
      - trunk: {trunk}
"""


def test_a_trunk_is_served_unfitted(desk: Desk, tiny_trunk: Path, photos: Path) -> None:
    content = (photos / "green" / "03.jpg").read_bytes()
    with serving(desk, "--trunk", str(tiny_trunk), "--normalize") as (process, url):
        answer = ask(f"{url}/predict", content)
        assert answer["model"] == "tiny"
        vector = np.array(answer["predictions"][0]["embedding"])
        assert (vector.shape, round(float(np.linalg.norm(vector)), 3)) == ((N_FEATURES,), 1)
        process.send_signal(signal.SIGTERM)
        assert end(process).status == 0


def test_own_code_stands_around_a_model(desk: Desk, bundle: Path, photos: Path) -> None:
    (desk.folder / "own_colours.py").write_text(OWN_CODE, encoding="utf-8")
    content = (photos / "green" / "03.jpg").read_bytes()
    with serving(desk, str(bundle), "--app", "own_colours") as (_, url):
        assert ask(f"{url}/predict", b"prefix" + content)["predictions"] == [{"colour": "GREEN"}]
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(f"{url}/predict", b"empty")
        told = json.load(caught.value)["error"]
        assert (caught.value.code, told["message"]) == (422, "It is empty.")


def test_own_code_that_is_not_there_is_an_error_at_the_start(desk: Desk, bundle: Path) -> None:
    told = desk.run("serve", str(bundle), "--port", "0", "--app", "own_nothing")
    assert told.status == 1
    assert told.err.startswith("Error: The app 'own_nothing' cannot be imported")
    assert str(desk.folder) in told.err
    assert "Traceback" not in told.err


@pytest.mark.slow
def test_a_chain_of_a_file_is_served(desk: Desk, bundle: Path, tiny_trunk: Path, photos: Path) -> None:
    text = CHAIN.format(bundle=bundle, trunk=tiny_trunk)
    (desk.folder / "topwork.yaml").write_text(text, encoding="utf-8")
    with serving(desk, "-c", "topwork.yaml") as (_, url):
        found = {}
        for colour in ("green", "red"):
            content = (photos / colour / "03.jpg").read_bytes()
            [found[colour]] = ask(f"{url}/v1/models/both/predict", content)["predictions"]
        assert {colour: list(one) for colour, one in found.items()} == {
            "green": ["first", "second", "tiny"],
            "red": ["first", "tiny"],
        }
        assert found["green"]["first"] == found["green"]["second"]
        schema = ask(f"{url}/v1/models/both")["answer_schema"]
        assert schema["required"] == ["first", "tiny"]


def version_of(url: str, name: str, body: bytes) -> str:
    request = urllib.request.Request(
        f"{url}/v1/models/{name}/predict", data=body, headers={"Content-Type": "image/jpeg"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        assert json.load(response)["predictions"][0]["label"] == "green"
        return str(response.headers["X-Topwork-Version"])


def test_a_folder_of_bundles_is_followed_within_a_memory(desk: Desk, bundle: Path, photos: Path) -> None:
    folder, photo = desk.folder / "models" / "colours", (photos / "green" / "03.jpg").read_bytes()
    folder.mkdir(parents=True)
    shutil.copy(bundle, folder / "1.topwork")
    words = ("--models-dir", "models", "--models-poll", "100ms", "--model-memory", "4GiB")
    with serving(desk, *words) as (process, url):
        assert version_of(url, "colours", photo) == "1"
        (folder / "2.topwork").write_bytes(bundle.read_bytes()[:-100])
        assert process.stderr is not None
        while "2.topwork is not served" not in (line := process.stderr.readline().decode()):
            assert line, "it has ended"
        assert version_of(url, "colours", photo) == "1"
        shutil.copy(bundle, folder / "3.topwork")
        while not process.stderr.readline().decode().startswith("Settings applied: opened colours"):
            pass
        assert version_of(url, "colours", photo) == "3"
        process.send_signal(signal.SIGTERM)
        assert end(process).status == 0


VERSIONS = """
port: 0
models:
  - name: colours
    versions:
      - {{name: v1, bundle: {bundle}}}
      - {{name: v2, bundle: {bundle}, canary: 0.5}}
      - {{name: v3, bundle: {bundle}, shadow: true}}
"""


def test_versions_of_a_file_are_served(desk: Desk, bundle: Path, photos: Path) -> None:
    (desk.folder / "topwork.yaml").write_text(VERSIONS.format(bundle=bundle), encoding="utf-8")
    photo = (photos / "green" / "03.jpg").read_bytes()
    with serving(desk, "-c", "topwork.yaml") as (_, url):
        assert {version_of(url, "colours", photo) for _ in range(30)} == {"v1", "v2"}


def test_a_condition_that_never_holds_is_an_error_at_the_start(
    desk: Desk, bundle: Path, tiny_trunk: Path
) -> None:
    text = CHAIN.format(bundle=bundle, trunk=tiny_trunk).replace("green", "gren")
    (desk.folder / "topwork.yaml").write_text(text, encoding="utf-8")
    told = desk.run("serve", "-c", "topwork.yaml")
    assert told.status == 1
    assert "first.label is never 'gren'; there is" in told.err
