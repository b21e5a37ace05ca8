"""One stretch of training of a whole network: what the recipes share that train every layer at once.

It makes network, heads and feed ready, finds out how many steps the time allows, and trains; what came of it stands in
`result`. It knows no recipe: what is trained for how long stands in a `RungPlan`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any

from topwork.contracts import FitJob, Fold, Material, Moment, padded
from topwork.errors import UsageError
from topwork.recipes.resuming import Course, course_of, plan_without_rungs
from topwork.training.axes import Axes
from topwork.training.judging import mean_score, of_rows
from topwork.training.links import solver_of
from topwork.training.plan import MOST_LOOKED, RungPlan

if TYPE_CHECKING:
    import torch

    from topwork.training.checkpoint import Checkpoint
    from topwork.training.feeds import RawFeed
    from topwork.training.loop import Outcome
    from topwork.training.sight import Check
    from topwork.training.trainee import Feed, Trainee

__all__ = [
    "Stretch",
    "check_every",
    "course_of_all",
    "examples",
    "in_parts",
    "later",
    "material_of",
    "planned",
    "probe_heads",
    "ready_network",
    "run",
    "step_seconds",
    "steps_within",
    "stretch_of",
    "told_to_stop",
    "train_stretch",
    "zero_heads",
]

_RESERVE_S = 1.0
_KEEP_EVERY_S, _KEEP_SHARE = 60.0, 20.0


@dataclass(frozen=True, eq=False)
class Stretch:
    """A network with heads, every layer of it to be trained, and where its batches come from."""

    job: FitJob
    trainee: Trainee
    feed: RawFeed
    bf16: bool

    @property
    def fold(self) -> Fold:
        """Return the training rows, and those that validate."""
        return self.job.folds[0]


def material_of(job: FitJob, recipe: str, *, keeps: bool = False) -> Material:
    """Return what a recipe trains with.

    Parameters
    ----------
    keeps
        Whether the recipe keeps its state, and goes on after a kill.

    Raises
    ------
    UsageError
        There is no network in the job, or it is to go on with a run that this recipe keeps nothing of.
    """
    if job.material is None:
        raise UsageError(
            f"The recipe {recipe} trains the network itself; this job holds only its features.",
            next_step="Use the recipe probe.",
        )
    if job.workplace is not None and job.workplace.resume and not keeps:
        raise UsageError(
            f"The recipe {recipe} keeps no state that a run could go on from.",
            next_step="Leave --resume out, or fit with the ladder, full, gradual, head, hyperrule or lora.",
        )
    return job.material


def stretch_of(job: FitJob, heads: Mapping[str, torch.nn.Linear]) -> Stretch:
    """Make the pretrained network ready to be trained with these heads; its normalisation stays frozen."""
    from topwork.training.feeds import feed_of
    from topwork.training.trained import trained_stages
    from topwork.training.trainee import Trainee

    assert job.material is not None
    material, rows, resources = job.material, job.folds[0], job.material.resources
    network = ready_network(job)
    stages = trained_stages(network, material.stages(network))
    on_device = {name: head.to(resources.device) for name, head in heads.items()}
    feed = feed_of(material, rows, job.seed)
    return Stretch(job, Trainee(network, stages, on_device), feed, resources.has_fast_bf16)


def ready_network(job: FitJob) -> torch.nn.Module:
    """Load the pretrained network to where it trains, its frozen normalisation folded into its convolutions."""
    import torch

    from topwork.training.folding import fold

    assert job.material is not None
    resources = job.material.resources
    torch.set_num_threads(resources.n_threads)
    network: Any = job.material.network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    fold(network, examples(job, 2), bf16=resources.has_fast_bf16, device=resources.device)
    ready: torch.nn.Module = network.to(resources.device)
    return ready


def examples(job: FitJob, n: int) -> torch.Tensor:
    """Return a small batch of training rows, on the processor."""
    import torch

    assert job.material is not None
    return torch.from_numpy(padded(job.material.example(int(row)) for row in job.folds[0].train[:n]))


def probe_heads(job: FitJob, fold: Fold, strengths: Mapping[str, float]) -> dict[str, torch.nn.Linear]:
    """Return the probe's heads as they are when the validation rows are left out."""
    import torch

    axes = Axes.of(job.features[fold.train], own_units=job.own_units)
    heads = {}
    for name, goal in of_rows(job.goals, fold.train).items():
        found = solver_of(goal.link).head(axes, goal, strengths[name])
        layer = torch.nn.Linear(found.weight.shape[1], found.weight.shape[0])
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(found.weight))
            layer.bias.copy_(torch.from_numpy(found.bias))
        heads[name] = layer
    return heads


