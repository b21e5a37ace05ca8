"""From scratch: the same network with random weights, trained for a given time; what the ladder is measured against.

What pretraining is worth on a data set is the difference between this and the ladder after equal time. Normalisation
is trained too, for it has nothing to be frozen at; the rest is as in the ladder: the same variants, the same
averaging of weights, the best of several looks at validation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from topwork.contracts import FitJob, Fitted, LinearHead, Material, Moment, Resources, Rung, padded
from topwork.recipes.stretch import material_of
from topwork.training.judging import loss_name, mean_score, of_rows
from topwork.training.links import solver_of
from topwork.training.plan import BATCH, RungPlan

if TYPE_CHECKING:
    from topwork.training.loop import Check, Outcome, Trainee

__all__ = ["SCRATCH", "ScratchRecipe", "ScratchSettings"]


@dataclass(frozen=True, slots=True)
class ScratchSettings:
    """``rate``: peak learning rate of every layer; ``epochs``: length where no time is given."""

    rate: float = 3e-3
    epochs: int = 30
    reserve_s: float = 1.0


@dataclass(frozen=True, slots=True)
class ScratchRecipe:
    """All layers from random weights."""

    settings: ScratchSettings = field(default_factory=ScratchSettings)
    name: str = "scratch"
    requires: frozenset[str] = frozenset({"pooled"})

    def __call__(self, job: FitJob) -> Fitted:
        """Train until the time is used up, and give back the best of the looks at validation."""
        from topwork.training.devices import at_work

        material = material_of(job, self.name)
        with at_work(material.resources.device):
            return self._train(job, material)

    def _train(self, job: FitJob, material: Material) -> Fitted:
        import torch

        from topwork.training.feeds import RawFeed
        from topwork.training.loop import Control, train

        clock, fold, resources = job.budget.clock, job.folds[0], material.resources
        began_s = clock()
        torch.set_num_threads(resources.n_threads)
        trainee = _random(job, material)
        feed = RawFeed(material, fold.train, fold.valid, job.seed, resources.n_threads, resources.device)
        rung, kept_back_s = self._plan(job, trainee, feed)
        history: list[Moment] = []
        valid = of_rows(job.goals, fold.valid)

        def saw(n_steps: int, check: Check) -> None:
            history.append(
                Moment(
                    clock() - began_s,
                    n_steps,
                    self.name,
                    check.loss,
                    mean_score(check.seen(valid), check.scores),
                )
            )

        with job.progress.track("Training from scratch", rung.n_steps * rung.batch, "examples") as advance:
            control = Control(
                should_stop=lambda: self._is_over(job, kept_back_s),
                advance=lambda n: advance(n * rung.batch),
                keep=lambda _: None,
                saw=saw,
                bf16=_computes_in_bf16(resources),
            )
            goals = of_rows(job.goals, fold.train), valid
            outcome = train(rung, trainee, feed, goals, control, seed=(job.seed, 0))
        return _fitted(job, outcome, clock() - began_s, tuple(history))

    def _is_over(self, job: FitJob, kept_back_s: float) -> bool:
        reserve_s = self.settings.reserve_s + kept_back_s
        late = job.n_steps is None and job.budget.remaining_s() < reserve_s
        return late or (job.workplace is not None and job.workplace.should_stop())

    def _plan(self, job: FitJob, trainee: Trainee, feed: Any) -> tuple[RungPlan, float]:
        """Make one cycle that ends when the time does, and tell how much of that is kept for what follows."""
        batch = min(BATCH, feed.n_train)
        per_epoch = max(1, feed.n_train // batch)
        n_steps, kept_back_s = job.n_steps or self.settings.epochs * per_epoch, 0.0
        if job.n_steps is None and job.budget.remaining_s() < float("inf"):
            step_s = _step_s(job, trainee, batch)
            kept_back_s = job.afterwards.seconds(step_s / batch)
            n_steps = max(1, int((job.budget.remaining_s() - kept_back_s) / step_s))
        rung = RungPlan(
            name="scratch",
            n_below=0,
            n_steps=n_steps,
            batch=batch,
            rates=(*(self.settings.rate for _ in trainee.stages), self.settings.rate),
            check_every=max(1, min(per_epoch * 2, n_steps // 5)),
            average_decay=0.0,  # averaged weights and averaged statistics of early steps do not belong together
        )
        return rung, kept_back_s


def _computes_in_bf16(resources: Resources) -> bool:
    """Return whether to; a processor is slow at it where normalisation is not folded."""
    return resources.device != "cpu" and resources.has_fast_bf16


def _random(job: FitJob, material: Material) -> Trainee:
    """Return the network with every layer drawn anew by its own default, and heads of zeros."""
    import torch

    from topwork.training.loop import Trainee

    network: Any = material.network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.seed)
        for module in network.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
    heads = {name: torch.nn.Linear(job.features.shape[1], goal.n_outputs) for name, goal in job.goals.items()}
    for head in heads.values():
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
        head.to(material.resources.device)
    network.to(material.resources.device)
    names = {id(p): name for name, p in network.named_parameters()}
    stages = tuple(
        {names[id(p)]: p for module in stage.modules for p in module.parameters()}
        for stage in material.stages(network)
    )
    moving = {
        name: b
        for name, b in network.named_buffers()
        if b.dtype.is_floating_point and name in network.state_dict()
    }
    for p in network.parameters():
        p.requires_grad_()
    network.train()
    return Trainee(network, stages, heads, moving, network.train)


def _step_s(job: FitJob, trainee: Trainee, batch: int) -> float:
    """Time a step on a few rows; the normalisation's statistics are put back."""
    import torch

    from topwork.training.folding import precision_of
    from topwork.training.surveying import trial_rows
    from topwork.training.trial import seconds_of

    assert job.material is not None
    resources = job.material.resources
    rows = [int(row) for row in job.folds[0].train[: min(batch, trial_rows(resources.device))]]
    tensors = torch.from_numpy(padded(job.material.example(row) for row in rows)).to(resources.device)
    kept = {name: tensor.clone() for name, tensor in trainee.moving.items()}

    def step() -> None:
        with precision_of(bf16=_computes_in_bf16(resources), device=tensors.device.type):
            features = trainee.features(tensors)
        features.float().square().mean().backward()  # type: ignore[no-untyped-call]
        for p in trainee.named().values():
            p.grad = None

    seconds = seconds_of(step, tensors.device) / len(rows) * batch
    for name, tensor in kept.items():
        trainee.moving[name].copy_(tensor)
    return seconds


