"""On a GPU the ladder gives the same weights every time, and about those of the processor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tiny_material import TinyMaterial, tiny_job
from topwork.contracts import FitJob, Fitted, Resources, Workplace
from topwork.recipes.ladder import LADDER
from topwork.recipes.scratch import SCRATCH

pytestmark = pytest.mark.gpu
N_STEPS = 80


class OnGpu(TinyMaterial):
    @property
    def resources(self) -> Resources:
        return Resources("cuda", self.n_threads, self.memory_bytes, has_fast_bf16=False)


class OnGpuInBf16(TinyMaterial):
    @property
    def resources(self) -> Resources:
        return Resources("cuda", self.n_threads, self.memory_bytes, has_fast_bf16=True)


def job(kind: type[TinyMaterial]) -> FitJob:
    made = tiny_job(n_steps=N_STEPS)
    assert isinstance(made.material, TinyMaterial)
    return replace(made, material=kind(made.material.pictures))


def assert_same(one: Fitted, other: Fitted) -> None:
    assert one.weights
    assert one.weights.keys() == other.weights.keys()
    assert all(np.array_equal(one.weights[name], other.weights[name]) for name in one.weights)


@pytest.mark.parametrize("kind", [OnGpu, OnGpuInBf16])
@pytest.mark.parametrize("recipe", [LADDER, SCRATCH], ids=lambda one: one.name)
def test_the_same_job_gives_the_same_weights(recipe: object, kind: type[TinyMaterial]) -> None:
    assert recipe in (LADDER, SCRATCH)
    assert_same(recipe(job(kind)), recipe(job(kind)))


@pytest.mark.parametrize("kind", [OnGpu, OnGpuInBf16])
@pytest.mark.parametrize("n_asked", [2, 60, 100])
def test_what_was_stopped_goes_on_to_the_same_weights(
    n_asked: int, kind: type[TinyMaterial], tmp_path: Path
) -> None:
    asked = iter([False] * n_asked)
    LADDER(replace(job(kind), workplace=Workplace(tmp_path, should_stop=lambda: next(asked, True))))
    again = LADDER(replace(job(kind), workplace=Workplace(tmp_path, resume=True)))
    assert_same(again, LADDER(job(kind)))


def test_the_weights_are_about_those_of_the_processor() -> None:
    here, there = LADDER(job(TinyMaterial)), LADDER(job(OnGpu))
    assert [rung.name for rung in here.rungs] == [rung.name for rung in there.rungs]
    for name, weight in here.weights.items():
        np.testing.assert_allclose(there.weights[name], weight, rtol=1e-2, atol=1e-3)
