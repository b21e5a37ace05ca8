"""Run as a process: fits the tiny job here and on the stand-in for a second device, and prints what came, as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from elsewhere import NAME, Elsewhere, register
from tiny_material import TinyMaterial, tiny_job
from topwork.contracts import FitJob, Fitted, Recipe, Resources, Workplace
from topwork.recipes.climber import outlook
from topwork.recipes.ladder import LADDER
from topwork.recipes.scratch import SCRATCH

N_STEPS = 120
LITTLE_MEMORY = 300_000
KILLED_AT = (60, 100)
"""How often a run has asked whether to stop when it is stopped: on the rung of the upper stages, and on the last."""


class There(TinyMaterial):
    @property
    def resources(self) -> Resources:
        return Resources(NAME, self.n_threads, self.memory_bytes, has_fast_bf16=False)


def there(job: FitJob) -> FitJob:
    assert isinstance(job.material, TinyMaterial)
    return replace(job, material=There(job.material.pictures, job.material.memory_bytes))


def job(memory_bytes: int = 0) -> FitJob:
    return tiny_job(n_steps=N_STEPS, memory_bytes=memory_bytes)


def difference(one: Fitted, other: Fitted) -> float:
    assert one.weights.keys() == other.weights.keys()
    assert one.weights
    return max(float(np.abs(one.weights[name] - other.weights[name]).max()) for name in one.weights)


def resumed(n: int) -> tuple[Fitted, list[str]]:
    """Return what comes of a run that is stopped and gone on with, and the rungs that it had begun."""
    with TemporaryDirectory() as folder:
        asked = iter([False] * n)
        stop = Workplace(Path(folder), should_stop=lambda: next(asked, True))
        begun = [rung.name for rung in LADDER(replace(there(job()), workplace=stop)).rungs]
        return LADDER(
            replace(there(job()), workplace=replace(stop, resume=True, should_stop=lambda: False))
        ), begun


def both(recipe: Recipe, memory_bytes: int = 0) -> dict[str, object]:
    here = recipe(job(memory_bytes))
    with Elsewhere():
        fitted = recipe(there(job(memory_bytes)))
    rungs = [[rung.name for rung in one.rungs] for one in (here, fitted)]
    return {"rungs": rungs, "difference": difference(here, fitted), "device": fitted.plan.get("device")}


def main() -> None:
    torch.set_num_threads(1)
    register()
    told = {"ladder": both(LADDER), "scratch": both(SCRATCH), "in parts": both(LADDER, LITTLE_MEMORY)}
    with Elsewhere():
        whole = LADDER(there(job()))
        runs = [resumed(n) for n in KILLED_AT]
        told["resumed"] = {
            "begun": [begun for _, begun in runs],
            "difference": [difference(whole, run) for run, _ in runs],
        }
        told["in parts"]["n_parts"] = outlook(there(job(LITTLE_MEMORY)), 1000, 100).survey.whole.n_parts
    print(json.dumps(told))


if __name__ == "__main__":
    main()
