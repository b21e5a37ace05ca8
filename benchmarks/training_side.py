"""Our side of the benchmark of training speed: the ladder's loop with every stage trained.

Run as a process of its own: ``python -m benchmarks.training_side JSON`` prints images per second as JSON, of the first
epoch, which decodes every photo, and of the last one, which finds them decoded.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.sides import TRUNK
from benchmarks.training_sides import BATCH
from topwork import Surroundings, plugins
from topwork.contracts import Dataset, Goal
from topwork.engines.machine import survey
from topwork.inputs import IMAGE
from topwork.progress import Quiet
from topwork.steps.material import TrunkMaterial, resources_of
from topwork.training.feeds import RawFeed
from topwork.training.folding import fold
from topwork.training.loop import Control, train
from topwork.training.plan import RungPlan
from topwork.training.schedules import stage_rates
from topwork.training.trainee import Trainee

_N_EPOCHS = 3
_N_WARM = 2
_TARGET = "label"


def main() -> None:
    """Train on the rows that are given, looking at the clock after each step."""
    asked = json.loads(sys.argv[1])
    split = json.loads(Path(asked["split"]).read_text(encoding="utf-8"))
    rows, labels = split["train"], split["labels"]
    truth = np.array([labels.index(label) for _, label in rows])
    goal = Goal(truth, "softmax", len(labels))
    ends_s: list[float] = []
    _train(
        _material([path for path, _ in rows], Path(asked["cache"])),
        goal,
        lambda _: ends_s.append(time.perf_counter()),
    )
    n_steps = len(rows) // BATCH
    first, last = ends_s[_N_WARM - 1 : n_steps], ends_s[-n_steps:]
    print(json.dumps({"first_per_s": _rate(first), "last_per_s": _rate(last)}))


def _rate(ends_s: Sequence[float]) -> float:
    """Return images per second between the first and the last of moments that are a step apart."""
    return BATCH * (len(ends_s) - 1) / (ends_s[-1] - ends_s[0])


def _material(paths: Sequence[str], cache: Path) -> TrunkMaterial:
    """Return what a fit would train on, over the files that are given."""
    return TrunkMaterial(
        trunk=plugins.trunks()[TRUNK],
        around=Surroundings(cache_dir=cache, progress=Quiet()),
        dataset=Dataset("image", tuple(paths), lambda row: Path(paths[row]).read_bytes(), {}),
        modality=IMAGE,
        rows=np.arange(len(paths)),
        resources=resources_of(survey()),
    )


def _train(material: TrunkMaterial, goal: Goal, advance: Callable[[int], None]) -> None:
    """Train as the ladder's rung ``all`` does, from a head that knows nothing; one row stands for validation."""
    resources = material.resources
    torch.set_num_threads(resources.n_threads)
    trainee = _trainee(material, goal.n_outputs)
    n_steps = _N_EPOCHS * (len(goal.truth) // BATCH)
    rates = (*stage_rates(len(trainee.stages), 1e-4, 1e-3), 3e-3)
    rung = RungPlan("all", 0, n_steps, BATCH, rates, check_every=n_steps)
    feed = RawFeed(material, np.arange(len(goal.truth)), np.arange(1), 0, resources.n_threads)
    one = Goal(goal.truth[:1], goal.link, goal.n_outputs)
    control = Control(
        should_stop=lambda: False,
        advance=advance,
        keep=lambda _: None,
        saw=lambda _steps, _check: None,
        bf16=resources.has_fast_bf16,
    )
    train(rung, trainee, feed, ({_TARGET: goal}, {_TARGET: one}), control, seed=(0, 1))


def _trainee(material: TrunkMaterial, n_outputs: int) -> Trainee:
    network: Any = material.network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    example = torch.from_numpy(np.stack([material.example(row) for row in (0, 1)]))
    fold(network, example, bf16=material.resources.has_fast_bf16)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    stages = tuple(
        {names[id(p)]: p for module in stage.modules for p in module.parameters()}
        for stage in material.stages(network)
    )
    for stage in stages:
        for parameter in stage.values():
            parameter.requires_grad_()
    head = torch.nn.Linear(material.trunk.card.n_features, n_outputs)
    return Trainee(network, stages, {_TARGET: head})


if __name__ == "__main__":
    main()