def _fitted(job: FitJob, outcome: Outcome, seconds: float, history: tuple[Moment, ...]) -> Fitted:
    heads, held_out = {}, {}
    valid = job.folds[0].valid
    for name, goal in job.goals.items():
        held_out[name] = np.full((len(goal.truth), goal.n_outputs), np.nan)
        if not outcome.weights:  # no look was finished: what is drawn at random knows nothing
            heads[name] = LinearHead(
                np.zeros((goal.n_outputs, job.features.shape[1]), np.float32),
                np.zeros(goal.n_outputs, np.float32),
            )
            continue
        raw, solver = outcome.check.scores[name], solver_of(goal.link)
        calibration = solver.calibrate(goal.truth[valid], raw)
        weight, bias = (outcome.weights[f"heads.{name}.{part}"].numpy() for part in ("weight", "bias"))
        heads[name] = calibration.fold_into(LinearHead(weight, bias))
        held_out[name][valid] = solver.cross_calibrate(goal.truth[valid], raw, seed=job.seed)
    weights = {
        name: value.numpy() for name, value in outcome.weights.items() if not name.startswith("heads.")
    }
    kept = {name: held[valid] for name, held in held_out.items()}
    rung = Rung(
        "scratch",
        seconds,
        mean_score(of_rows(job.goals, valid), kept) if outcome.weights else float("nan"),
        () if outcome.ended == "done" else (f"{outcome.ended} after {outcome.n_steps} steps",),
        trained_share=1.0,
        n_steps=outcome.n_steps,
        chosen=True,
        loss_name=loss_name(job.goals),
    )
    return Fitted(heads, held_out, weights=weights, rungs=(rung,), history=history)


SCRATCH = ScratchRecipe()
