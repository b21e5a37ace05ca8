"""ULMFiT: a text network first learns the user's own texts by masked words, then its stages are let go from the top.

Howard and Ruder, *Universal Language Model Fine-tuning for Text Classification*, arXiv 1801.06146: gradual unfreezing,
a rate of its own for each stage, one cycle for each step of the unfreezing, and the last state (here the first token,
for the networks read both ways), the maximum and the mean of all states side by side. Pictures go the same way without
the first step and with the trunk's own pooling. It sees no test row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np

from topwork.contracts import Array, FitJob, Fitted, Moment, Rates, Words
from topwork.errors import UsageError
from topwork.recipes.first_rung import FirstRung
from topwork.recipes.result import calibrated
from topwork.recipes.resuming import Course, plan_without_rungs
from topwork.recipes.settings import require
from topwork.recipes.stretch import (
    Stretch,
    in_parts,
    later,
    material_of,
    planned,
    probe_heads,
    stretch_of,
    told_to_stop,
    train_stretch,
)
from topwork.training.plan import BATCH, Plan, RungPlan
from topwork.training.schedules import discriminative
from topwork.training.unfinished import Unfinished

if TYPE_CHECKING:
    import torch

    from topwork.training.loop import Outcome
    from topwork.training.masked_words import Guesses, WordPlan

__all__ = ["GRADUAL", "GradualRecipe", "GradualSettings", "gradual_rung", "phases"]

_POOLINGS = {"concat": "concat", "own": ""}
_FEWEST_STEPS = 10
"""Of a part of the unfreezing: AdamW begins each anew, and takes as many to know what it averages."""
_WORDS = 0
"""The number under which a fit that is not finished keeps what masked words came to; parts of the unfreezing follow."""
_WORTH_TEXTS = 20
"""Of fewer texts than this nothing is learnt about their words."""


@dataclass(frozen=True, slots=True)
class GradualSettings:
    """How long each part takes, and how gently.

    Attributes
    ----------
    epochs
        Passes over the training rows while the stages are let go, all in all.
    unfreezing
        Share of these steps before all stages are trained.
    adaptation
        Share of all steps, or of the time, that masked words get at most; 0 leaves them out.
    word_epochs
        Passes over the texts for masked words, where neither steps nor time end them.
    factor
        How many times the rate of a stage is that of the one below it.
    pooling
        Of texts: ``concat`` is first token, maximum and mean side by side; ``own`` is the trunk's own.
    warmup
        Share of each cycle in which the rates go up.
    weight_decay
        Of AdamW.
    smoothing
        Label smoothing.
    """

    epochs: int = 10
    unfreezing: float = 0.5
    adaptation: float = 0.3
    word_epochs: int = 3
    factor: float = 2.6
    pooling: str = "concat"
    warmup: float = 0.1
    weight_decay: float = 0.01
    smoothing: float = 0.1

    def __post_init__(self) -> None:
        share = "0 or more and less than 1"
        allowed = {
            "epochs": (self.epochs >= 1, "1 or more"),
            "unfreezing": (0 <= self.unfreezing < 1, share),
            "adaptation": (0 <= self.adaptation < 1, share),
            "word_epochs": (self.word_epochs >= 1, "1 or more"),
            "factor": (self.factor >= 1, "1 or more"),
            "pooling": (self.pooling in _POOLINGS, f"one of {', '.join(_POOLINGS)}"),
            "warmup": (0 <= self.warmup < 1, share),
            "weight_decay": (self.weight_decay >= 0, "0 or more"),
            "smoothing": (0 <= self.smoothing < 1, share),
        }
        require(self, allowed)


@dataclass(frozen=True, slots=True)
class GradualRecipe:
    """Masked words, then stage after stage from the top."""

    settings: GradualSettings = field(default_factory=GradualSettings)
    name: str = "gradual"
    requires: frozenset[str] = frozenset({"pooled"})

    @property
    def pooling(self) -> str:
        """Return how tokens are to be pooled."""
        return _POOLINGS[self.settings.pooling]

    def __call__(self, job: FitJob) -> Fitted:
        """Adapt, let go from the top, and give back what validation liked best; the probe where there was no time."""
        from topwork.training.devices import at_work

        material, first = material_of(job, self.name, keeps=True), FirstRung.of(job)
        unfinished = Unfinished(job.workplace, job.progress.say)
        with at_work(material.resources.device):
            stretch = stretch_of(job, probe_heads(job, job.folds[0], first.strengths))
            plan, adapted = self._begun(stretch, unfinished)
            outcome, history, lost = self._unfreeze(stretch, plan, adapted, unfinished)
        if not outcome.weights:
            return first.in_place_of(self.name, outcome, *plan.notes)
        seconds = job.budget.clock() - first.ended_s
        fitted = calibrated(job, outcome, self.name, seconds, first.losses)
        notes = (*first.probe.notes, *plan.notes, *_told_of(lost, len(plan.rungs)))
        return replace(fitted, rungs=(first.rung, *fitted.rungs), notes=notes, history=history)

    def _begun(self, stretch: Stretch, unfinished: Unfinished) -> tuple[Plan, dict[str, torch.Tensor]]:
        """Adapt and plan, or take both from the run that is gone on with; return the plan and the weights that changed.

        Raises
        ------
        UsageError
            The run that is to be gone on with is not there, was another one, or was killed before it was planned.
        """
        from topwork.training.loop import Outcome
        from topwork.training.sight import Check
        from topwork.training.trainee import put

        job = stretch.job
        now = plan_without_rungs(job, f"{self.name}: {self.settings}", bf16=stretch.bf16)
        if unfinished.resumes:
            plan, adapted = unfinished.read_plan(now), unfinished.finished(_WORDS)
            if adapted is None:
                raise UsageError(
                    f"What masked words came to is not in {unfinished.folder}.",
                    next_step="Run the same command without --resume.",
                )
            put(stretch.trainee.named(), adapted.weights)
            return plan, dict(adapted.weights)
        found = self._guess(stretch)
        n_words, is_kept = (0, False) if isinstance(found, str) else (found.n_steps, found.kept)
        left = None if job.n_steps is None else max(1, job.n_steps - n_words)
        rungs, kept_back_s = self._phases(replace(stretch, job=replace(job, n_steps=left)))
        plan = replace(now, rungs=rungs, kept_back_s=kept_back_s, notes=_notes(found))
        own = {k: p.detach().cpu().clone() for one in stretch.trainee.stages for k, p in one.items()}
        weights = own if is_kept else {}
        unfinished.write_plan(plan)
        unfinished.finish(_WORDS, Outcome(weights, Check({}, 0.0), n_words, "done"), ())
        return plan, weights

    # --- masked words -----------------------------------------------------------------------------------

    def _guess(self, stretch: Stretch) -> Guesses | str:
        """Let the network learn its texts by masked words; return what came of it, or why nothing was learnt."""
        from topwork.training.masked_words import guess_words

        job, network = stretch.job, stretch.trainee.features
        assert job.material is not None
        if not self.settings.adaptation or job.material.example(0).dtype != np.int32:
            return ""
        words = job.material.words(cast("torch.nn.Module", network))
        if words is None:
            return "Masked words were left out: the trunk does not show its tokens, or has none for a hidden word."
        own: Iterator[Callable[[], Array]] = (
            partial(job.material.example, int(i)) for i in stretch.fold.train
        )
        texts = (*own, *words.further)
        if len(texts) < _WORTH_TEXTS:
            return f"Masked words were left out: {len(texts)} texts are too few."
        plan = self._word_plan(stretch, words, texts)
        if not plan.n_steps:
            return "Masked words were left out for want of time."
        ends_s = job.budget.clock() + self.settings.adaptation * job.budget.remaining_s()
        with job.progress.track("Learning masked words", plan.n_steps * plan.batch, "texts") as advance:

            def tell(n_texts: int) -> bool:
                advance(n_texts)
                late = job.n_steps is None and job.budget.clock() >= ends_s
                return not (late or told_to_stop(job))

            return guess_words(words, stretch.trainee.stages, texts, plan, seed=job.seed, tell=tell)

    def _word_plan(self, stretch: Stretch, words: Words, texts: Sequence[Callable[[], Array]]) -> WordPlan:
        """Return the steps that are asked for, or that there is time for."""
        from topwork.training.masked_words import WordPlan, seconds_of_step

        own, job = self.settings, stretch.job
        assert job.material is not None
        batch = min(BATCH, len(texts))
        rates = discriminative(len(stretch.trainee.stages), job.material.rates.highest, own.factor)
        plan = WordPlan(own.word_epochs * max(1, len(texts) // batch), batch, rates, own.warmup, stretch.bf16)
        if job.n_steps is not None:
            return replace(plan, n_steps=round(own.adaptation * job.n_steps))
        if (left_s := own.adaptation * job.budget.remaining_s()) == float("inf"):
            return plan
        step_s = seconds_of_step(words, stretch.trainee.stages, texts, plan)
        return replace(plan, n_steps=max(0, min(plan.n_steps, int(left_s / step_s))))

    # --- letting go -------------------------------------------------------------------------------------

    def _phases(self, stretch: Stretch) -> tuple[tuple[RungPlan, ...], float]:
        """Return the steps of the unfreezing, and the seconds of the budget to keep back."""
        job, n_stages = stretch.job, len(stretch.trainee.stages)
        assert job.material is not None
        rung = gradual_rung(self.settings, job.material.rates, n_stages, min(BATCH, stretch.feed.n_train))
        rung, kept_back_s = planned(stretch, rung, self.settings.epochs)
        shared = phases(rung.n_steps, n_stages, self.settings.unfreezing)
        found = tuple(
            in_parts(_let_go(stretch, n_below), _phase(rung, n_below, n_steps, n_stages))
            for n_below, n_steps in shared
        )
        return found, kept_back_s

    def _unfreeze(
        self, stretch: Stretch, plan: Plan, adapted: Mapping[str, torch.Tensor], unfinished: Unfinished
    ) -> tuple[Outcome, tuple[Moment, ...], int]:
        """Train the heads, then more stages at a time from the top; return what validation liked best.

        A part that diverges is left out, and the next one goes on from where it began; so many are told of last.
        """
        from topwork.training.loop import Outcome
        from topwork.training.sight import Check
        from topwork.training.trainee import put

        weights, history, n_done, n_lost = dict(adapted), list[Moment](), 0, 0
        start = {name: p.detach().clone() for name, p in stretch.trainee.named().items()}
        best = last = Outcome({}, Check({}, float("inf")), 0, "stopped")
        for number, phase in enumerate(plan.rungs, start=1):
            offset_s = max((one.seconds for one in history), default=0.0)
            free, course = _let_go(stretch, phase.n_below), Course(phase, plan.kept_back_s, unfinished)
            if (ended := unfinished.finished(number)) is not None:
                last, seen = ended, tuple(unfinished.history_of(number))
            else:
                last, seen = train_stretch(free, course, number=number)
                unfinished.finish(number, last, seen)
            history += [later(one, offset_s, n_done, self.name) for one in seen]
            n_done += last.n_steps
            weights = {**weights, **last.weights}
            put(stretch.trainee.named(), {**start, **weights})
            n_lost += last.ended == "diverged"
            if last.weights and last.check.loss < best.check.loss:
                best = replace(last, weights=weights)
            if last.ended == "stopped":
                break
        return replace(best, n_steps=n_done, ended=last.ended), tuple(history), n_lost


def phases(n_steps: int, n_stages: int, share: float) -> tuple[tuple[int, int], ...]:
    """Share steps out: how many stages stay frozen from the input up, and for how many steps.

    ``share`` of them goes in equal parts to the heads alone and to each number of stages but all, which get the rest.
    Where the parts would be shorter than the optimiser takes to find its pace, there are fewer of them, and several
    stages are let go at once.
    """
    n_early = int(n_steps * share)
    n_parts = min(n_stages, n_early // _FEWEST_STEPS)
    each = n_early // n_parts if n_parts else 0
    early = [(n_stages - part * n_stages // n_parts, each) for part in range(n_parts)]
    left = n_steps - each * n_parts
    return (*early, (0, left)) if left else tuple(early)


def gradual_rung(settings: GradualSettings, rates: Rates, n_stages: int, batch: int) -> RungPlan:
    """Return one step with all stages; whoever trains says how many there are."""
    return RungPlan(
        name="gradual",
        n_below=0,
        n_steps=1,
        batch=batch,
        rates=(*discriminative(n_stages, rates.highest, settings.factor), rates.head),
        check_every=1,
        smoothing=settings.smoothing,
        weight_decay=settings.weight_decay,
        warmup=settings.warmup,
    )


def _phase(rung: RungPlan, n_below: int, n_steps: int, n_stages: int) -> RungPlan:
    """Return a part of the unfreezing; validation is looked at once in it, and as planned once all are trained."""
    name = f"{rung.name}: {n_stages - n_below} of {n_stages} stages"
    every = min(rung.check_every, n_steps) if n_below == 0 else n_steps
    return replace(
        rung, name=name, n_below=n_below, n_steps=n_steps, rates=rung.rates[n_below:], check_every=every
    )


def _let_go(stretch: Stretch, n_below: int) -> Stretch:
    """Return the stretch with only the stages above trained."""
    for level, stage in enumerate(stretch.trainee.stages):
        for p in stage.values():
            p.requires_grad_(level >= n_below)
    return replace(stretch, trainee=replace(stretch.trainee, stages=stretch.trainee.stages[n_below:]))


def _told_of(n_lost: int, n_parts: int) -> tuple[str, ...]:
    """Say how many parts diverged."""
    if not n_lost:
        return ()
    told = "was" if n_lost == 1 else "were"
    return (f"{n_lost} of {n_parts} parts of gradual diverged and {told} left out.",)


def _notes(found: Guesses | str) -> tuple[str, ...]:
    if isinstance(found, str):
        return (found,) if found else ()
    told = (
        f"Masked words: {found.n_steps:,} steps on {found.n_texts:,} texts; the loss on {found.n_held:,} others went "
        f"from {found.before:.2f} to {found.after:.2f} nats, with a decoder that begins anew."
    )
    return (told if found.kept else f"{told} It did not fall, so the network was left as it was.",)


GRADUAL = GradualRecipe()
