"""A real server under load while models of its folder are swapped, refused and rolled back: no request fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from doors import made
from loads import Load

TESTS = Path(__file__).resolve().parents[1]
SCRIPT = """
import sys
from pathlib import Path
from keepers import Told
from loads import Load
from topwork.errors import BundleError
from topwork.serving.hosting import Hosted
from topwork.serving.server import run
from topwork.serving.settings.file import read_settings
from topwork.serving.succession import Succession

def opened(settings, limits):
    text = settings.bundle.read_text()
    if text.startswith("half"):
        raise BundleError("The file is damaged.", next_step="Fit it anew.")
    return Hosted(Told(settings.name, text=text, delay_s=0.002), limits, 4)

succession = Succession(lambda: read_settings(Path(sys.argv[1])), opened)
run(succession.app, port=succession.settings.port, succession=succession,
    on_ready=lambda url: print(url, flush=True))
"""
SETTINGS = """\
port: 0
keys: keys.json
models_dir: models
models_poll: 50ms
models:
  - name: split
    versions:
      - {name: old, bundle: old.topwork}
      - {name: new, bundle: new.topwork, canary: 0.3, promote_after: 50, most_errors: 0.2, most_slower: 100}
"""


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", SCRIPT, str(folder / "topwork.yaml")],
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
            text=True,
        )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://"), (folder / "log").read_text()
        yield url, process
    finally:
        process.kill()
        process.communicate()


def put(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    (folder / "new").write_text(text)
    (folder / "new").replace(path)


def test_swaps_refusals_rollbacks_and_a_promotion_fail_no_request(tmp_path: Path) -> None:
    log = tmp_path / "log"
    key = made(tmp_path / "keys.json", "operator", "predict", "admin")
    (tmp_path / "topwork.yaml").write_text(SETTINGS)
    for name, text in (("old.topwork", "old"), ("new.topwork", "new"), ("models/m/1.topwork", "m1")):
        put(tmp_path, name, text)
    with serving(tmp_path) as (url, process):
        paths = ("/v1/models/m/predict", "/v1/models/split/predict")
        load = Load(
            url, key, paths, b"x", lambda said: str(said["predictions"][0]["text"]), 4, reconnects=False
        )

        def order(word: str, body: bytes | None = b"") -> Any:
            request = urllib.request.Request(f"{url}/v1/admin/models/{word}", body, {"x-api-key": key})
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)

        with load.running():
            load.answers("m1")
            for number in range(2, 8):
                put(tmp_path, f"models/m/{number}.topwork", "bad" if number == 4 else f"m{number}")
                if number == 4:
                    load.until(lambda: "4.topwork is not served" in log.read_text())
                    load.answers("m3")
                else:
                    load.answers(f"m{number}")
            order("m/rollback")
            load.answers("m6")
            (tmp_path / "models/m/6.topwork").unlink()
            load.answers("m5")
            put(tmp_path, "models/m/5.topwork", "half")
            load.until(lambda: "5.topwork is not served" in log.read_text())
            load.answers("m5")
            load.until(lambda: order("split", None)["canary"]["phase"] == "promoted")
            load.answers("new", 50)
        assert load.failed == []
        assert {f"m{number}" for number in (1, 2, 3, 5, 6, 7)} | {"old", "new"} == set(load.seen)
        process.terminate()
        process.communicate(timeout=60)
        err = log.read_text()
        assert process.returncode == 0
        assert err.count("is not served") == 2
        assert "the canary new was promoted" in err
        assert "Traceback" not in err