def zero_heads(job: FitJob) -> dict[str, torch.nn.Linear]:
    """Return heads that say the same of every input."""
    import torch

    heads = {name: torch.nn.Linear(job.features.shape[1], goal.n_outputs) for name, goal in job.goals.items()}
    for head in heads.values():
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
    return heads


# --- time -----------------------------------------------------------------------------------------------


def step_seconds(stretch: Stretch, batch: int) -> float:
    """Time a step on a few rows; it changes no weight, and what moves without a gradient is put back."""
    from topwork.training.folding import precision_of
    from topwork.training.specimens import Specimens
    from topwork.training.surveying import trial_rows
    from topwork.training.trial import seconds_of

    trainee, feed = stretch.trainee, stretch.feed
    specimens = Specimens(feed.material, feed.train, feed.device)
    tensors = specimens.typical(min(batch, trial_rows(feed.device)), feed.train_sizes)
    kept = {name: tensor.clone() for name, tensor in trainee.moving.items()}

    def step() -> None:
        with precision_of(bf16=stretch.bf16, device=tensors.device.type):
            features = trainee.features(tensors)
        features.float().square().mean().backward()  # type: ignore[no-untyped-call]
        for p in trainee.named().values():
            p.grad = None

    seconds = seconds_of(step, tensors.device) / len(tensors) * batch
    for name, tensor in kept.items():
        trainee.moving[name].copy_(tensor)
    return seconds


def in_parts(stretch: Stretch, rung: RungPlan) -> RungPlan:
    """Return the rung with its steps in as many parts as memory asks for, one example at a time in the worst case."""
    from topwork.training.devices import free_bytes
    from topwork.training.specimens import Specimens
    from topwork.training.trial import kept_bytes, parts_of

    feed = stretch.feed
    memory = free_bytes(feed.device, feed.material.resources.memory_bytes)
    tensors = Specimens(feed.material, feed.train, feed.device).largest(feed.train_sizes)
    n_parts, _ = parts_of(rung.batch, kept_bytes(stretch.trainee, tensors), memory)
    return replace(rung, n_parts=n_parts)


def steps_within(
    stretch: Stretch, wanted: int, batch: int, *, check_every: int, looked: int = MOST_LOOKED
) -> tuple[int, float]:
    """Return how many of the wanted steps the budget has time for, and the seconds of it to keep back.

    Kept back are one look at validation, one more at all rows, and what follows the recipe. Steps that the job asks
    for are never fewer.
    """
    job = stretch.job
    if job.n_steps is not None or job.budget.remaining_s() == float("inf"):
        return wanted, 0.0
    step_s = step_seconds(stretch, batch)
    n_valid, row_s = len(stretch.fold.valid), step_s / batch
    look_s = min(n_valid, looked) * row_s
    kept_back_s = _RESERVE_S + look_s + n_valid * row_s + job.afterwards.seconds(row_s)
    left_s = job.budget.remaining_s() - kept_back_s - look_s
    return max(0, min(wanted, int(left_s / (step_s + look_s / check_every)))), kept_back_s


