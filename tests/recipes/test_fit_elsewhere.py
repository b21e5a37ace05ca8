"""What trains the network does so on the device that it is told, shown on a stand-in for one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from elsewhere import NAME, is_possible

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_possible(), reason="this torch does not let Python be a device"),
]


@pytest.fixture(scope="module")
def told() -> Mapping[str, Any]:
    """What a process of its own found, for the device stays registered as long as it lives."""
    here = Path(__file__)
    paths = os.pathsep.join([str(here.parents[1]), *(path for path in sys.path if path)])
    done = subprocess.run(
        [sys.executable, str(here.with_name("fit_elsewhere.py"))],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("what", ["ladder", "scratch", "in parts"])
def test_training_there_gives_what_training_here_gives(told: Mapping[str, Any], what: str) -> None:
    """Folding and rounding differ: there torch's own convolution computes, and no fused optimiser steps."""
    here, there = told[what]["rungs"]
    assert here == there
    assert told[what]["difference"] < 1e-5


def test_a_plan_says_where(told: Mapping[str, Any]) -> None:
    assert told["ladder"]["device"] == NAME


def test_a_step_that_does_not_fit_is_computed_in_parts(told: Mapping[str, Any]) -> None:
    assert told["in parts"]["n_parts"] > 1


def test_what_was_stopped_there_goes_on_to_the_same_weights(told: Mapping[str, Any]) -> None:
    assert told["resumed"]["begun"] == [["probe", "top"], ["probe", "top", "all"]]
    assert told["resumed"]["difference"] == [0.0, 0.0]
