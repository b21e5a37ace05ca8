"""Mistakes that nobody would see in a report, planted on purpose: each must make the test fail that watches for it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from markdown_blocks import ROOT, prose_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass(frozen=True, slots=True)
class Mutation:
    """One replacement in one file below ``src/topwork``, and the test that must notice."""

    mistake: str
    file: str
    before: str
    after: str
    test: str


MUTATIONS = (
    Mutation(
        "a wrong rate for a stage",
        "training/loop.py",
        "zip(trainee.groups(), rung.rates, strict=True)",
        "zip(trainee.groups(), rung.rates[::-1], strict=True)",
        "tests/training/test_loop.py::test_every_stage_moves_at_its_own_rate",
    ),
    Mutation(
        "a shifted label",
        "training/loop.py",
        "torch.from_numpy(goal.truth[rows[0]])",
        "torch.from_numpy(goal.truth[rows[0] - 1])",
        "tests/training/test_loop.py::test_it_learns_what_the_untrained_network_does_not_know",
    ),
    Mutation(
        "an uncalibrated temperature",
        "recipes/result.py",
        "solver.calibrate(truth, raw).fold_into(head_of(outcome.weights, target))",
        "head_of(outcome.weights, target)",
        "tests/recipes/test_ladder.py::test_the_model_is_what_validation_saw",
    ),
    Mutation(
        "a split leak",
        "data/split.py",
        "parts = members(units, rows)",
        "parts = members(np.arange(len(units)), rows)",
        "tests/data/test_data_split.py::test_sides_and_folds_partition_the_rows_and_cut_no_unit",
    ),
    Mutation(
        "a stale cache entry",
        "training/cache.py",
        '{"layout": _LAYOUT, **asdict(self)}',
        '{"layout": _LAYOUT, **asdict(self), "preprocessing": {}}',
        "tests/training/test_feature_cache.py::test_whatever_changes_a_feature_changes_the_key",
    ),
)


def verdict(test: str, source: Path) -> subprocess.CompletedProcess[str]:
    """Run one test on a copy of the package."""
    command = (sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", test)
    settings = {**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, env=settings)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    copy = tmp_path / "src"
    shutil.copytree(ROOT / "src", copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def test_it_is_the_copy_that_is_tested(source: Path) -> None:
    """Otherwise every mutation would go unnoticed, or be noticed for the wrong reason."""
    program = "import topwork; print(topwork.__file__)"
    settings = {**os.environ, "PYTHONPATH": str(source)}
    told = subprocess.run(
        (sys.executable, "-c", program), check=True, capture_output=True, text=True, env=settings
    )
    assert Path(told.stdout.strip()).is_relative_to(source)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.mistake)
def test_a_planted_mistake_is_noticed(mutation: Mutation, source: Path) -> None:
    path = source / "topwork" / mutation.file
    text = path.read_text(encoding="utf-8")
    assert text.count(mutation.before) == 1
    sound = verdict(mutation.test, source)
    assert sound.returncode == 0, sound.stdout
    path.write_text(text.replace(mutation.before, mutation.after), encoding="utf-8")
    mutated = verdict(mutation.test, source)
    assert mutated.returncode == 1, mutated.stdout
    name = mutation.test.partition("::")[2]
    assert re.search(rf"^FAILED \S+::{name}", mutated.stdout, re.M), mutated.stdout


def test_the_docs_name_the_same_mistakes_and_tests() -> None:
    rows = re.findall(
        r"^\| (\w[^|]*) \| `(\w+/\w+\.py)` \| `(\w+)` \|$", prose_of(ROOT / "docs/training.md"), re.M
    )
    ours = [(one.mistake, one.file, one.test.partition("::")[2]) for one in MUTATIONS]
    assert [row for row in rows if row[2].startswith("test_")] == ours
