"""A few examples: the upper stages are tuned on pairs of them, and the probe is fitted on what comes of it.

SetFit's loss (Tunstall et al., *Efficient Few-Shot Learning Without Prompts*, arXiv 2209.11055; after Reimers and
Gurevych, *Sentence-BERT*, arXiv 1908.10084) on all pairs of a batch at once, from states that the frozen lower stages
give once. Features that were tuned on a row have seen its label, so nothing is judged or calibrated by them: each fold
tunes the network anew without the rows that it holds out, the temperature of the head comes from what these networks
say of rows they have not seen, and the model is tuned on all rows in the same way. The head's
strength is not chosen: once the classes are apart its direction hardly depends on that, and what few rows choose is
chosen by chance. It sees no test row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from topwork.contracts import Array, FitJob, Fitted, Fold, Goal, LinearHead, has_classes, known_rows
from topwork.errors import UsageError
from topwork.recipes.first_rung import FirstRung
from topwork.recipes.result import judged, weights_of_network
from topwork.recipes.settings import require
from topwork.recipes.stretch import examples, material_of, ready_network, told_to_stop
from topwork.training.axes import Axes, quiet_blas
from topwork.training.judging import of_rows
from topwork.training.links import solver_of

if TYPE_CHECKING:
    import torch

    from topwork.training.cutting import Below
    from topwork.training.feeds import CutFeed
    from topwork.training.trainee import Trainee

__all__ = [
    "CONTRAST",
    "ContrastRecipe",
    "ContrastSettings",
    "Contrasted",
    "Upper",
    "contrasted",
    "n_steps_of",
    "sides_of",
    "states_at",
]

_FROZEN = 0.5
"""Part of the stages that stay as they are."""
_FEWEST_STAGES = 3
_RESERVE_S = 1.0
_FEWEST_STEPS = 2
_FOLDS, _FOLDS_OF_FEW, _FEW_ROWS = 3, 2, 32
"""Half of very few rows teaches a network about as little as two thirds of them; half of more calibrates it worse."""
_SPREAD = 0.75
"""C of the heads times the number of features: what scores vary by before anything is known, whatever network it is."""


@dataclass(frozen=True, slots=True)
class ContrastSettings:
    """How long and how gently.

    Attributes
    ----------
    rows_per_step
        A tuning, of which there is one for each fold and one of all rows, has a step for each so many of its rows, and
        two at least: of few rows the same pairs soon teach nothing more. `--steps` fixes the steps of each instead.
    batch
        Rows of a step, of which all pairs are taken; all rows where there are no more.
    rate
        Peak rate of AdamW.
    warmup
        Share of the steps in which the rate goes up.
    weight_decay
        Of AdamW.
    """

    rows_per_step: int = 8
    batch: int = 64
    rate: float = 4e-4
    warmup: float = 0.1
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        allowed = {
            "rows_per_step": (self.rows_per_step >= 1, "1 or more"),
            "batch": (self.batch >= 2, "2 or more"),
            "rate": (self.rate > 0, "more than 0"),
            "warmup": (0 <= self.warmup < 1, "0 or more and less than 1"),
            "weight_decay": (self.weight_decay >= 0, "0 or more"),
        }
        require(self, allowed)


@dataclass(frozen=True, slots=True)
class ContrastRecipe:
    """The upper stages tuned on pairs, and a probe on their features."""

    settings: ContrastSettings = field(default_factory=ContrastSettings)
    name: str = "contrast"
    requires: frozenset[str] = frozenset({"pooled"})

    def __call__(self, job: FitJob) -> Fitted:
        """Tune on pairs, and give back the probe on what came of it; the frozen one's where there was no time."""
        from topwork.training.devices import at_work

        material, (name, _) = material_of(job, self.name), _the_goal(job)
        first = FirstRung.of(job)
        with at_work(material.resources.device):
            upper = _upper_of(job)
            if upper is None:
                return first.alone("The network cannot be cut into stages; the model is the probe.")
            found = contrasted(job, upper, self.settings)
        if found is None:
            return first.alone("contrast came to no end in time; the model is the probe.")
        valid = job.folds[0].valid
        seconds = job.budget.clock() - first.ended_s
        rung, _ = judged(job, self.name, seconds, {name: found.held_out[valid]}, first.losses)
        rung = replace(rung, n_steps=found.n_steps, trained_share=upper.trained_share, chosen=True)
        weights = weights_of_network(found.weights)
        rungs = (first.rung, rung)
        return Fitted(
            {name: found.head}, {name: found.held_out}, first.probe.notes, weights=weights, rungs=rungs
        )


def _the_goal(job: FitJob) -> tuple[str, Goal]:
    """Return the one target, by its name.

    Raises
    ------
    UsageError
        There are several, or it has no classes.
    """
    [(name, goal), *others] = job.goals.items()
    if others or not has_classes(goal.link):
        raise UsageError(
            "The recipe contrast tells rows of one class from those of others, of a single target; "
            f"got the targets {', '.join(job.goals)}.",
            next_step="Use the recipe ladder.",
        )
    return name, goal


