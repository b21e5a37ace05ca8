"""Fine-tuning a language model on texts: adapters on its layers, or all of its weights.

The first rung is the model as it is. Adapters are those of Hu et al., *LoRA*, arXiv 2106.09685, on every layer below
the head; one cycle of the learning rate, the weights that validation liked best, and the model stays as it was where
that is not clearly worse. It sees no test text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from topwork.contracts import Array, FitJob, Fold, Goal, LowRank, Moment, Rung
from topwork.evaluation.comparison import one_standard_error_choice
from topwork.recipes.adapters import Adapter, Merged, Shape, attach
from topwork.recipes.result import after, judged
from topwork.recipes.resuming import course_of
from topwork.recipes.settings import require
from topwork.recipes.stretch import check_every, run
from topwork.training.draws import drawn_by
from topwork.training.fingerprint import versions_of
from topwork.training.plan import Plan, RungPlan

if TYPE_CHECKING:
    import torch

    from topwork.training.packing import Packed, PackedFeed
    from topwork.training.trainee import Trainee

__all__ = ["BASE", "TEXT", "Outlook", "Rewritten", "WritingSettings", "goals_of", "outlook", "rewrite"]

BASE, TEXT = "base", "text"
"""What the first rung is called, and the only target."""
_RESERVE_S, _RESERVE_SHARE = 1.0, 0.01
"""Kept back of the budget, the larger of both: what was timed once takes a hundredth longer another time."""
_TRIAL_ROWS = 2
_PART_TOKENS, _PART_TOKENS_OF_ALL = 2048, 512
"""Of a part of a step: the more, the less time goes into fetching weights, and the more memory into activations."""
_LIBRARIES = ("topwork", "torch", "transformers", "peft", "numpy")
"""Their versions decide the weights."""


@dataclass(frozen=True, slots=True)
class WritingSettings:
    """How a language model is fine-tuned.

    Attributes
    ----------
    rank, alpha, dropout, layers
        Of the adapters; see `topwork.recipes.adapters.Shape`. A rank of 0 trains all weights in place of adapters.
    rate
        Peak learning rate; 0 for what suits adapters or all weights.
    length
        Tokens of a row, or fewer where the model sees no more.
    batch
        Rows of a step.
    epochs
        How often each row is taken at most.
    warmup
        Share of the steps in which the rate goes up.
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    layers: str = "all"
    rate: float = 0.0
    length: int = 512
    batch: int = 4
    epochs: int = 3
    warmup: float = 0.1

    def __post_init__(self) -> None:
        require(
            self,
            {
                "rank": (self.rank >= 0, "0 or more"),
                "dropout": (0 <= self.dropout < 1, "a share from 0 to below 1"),
                "rate": (self.rate >= 0, "0 or more"),
                "length": (self.length >= 8, "8 or more"),
                "batch": (self.batch >= 1, "1 or more"),
                "epochs": (self.epochs >= 1, "1 or more"),
                "warmup": (0 < self.warmup < 1, "a share between 0 and 1"),
            },
        )

    @property
    def peak(self) -> float:
        """Return the peak learning rate."""
        return self.rate or (1e-3 if self.rank else 5e-5)


@dataclass(frozen=True, slots=True, eq=False)
class Rewritten:
    """What came of it.

    Attributes
    ----------
    weights
        Tensors of the network that differ now, by name; none where it stays as it was.
    products
        Those of them that are low-rank products away.
    """

    weights: Mapping[str, Array]
    rungs: tuple[Rung, ...]
    history: tuple[Moment, ...]
    products: Mapping[str, LowRank] = field(default_factory=dict)


def goals_of(train: Packed, valid: Packed) -> tuple[dict[str, Goal], Fold]:
    """Return the goal of all rows, those of training first, and which is which: what a row costs is its score."""

    def perplexity(truth: Array, scores: Array) -> float:  # noqa: ARG001 - what every goal's score takes
        return float(np.exp(scores.mean()))

    n = len(train) + len(valid)
    goal = Goal(np.zeros(n), "cost", 1, perplexity, "perplexity")
    return {TEXT: goal}, Fold(np.arange(len(train)), np.arange(len(train), n))


def rewrite(
    job: FitJob,
    network: Any,
    rows: tuple[Packed, Packed],
    settings: WritingSettings,
    *,
    bf16: bool,
    device: str = "cpu",
    show: Callable[[], None] = lambda: None,
) -> Rewritten:
    """Fine-tune a language model of transformers, as long as the budget lasts; it is merged with its adapters then.

    It is trained on the device, and on the processor again afterwards.

    Parameters
    ----------
    job
        Its goals and fold are those of `goals_of`.
    rows
        Of training and of validation.
    show
        Called after each look at validation of what was trained, with the weights that were looked at in the network.
    """
    from topwork.training.devices import at_work

    with at_work(device):
        return _rewritten(job, network, rows, settings, bf16=bf16, device=device, show=show)