def planned(stretch: Stretch, rung: RungPlan, epochs: int) -> tuple[RungPlan, float]:
    """Give a rung its length: all epochs, or the steps that are asked for or that there is time for.

    Returns
    -------
    tuple
        The rung, and the seconds of the budget to keep back.
    """
    per_epoch = max(1, stretch.feed.n_train // rung.batch)
    wanted = stretch.job.n_steps or epochs * per_epoch
    every = check_every(wanted, per_epoch)
    n_steps, kept_back_s = steps_within(stretch, wanted, rung.batch, check_every=every)
    return replace(rung, n_steps=n_steps, check_every=check_every(n_steps, per_epoch)), kept_back_s


def check_every(n_steps: int, per_epoch: int) -> int:
    """Return the steps between two looks at validation: one look in an epoch, and five at least."""
    return max(1, min(per_epoch, ceil(n_steps / 5)))


# --- training -------------------------------------------------------------------------------------------


def course_of_all(stretch: Stretch, recipe: str, plan: Callable[[], tuple[RungPlan, float]]) -> Course:
    """Plan the training of every layer in as many parts as memory asks for, or take the plan of a run that was killed.

    Parameters
    ----------
    recipe
        Its name and settings.
    plan
        As in `course_of`.
    """

    def in_its_parts() -> tuple[RungPlan, float]:
        rung, kept_back_s = plan()
        return in_parts(stretch, rung), kept_back_s

    now = plan_without_rungs(stretch.job, recipe, bf16=stretch.bf16)
    return course_of(stretch.job, now, in_its_parts)


def train_stretch(stretch: Stretch, course: Course, *, number: int = 1) -> tuple[Outcome, tuple[Moment, ...]]:
    """Train the network as planned; see `run`."""
    return run(stretch.job, (stretch.trainee, stretch.feed), course, bf16=stretch.bf16, number=number)


def run(
    job: FitJob, trained: tuple[Trainee, Feed], course: Course, *, bf16: bool, number: int = 1
) -> tuple[Outcome, tuple[Moment, ...]]:
    """Train as planned, or until time is up or the user wants the best so far; tell what validation said on the way.

    ``number`` is that of the rung: rungs of other numbers take the rows in another order. The state is kept after every
    look at validation, and once a minute between two of them; a run that was killed goes on from there.
    """
    from topwork.training.loop import Control, train

    rung, unfinished = course.rung, course.unfinished
    clock, history, found = job.budget.clock, unfinished.history_of(number), unfinished.found(number)
    pace = _Pace(clock)
    began_s = clock() - max((moment.seconds for moment in history), default=0.0)
    goals = of_rows(job.goals, job.folds[0].train), of_rows(job.goals, job.folds[0].valid)

    def saw(n_steps: int, check: Check) -> None:
        score = mean_score(check.seen(goals[1]), check.scores)
        history.append(Moment(clock() - began_s, n_steps, rung.name, check.loss, score))

    def should_stop() -> bool:
        late = job.n_steps is None and job.budget.remaining_s() <= course.kept_back_s
        return late or told_to_stop(job)

    def keep(state: Checkpoint) -> None:
        with pace:
            unfinished.keep(number, state, history)

    with job.progress.track(f"Training {rung.name}", rung.n_steps * rung.batch, "examples") as advance:
        control = Control(
            should_stop=should_stop,
            advance=lambda n: advance(n * rung.batch),
            keep=keep,
            is_due=lambda: unfinished.folder is not None and pace.is_due(),
            saw=saw,
            bf16=bf16,
            found=found,
        )
        outcome = train(rung, *trained, goals, control, seed=(job.seed, number))
    return outcome, tuple(history)


class _Pace:
    """When the state is to be kept again: after a minute, or as long as makes the writing a twentieth of the time."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._began_s, self._ended_s = clock, clock(), clock()

    def __enter__(self) -> None:
        self._began_s = self._clock()

    def __exit__(self, *_: object) -> None:
        self._ended_s = self._clock()

    def is_due(self) -> bool:
        """Tell whether it is time."""
        took_s = self._ended_s - self._began_s
        return self._clock() - self._ended_s >= max(_KEEP_EVERY_S, _KEEP_SHARE * took_s)


def told_to_stop(job: FitJob) -> bool:
    """Tell whether the user wants the best so far."""
    return job.workplace is not None and job.workplace.should_stop()


def later(moment: Moment, seconds: float, n_steps: int, rung: str) -> Moment:
    """Return what `run` told as a moment of a longer rung, so many seconds and steps of which lay before."""
    return replace(moment, seconds=moment.seconds + seconds, n_steps=moment.n_steps + n_steps, rung=rung)
