"""docs/plugins.md builds a package; here it is written down, installed by pip and used in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from markdown_blocks import ROOT, blocks_of

PAGE = ROOT / "docs" / "plugins.md"
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
OFFLINE = ["--no-deps", "--no-build-isolation", "--no-index"]

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class Installed:
    """A folder outside the environment that holds the package, for ``PYTHONPATH``; empty, it stands for nothing."""

    folder: Path
    cache: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "TOPWORK_CACHE": str(self.cache)}
        return subprocess.run(
            [sys.executable, *command], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
        )

    def topwork(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run("-c", "from topwork.cli import main; main()", *words)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    files = {block.file: block.text for block in blocks_of(PAGE) if block.file}
    assert set(files) == {"pyproject.toml", "topwork_nearest_mean.py"}
    for name, text in files.items():
        (source / name).write_text(text, encoding="utf-8")
    subprocess.run([*PIP, *OFFLINE, "--target", str(folder), str(source)], check=True)
    return Installed(folder, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def bare(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("nothing"), installed.cache)


def test_it_is_listed_with_the_package_that_brought_it(installed: Installed) -> None:
    found = json.loads(installed.topwork("plugins", "--json").stdout)
    assert {
        "kind": "recipe",
        "name": "nearest-mean",
        "package": "topwork-nearest-mean",
        "version": "0.1.0",
        "object": "topwork_nearest_mean:NEAREST_MEAN",
    } in found


def test_it_fits_and_the_bundle_predicts_without_it(
    installed: Installed, bare: Installed, photos: Path, tiny_trunk: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "colours.topwork"
    words = ["--recipe", "nearest-mean", "--trunk", str(tiny_trunk), "--out", str(bundle), "--json"]
    done = installed.topwork("fit", str(photos), *words)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["recipe"] == "nearest-mean"
    assert result["targets"]["label"]["test"]["accuracy"]["value"] > 0.8
    without = bare.topwork("predict", str(bundle), str(photos / "red" / "00.jpg"), "--json")
    assert json.loads(without.stdout)["label"] == "red"


def test_it_keeps_the_contract_of_recipes(installed: Installed) -> None:
    test = "tests/test_plugins.py::test_a_recipe_keeps_its_contract[nearest-mean]"
    done = installed.run("-m", "pytest", "-p", "no:cacheprovider", test)
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_it_the_recipe_is_unknown(bare: Installed, photos: Path) -> None:
    done = bare.topwork("fit", str(photos), "--recipe", "nearest-mean")
    assert done.returncode == 1
    assert "There is no recipe 'nearest-mean'" in done.stderr