def _rewritten(
    job: FitJob,
    network: Any,
    rows: tuple[Packed, Packed],
    settings: WritingSettings,
    *,
    bf16: bool,
    device: str,
    show: Callable[[], None],
) -> Rewritten:
    from topwork.training.sight import Sight

    _, valid = rows
    adapter, trainee, feed = _ready(job, network, rows, settings, device)
    named = trainee.stages[0]
    clock, began_s = job.budget.clock, job.budget.clock()
    with job.progress.track("Reading as it is", len(valid), "rows"):
        before = Sight(feed, _valid_goals(job), None, bf16).look(trainee).scores
    look_s = clock() - began_s
    base, losses = judged(job, BASE, look_s, before)
    plan = partial(_planned, job, settings, trainee, feed, look_s, bf16)
    course = course_of(job, _plan_of(job, rows, settings, bf16, device), plan)
    rung = course.rung
    trainee = replace(trainee, set_training=_showing(trainee.set_training, show, course.unfinished.resumes))
    if not rung.n_steps:
        note = "there was no time to train: give a longer --budget"
        return Rewritten({}, (replace(base, chosen=True, notes=(note,)),), ())
    began_s = clock()
    outcome, history = run(job, (trainee, feed), course, bf16=bf16)
    if not outcome.weights:
        told = replace(base, chosen=True, notes=(f"training {outcome.ended} after {outcome.n_steps} steps",))
        return Rewritten({}, (told,), history)
    found, own = judged(job, rung.name, clock() - began_s, outcome.fair or outcome.check.scores, losses)
    n_trained = sum(p.numel() for p in named.values())
    share = n_trained / sum(p.numel() for p in network.base_model.parameters())
    rungs = [base, replace(after(found, outcome), trained_share=min(1.0, share))]
    chosen = one_standard_error_choice(np.stack([losses, own]))
    rungs[chosen] = replace(rungs[chosen], chosen=True)
    network.to("cpu")
    merged = _merged(adapter, outcome.weights) if chosen else Merged({}, {})
    return Rewritten(merged.tensors, tuple(rungs), history, merged.products)