# --- a network above its cut ----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Upper:
    """The upper stages of a network, and what the lower ones hand on to them.

    Attributes
    ----------
    trainee
        Maps states at the cut to features; its stages are those above the cut, and it has no heads.
    feed
        The states of all rows of the job, as they are shown when the model serves, on the validation side.
    trained_share
        Share of the network's weights that are tuned.
    """

    trainee: Trainee
    feed: CutFeed
    bf16: bool
    trained_share: float


def _upper_of(job: FitJob) -> Upper | None:
    """Load the network and compute the states at its cut; None where it cannot be cut."""
    from topwork.training.cutting import cut
    from topwork.training.trained import trained_stages
    from topwork.training.trainee import Trainee

    assert job.material is not None
    material, resources = job.material, job.material.resources
    network = ready_network(job)
    stages = material.stages(network)
    n_below = 0 if len(stages) < _FEWEST_STAGES else round(len(stages) * _FROZEN)
    parts = cut(network, stages, n_below, examples(job, 2).to(resources.device))
    if parts is None:
        return None
    trainee = Trainee(parts[1], trained_stages(network, stages, n_below), {})
    n_trained = sum(p.numel() for p in trainee.named().values())
    share = n_trained / sum(p.numel() for p in network.parameters())
    feed = states_at(job, parts[0], lambda: told_to_stop(job), bf16=resources.has_fast_bf16)
    return None if feed is None else Upper(trainee, feed, resources.has_fast_bf16, share)


def states_at(job: FitJob, below: Below, should_stop: Callable[[], bool], *, bf16: bool) -> CutFeed | None:
    """Compute the states of all rows at a cut; None where told to stop."""
    from topwork.training.feeds import feed_of, fill
    from topwork.training.surveying import at_cut

    assert job.material is not None
    n = len(job.features)
    none = np.arange(0)
    feed = feed_of(job.material, Fold(none, np.arange(n)), job.seed)
    with job.progress.track("Reading for contrast", n, "examples") as advance:
        found = fill(feed, partial(at_cut, below, bf16=bf16), 0, advance, should_stop)
        advance(n)
    return found


# --- tuning, and the head -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Contrasted:
    """What came of tuning.

    Attributes
    ----------
    head, weights
        Calibrated, and tensors of the network by name; tuned on all rows.
    held_out
        Scores ``float64 [n, k]`` by networks, a head and a calibration that have not seen the row; NaN where there
        is none.
    n_steps
        Of tuning on all rows.
    """

    head: LinearHead
    weights: Mapping[str, torch.Tensor]
    held_out: Array
    n_steps: int


def contrasted(
    job: FitJob, upper: Upper, settings: ContrastSettings, kept_back_s: float | None = None
) -> Contrasted | None:
    """Tune for each fold and on all rows, and choose and calibrate the head by what the folds hold out.

    The network is left as it was. It takes as long again for all folds as for the first, which is how it is known
    whether there is time.

    Returns
    -------
    None where there is no time for it, or the user wants the best so far.
    """
    _, goal = _the_goal(job)
    tuner = _Tuner(
        job, upper, goal, settings, job.afterwards.seconds(0.0) if kept_back_s is None else kept_back_s
    )
    every = np.flatnonzero(known_rows(goal.truth))
    folds = _few_folds(job)
    sides = sides_of(job, goal)
    tuned: list[_Tuned] = []
    try:
        with job.progress.track("Training contrast", len(sides), "tunings") as advance:
            for rows in sides:
                one = tuner.tuned(rows, n_left=len(sides) - len(tuned))
                if one is None:
                    return None
                tuned.append(one)
                advance(1)
        weights = tuner.weights()
    finally:
        tuner.restore()
    with quiet_blas(job.features):
        heads, solver = [one.head(goal) for one in tuned], solver_of(goal.link)
        scores = np.full((len(goal.truth), goal.n_outputs), np.nan)
        for fold, one, head in zip(folds, tuned, heads, strict=False):
            scores[fold.valid] = head.scores(one.features[fold.valid])
        return Contrasted(
            head=solver.calibrate(goal.truth, scores).fold_into(heads[-1]),
            weights=weights,
            held_out=solver.cross_calibrate(goal.truth, scores, seed=job.seed),
            n_steps=tuner.n_steps_of(every),
        )


def n_steps_of(n_rows: int, rows_per_step: int) -> int:
    """Return the steps of tuning on so many rows."""
    return max(_FEWEST_STEPS, ceil(n_rows / rows_per_step))