def _showing(
    set_training: Callable[[bool], object], show: Callable[[], None], resumes: bool
) -> Callable[[bool], None]:
    """Return what shows something whenever a look has ended, but the first one, which sees what is not trained yet."""
    n_untrained = 0 if resumes else 1
    ended = count(1)

    def change(on: bool) -> None:
        set_training(on)
        if on and next(ended) > n_untrained:
            show()

    return change


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a fit would take: seconds of a look at a row and of a step, and how many steps all epochs are."""

    look_s: float
    step_s: float
    n_steps: int
    n_looks: int


def outlook(
    job: FitJob,
    network: Any,
    rows: tuple[Packed, Packed],
    settings: WritingSettings,
    *,
    bf16: bool,
    device: str = "cpu",
) -> Outlook:
    """Try a few rows, as `rewrite` would train them; the network is of no use afterwards."""
    import torch

    from topwork.training.folding import precision_of
    from topwork.training.trial import seconds_of

    _, trainee, feed = _ready(job, network, rows, settings, device)
    some = torch.from_numpy(feed.valid.tensors[:_TRIAL_ROWS]).to(device)

    def look() -> None:
        with torch.inference_mode(), precision_of(bf16=bf16, device=device):
            trainee.features(some)

    look_s = seconds_of(look, torch.device(device), n_runs=1) / len(some)
    batch = min(settings.batch, feed.n_train)
    per_epoch = max(1, feed.n_train // batch)
    n_steps = job.n_steps or settings.epochs * per_epoch
    n_looks = -(-n_steps // check_every(n_steps, per_epoch))
    return Outlook(look_s, batch * _row_seconds(trainee, feed, bf16), n_steps, n_looks)


def _ready(
    job: FitJob, network: Any, rows: tuple[Packed, Packed], settings: WritingSettings, device: str
) -> tuple[Adapter | None, Trainee, PackedFeed]:
    """Return adapters that were put on the network, what is trained on the device, and where its batches come from."""
    from topwork.training.packing import PackedFeed
    from topwork.training.saying import Speaker
    from topwork.training.trainee import Trainee
    from topwork.trunks.causal import states_of

    train, valid = rows
    states, head = states_of(network), network.get_output_embeddings()
    speaker = Speaker(states, head, train.n_said / len(train))
    network.requires_grad_(False)
    adapter, named = _trained(job, states, settings)
    network.to(device)
    change = bool if adapter is None else adapter.set_training
    trainee = Trainee(speaker.costs, (named,), {TEXT: _identity()}, set_training=change)
    return adapter, trainee, PackedFeed(train, valid, device=device)


def _plan_of(
    job: FitJob, rows: tuple[Packed, Packed], settings: WritingSettings, bf16: bool, device: str
) -> Plan:
    """Return a plan without rungs: what must be the same for a run to go on."""
    import torch

    from topwork.training.devices import named

    digest = hashlib.sha256(repr(settings).encode())
    for packed in rows:
        digest.update(packed.tensors.data)
    return Plan(
        seed=job.seed,
        n_threads=torch.get_num_threads(),
        precision="bf16" if bf16 else "fp32",
        libraries=versions_of(_LIBRARIES),
        data=digest.hexdigest(),
        rungs=(),
        steps=job.n_steps,
        device=named(device),
    )


def _trained(
    job: FitJob, states: torch.nn.Module, settings: WritingSettings
) -> tuple[Adapter | None, Mapping[str, torch.nn.Parameter]]:
    """Return adapters that were put on the network, and what is trained by name."""
    import torch

    if not settings.rank:
        states.requires_grad_(True)
        return None, dict(states.named_parameters())
    shape = Shape("lora", settings.rank, settings.alpha, settings.dropout, settings.layers)
    with drawn_by(job.seed, "cpu"):
        adapter = attach(states, torch.zeros((1, 2), dtype=torch.int64), shape)
    return adapter, adapter.parameters


def _planned(
    job: FitJob, settings: WritingSettings, trainee: Any, feed: Any, look_s: float, bf16: bool
) -> tuple[RungPlan, float]:
    """Return the rung with the steps that the budget has time for, and the seconds of it to keep back."""
    batch = min(settings.batch, feed.n_train)
    per_epoch = max(1, feed.n_train // batch)
    wanted = job.n_steps or settings.epochs * per_epoch
    rung = RungPlan(
        name="lora" if settings.rank else "full",
        n_below=0,
        n_steps=wanted,
        batch=batch,
        n_parts=_n_parts(batch, feed.train.tensors.shape[-1], settings),
        rates=(settings.peak, settings.peak),
        check_every=1,
        smoothing=0.0,
        warmup=settings.warmup,
    )
    left_s = job.budget.remaining_s()
    is_timed = job.n_steps is None and left_s != float("inf")
    reserve_s = max(_RESERVE_S, _RESERVE_SHARE * left_s) if is_timed else _RESERVE_S
    kept_back_s = reserve_s + look_s + job.afterwards.seconds(look_s / max(1, len(feed.valid)))
    if is_timed:
        step_s = batch * _row_seconds(trainee, feed, bf16)
        n_looks = 5
        rung = replace(
            rung, n_steps=max(0, min(wanted, int((left_s - kept_back_s - n_looks * look_s) / step_s)))
        )
    return replace(rung, check_every=check_every(max(1, rung.n_steps), per_epoch)), kept_back_s


def _n_parts(batch: int, length: int, settings: WritingSettings) -> int:
    """Return in how many parts a step is computed; a head that is trained too needs its scores of all tokens."""
    most = _PART_TOKENS if settings.rank else _PART_TOKENS_OF_ALL
    return -(-batch // max(1, most // length))


def _row_seconds(trainee: Any, feed: Any, bf16: bool) -> float:
    """Time one row forth and back; nothing is changed."""
    import torch

    from topwork.training.folding import precision_of
    from topwork.training.trial import seconds_of

    rows = torch.from_numpy(feed.train.tensors[:_TRIAL_ROWS]).to(feed.device)

    def step() -> None:
        with precision_of(bf16=bf16, device=feed.device):
            trainee.features(rows).mean().backward()
        for p in trainee.named().values():
            p.grad = None

    return seconds_of(step, torch.device(feed.device), n_runs=1) / len(rows)


def _merged(adapter: Adapter | None, weights: Mapping[str, torch.Tensor]) -> Merged:
    import torch

    own = {name: value for name, value in weights.items() if not name.startswith("heads.")}
    if adapter is None:
        return Merged({name: value.numpy() for name, value in own.items()}, {})
    return adapter.merge(own, torch.zeros((1, 2), dtype=torch.int64))


def _valid_goals(job: FitJob) -> dict[str, Goal]:
    from topwork.training.judging import of_rows

    return of_rows(job.goals, job.folds[0].valid)


def _identity() -> torch.nn.Module:
    import torch

    return torch.nn.Identity()