def sides_of(job: FitJob, goal: Goal) -> list[Array]:
    """Return the rows of each tuning: those that have a label and that a fold does not hold out, and in the end all."""
    every = np.flatnonzero(known_rows(goal.truth))
    return [*(np.intersect1d(fold.train, every) for fold in _few_folds(job)), every]


def _few_folds(job: FitJob) -> list[Fold]:
    """Put folds together to a few: each costs a tuning, and with two thirds of the rows it is nearly that of all."""
    n_folds = min(_FOLDS_OF_FEW if len(job.features) <= _FEW_ROWS else _FOLDS, len(job.folds))
    groups = [job.folds[start::n_folds] for start in range(n_folds)]
    return [
        Fold(
            reduce(np.intersect1d, [fold.train for fold in group]),
            np.concatenate([fold.valid for fold in group]),
        )
        for group in groups
    ]


@dataclass(frozen=True, slots=True, eq=False)
class _Tuned:
    """What a network that was tuned on some rows gives: those rows, and the features ``[n, d]`` of all."""

    rows: Array
    features: Array

    def head(self, goal: Goal) -> LinearHead:
        """Fit a head on the rows that the network was tuned on."""
        own = of_rows({"": goal}, self.rows)[""]
        axes = Axes.of(self.features[self.rows], own_units=False)
        return solver_of(goal.link).head(axes, own, _SPREAD / self.features.shape[1])


class _Tuner:
    """Tunes the same network on several sets of rows, each time from where it began.

    Between two of these the network holds what the last one came to; see `weights` and `restore`.
    """

    def __init__(
        self, job: FitJob, upper: Upper, goal: Goal, settings: ContrastSettings, kept_back_s: float
    ) -> None:
        self.job, self.upper, self.goal, self.kept_back_s = job, upper, goal, kept_back_s
        self.named = upper.trainee.named()
        self.start = {name: p.detach().clone() for name, p in self.named.items()}
        self.settings, self.batch = settings, self._batch(settings.batch)

    def n_steps_of(self, rows: Array) -> int:
        """Return the steps of tuning on these rows."""
        return self.job.n_steps or n_steps_of(len(rows), self.settings.rows_per_step)

    def _batch(self, wanted: int) -> int:
        """Return how many rows of a step memory holds; pairs of several parts of it could not be told apart."""
        from topwork.training.devices import free_bytes
        from topwork.training.trial import kept_bytes, parts_of

        assert self.job.material is not None
        resources, sizes = self.job.material.resources, self.upper.feed.sizes
        memory_bytes = free_bytes(resources.device, resources.memory_bytes)
        if not memory_bytes:
            return wanted
        largest = 0 if sizes is None else int(np.argmax(sizes.valid))
        _, states = next(self.upper.feed.validation(np.array([largest])))
        example = states.float() if states.is_floating_point() else states  # kept short, where bf16 is fast
        n_parts, _ = parts_of(wanted, kept_bytes(self.upper.trainee, example), memory_bytes)
        return max(2, ceil(wanted / n_parts))

    def tuned(self, rows: Array, n_left: int) -> _Tuned | None:
        """Tune on some rows, and compute the features of all; None where there is no time for ``n_left`` of these."""
        from topwork.training.pairs import Tuning, tune

        own = self.settings
        tuning = Tuning(self.n_steps_of(rows), self.batch, own.rate, own.warmup, own.weight_decay)
        clock = self.job.budget.clock
        began_s = clock()
        self.restore()
        trainee, feed = self.upper.trainee, self.upper.feed
        done = tune(
            trainee.features,
            list(self.named.values()),
            (feed.valid, rows, self.goal.truth[rows]),
            tuning,
            seed=self.job.seed,
            bf16=self.upper.bf16,
            should_stop=lambda: self._is_late(0.0) or told_to_stop(self.job),
        )
        features = self._features() if done else None
        late = self._is_late((n_left - 1) * (clock() - began_s))
        return None if features is None or late else _Tuned(rows, features)

    def _is_late(self, needed_s: float) -> bool:
        job = self.job
        return job.n_steps is None and job.budget.remaining_s() < needed_s + self.kept_back_s + _RESERVE_S

    def _features(self) -> Array:
        import torch

        from topwork.training.folding import precision_of

        features = np.zeros(self.job.features.shape, np.float32)
        with torch.no_grad():
            for rows, states in self.upper.feed.validation():
                with precision_of(bf16=self.upper.bf16, device=states.device.type):
                    features[rows] = self.upper.trainee.features(states).float().cpu().numpy()
        return features

    def weights(self) -> dict[str, torch.Tensor]:
        """Return a copy of what the last tuning came to, by name."""
        return {name: p.detach().cpu().clone() for name, p in self.named.items()}

    def restore(self) -> None:
        """Put the network back to where it began."""
        from topwork.training.trainee import put

        put(self.named, self.start)
        for p in self.named.values():
            p.grad = None


CONTRAST = ContrastRecipe()
