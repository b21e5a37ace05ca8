"""The climb of the ladder: a plan from a timed trial, rung after rung on one network, and what comes of it.

It knows which rungs there are and what each starts from. When there is a climb at all stands in `ladder`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from topwork.contracts import (
    FitJob,
    Fitted,
    Fold,
    Forecast,
    Moment,
    Stage,
)
from topwork.recipes.beginning import known_part, of_sample
from topwork.recipes.candidate import Candidate, chosen_of, reason_of, told
from topwork.recipes.contrast import CONTRAST, Contrasted, ContrastSettings, Upper, contrasted, states_at
from topwork.recipes.contrast_rung import is_preferred, worth_s
from topwork.recipes.result import after, heads_and_scores, held_out_of, judged, weights_of_network
from topwork.recipes.resuming import plan_without_rungs
from topwork.recipes.stretch import probe_heads, ready_network, told_to_stop
from topwork.recipes.words import WORDS, WeighedWords
from topwork.training.forecasts import peak_bytes, range_of
from topwork.training.judging import mean_score, of_rows
from topwork.training.plan import (
    BATCH,
    MOST_VARIANTS,
    Plan,
    RungPlan,
    Subject,
    describe_plan,
    plan_rungs,
    rung_s,
)
from topwork.training.unfinished import Unfinished

if TYPE_CHECKING:
    from topwork.training.cutting import Above, Below
    from topwork.training.loop import Control, Outcome
    from topwork.training.sight import Check
    from topwork.training.surveying import Shape, Survey
    from topwork.training.trainee import Trainee

__all__ = ["Climber", "Outlook", "outlook"]

_TOP_PART = 0.5
"""Part of the stages that stay frozen on the first rung above the probe."""


class Climber:
    """What the rungs above the probe share: one network, its heads, and the plan.

    Parameters
    ----------
    strengths
        Of the probe's penalty, by target.
    began_s
        What the clock said when the fit began.
    recipe
        Name and settings of who climbs, as the plan tells them.
    reserve_s
        Seconds of the budget to keep back beside what a trial measures.
    """

    def __init__(
        self, job: FitJob, strengths: Mapping[str, float], began_s: float, recipe: str, reserve_s: float
    ) -> None:
        from topwork.training.feeds import feed_of
        from topwork.training.specimens import Specimens

        assert job.material is not None
        self.job, self.reserve_s, self.began_s = of_sample(job), reserve_s, began_s
        self.material, part = job.material, known_part(job)
        self.fold: Fold = self.job.folds[0]
        resources = self.material.resources
        self.bf16, self.device = resources.has_fast_bf16, resources.device
        self.network = ready_network(self.job)
        self.heads = {
            name: head.to(self.device) for name, head in probe_heads(part, part.folds[0], strengths).items()
        }
        self.specimens = Specimens(self.material, self.fold.train, self.device)
        self.decode_s = self.specimens.decode_s()
        self.feed = feed_of(self.material, self.fold, job.seed)

        self.stages = self.material.stages(self.network)
        self.n_below = _cut_of(len(self.stages))
        self.parts = self._cut()
        self.start = {name: p.detach().clone() for name, p in self._trainee(0).named().items()}
        self.notes: list[str] = []
        self.unfinished = Unfinished(job.workplace, self._note)
        self.history = self.unfinished.history()
        self.began_s -= max((moment.seconds for moment in self.history), default=0.0)
        self.plan = plan_without_rungs(job, recipe, bf16=self.bf16)
        self.surveyed: Survey | None = None
        self.expected_bytes = 0.0

    def _note(self, note: str) -> None:
        """Say what went wrong and keep it for the record, once: a full disk stays full."""
        if not any(note.startswith(one.partition(":")[0]) for one in self.notes):
            self.notes.append(note)
            self.job.progress.say(note)

    def _cut(self) -> tuple[Below, Above] | None:
        from topwork.training.cutting import cut

        found = (
            cut(self.network, self.stages, self.n_below, self.specimens.first(2)) if self.n_below else None
        )
        if found is None:
            self.n_below = 0
        return found

    # --- the plan -------------------------------------------------------------------------------------------

    def _plan(self) -> Plan:
        """Read the plan of the run that is resumed, or make one from a timed trial; write it down."""
        if self.unfinished.resumes:
            return self.unfinished.read_plan(self.plan)
        self.surveyed = found = self.survey(self.feed.n_train, len(self.fold.valid))
        afterwards_s = self.job.afterwards.seconds(found.speed.row_s)
        left_s = self.job.budget.remaining_s() - self.reserve_s - afterwards_s
        contrast_s = worth_s(self.job, found.speed, left_s, ContrastSettings()) if self.n_below else 0.0
        rungs = plan_rungs(
            self.subject(self.feed.n_train),
            found.speed,
            left_s - contrast_s,
            n_steps=self.job.n_steps,
        )
        shaped = tuple(_shaped(rung, found.shape_of(rung)) for rung in rungs)
        plan = replace(self.plan, rungs=shaped, kept_back_s=sum(found.speed.looks_s) + afterwards_s)
        plan = replace(plan, contrast=contrast_s > 0)
        n_variants = max((rung.n_variants for rung in rungs), default=0)
        training_bytes = found.training_bytes(self.feed.n_train, n_variants)
        self.expected_bytes = peak_bytes() + training_bytes + self.material.held_bytes(self.feed.n_train)
        self.unfinished.write_plan(plan)
        return plan

    def subject(self, n_train: int) -> Subject:
        """Return what is trained, for so many rows."""
        rates, varies = self.material.rates, self.specimens.varies()
        return Subject(n_train, len(self.stages), self.n_below, rates, varies)

    def survey(self, n_train: int, n_valid: int) -> Survey:
        """Time and measure steps of either kind on a few rows, for so many."""
        from topwork.training import surveying
        from topwork.training.devices import free_bytes

        sizes = self.feed.train_sizes
        n_decoded = 0 if sizes is None else len(sizes)
        subject = surveying.Subject(
            network=self.network,
            batch=self.specimens.typical(surveying.trial_rows(self.device), sizes),
            largest=self.specimens.largest(sizes),
            most_variants=MOST_VARIANTS if self.specimens.varies() else 1,
            parts=self.parts,
            trainee=self._trainee,
            n_below=self.n_below,
            n_train=n_train,
            n_valid=n_valid,
            decode_s=self.decode_s * (1 - n_decoded / n_train),
            bf16=self.bf16,
            memory_bytes=free_bytes(self.device, self.material.resources.memory_bytes),
        )
        return surveying.survey(subject)

    # --- climbing -------------------------------------------------------------------------------------------

    def all_rungs(self, first: Candidate, probe: Fitted, words: WeighedWords | None) -> list[Candidate]:
        """Climb as far as there is time; words stand beside the best network before any rung is trained, and after."""
        begun = self._begin(first, probe)
        early = self._with_words(words, WORDS, begun[chosen_of(begun)], probe)
        climbed = self._climb(first)
        best = chosen_of([*begun, *climbed]) - len(begun)
        late = []
        if best >= 0:
            late = self._with_words(words, f"{climbed[best].rung.name} and {WORDS}", climbed[best], probe)
        return [*begun, *early, *climbed, *late]

    def _begin(self, first: Candidate, probe: Fitted) -> list[Candidate]:
        """Make the plan, and tune on pairs where it says so; one of that and the probe is out of the choice then."""
        self.plan = self._plan()
        if not self.plan.contrast or self._should_stop():
            return [first]
        clock, started_s = self.job.budget.clock, self.job.budget.clock()
        found = self._contrasted()
        if found is None:
            self.notes.append("contrast was given up for want of time.")
            return [first]
        [(name, goal)] = self.job.goals.items()
        scores = {name: found.held_out[self.fold.valid]}
        rung, losses = judged(self.job, CONTRAST.name, clock() - started_s, scores, first.losses)
        share = sum(one.numel() for one in found.weights.values()) / self._n_weights()
        rung = replace(rung, n_steps=found.n_steps, trained_share=share)
        self.job.progress.say(told(rung))
        own = Candidate(rung, scores, losses, {name: found.head}, found.weights)
        # Photos may lose by it as much as others gain, so that they have to show it; texts gain.
        preferred = is_preferred(goal, found.held_out, probe.held_out[name], leans=self.material.is_ragged)
        note = "takes the probe's place" if preferred else "does not take the probe's place"
        own = replace(own, rung=replace(rung, notes=(f"{note}, by all rows that folds held out",)))
        return [
            replace(first, is_out=preferred),
            replace(own, is_out=not preferred, held_out={name: found.held_out}),
        ]

    def _contrasted(self) -> Contrasted | None:
        assert self.parts is not None
        feed = states_at(self.job, self.parts[0], self._should_stop, bf16=self.bf16)
        if feed is None:
            return None
        trainee = replace(self._trainee(self.n_below), heads={})
        upper = Upper(trainee, feed, self.bf16, 0.0)
        return contrasted(self.job, upper, ContrastSettings(), self._reserve_s())

    def _n_weights(self) -> int:
        return sum(p.numel() for p in self.network.parameters())

    def _climb(self, first: Candidate) -> list[Candidate]:
        """Climb the planned rungs while each is a gain; return a candidate for each."""
        best, found = first, []
        for number, rung in enumerate(self.plan.rungs, start=1):
            if self.unfinished.finished(number) is None and self._should_stop():
                break
            candidate = self._climb_one(number, rung, best)
            if candidate is None:
                break
            found.append(candidate)
            if candidate.losses.mean() >= best.losses.mean() and rung.n_below == 0:
                break
            best = min(best, candidate, key=lambda one: float(one.losses.mean()))
            self._set(best)
        return found

    def _climb_one(self, number: int, rung: RungPlan, best: Candidate) -> Candidate | None:
        clock = self.job.budget.clock
        started_s = clock()
        outcome = self.unfinished.finished(number) or self._train(number, rung)
        if outcome is None or not outcome.weights:
            self.notes.append(f"{rung.name} was given up{_because(outcome)}.")
            return None
        self.unfinished.finish(number, outcome, self.history)
        candidate = self._candidate(rung.name, outcome, best, clock() - started_s)
        self.job.progress.say(told(candidate.rung))
        return candidate

    def _train(self, number: int, rung: RungPlan) -> Outcome | None:
        from topwork.training.loop import train

        trainee = self._trainee(rung.n_below)
        if rung.recompute:
            _recompute(self.stages[rung.n_below :])
        feed: Any = self._feed(rung)
        if feed is None:  # told to stop, perhaps in a run that has trained before
            return self.unfinished.best_so_far(number, len(self.fold.valid))
        n_examples = rung.n_steps * rung.batch
        with self.job.progress.track(f"Training {rung.name}", n_examples, "examples") as advance:
            control = self._control(number, rung, lambda n: advance(n * rung.batch))
            goals = (of_rows(self.job.goals, self.fold.train), of_rows(self.job.goals, self.fold.valid))
            return train(rung, trainee, feed, goals, control, seed=(self.job.seed, number))

    def _feed(self, rung: RungPlan) -> Any:
        """Return the pictures, or the activations at the cut, computed now and kept."""
        if not rung.n_below:
            return self.feed
        from topwork.training.feeds import fill
        from topwork.training.surveying import at_cut

        assert self.parts is not None
        below = partial(at_cut, self.parts[0], bf16=self.bf16)
        n_examples = rung.n_variants * int(self.feed.n_train)
        with self.job.progress.track(f"Reading for {rung.name}", n_examples, "examples") as advance:
            return fill(self.feed, below, rung.n_variants, advance, self._should_stop)

    def _trainee(self, n_below: int) -> Trainee:
        from topwork.training.trained import trained_stages
        from topwork.training.trainee import Trainee

        stages = trained_stages(self.network, self.stages, n_below)
        features = self.parts[1] if n_below and self.parts else self.network
        return Trainee(features, stages, self.heads)

    def _control(self, number: int, rung: RungPlan, advance: Callable[[int], None]) -> Control:
        from topwork.training.loop import Control

        found = self.unfinished.found(number)
        n_done = int(found.values["n_steps"]) if found else 0
        self.history = [m for m in self.history if m.rung != rung.name or m.n_steps <= n_done]
        return Control(
            should_stop=self._should_stop,
            advance=advance,
            keep=lambda state: self.unfinished.keep(number, state, self.history),
            saw=lambda n_steps, check: self._saw(rung, n_steps, check),
            bf16=self.bf16,
            found=found,
        )

    def _should_stop(self) -> bool:
        late = self.job.n_steps is None and self.job.budget.remaining_s() < self._reserve_s()
        return late or told_to_stop(self.job)

    def _reserve_s(self) -> float:
        """Return the time to keep for a look that has begun, one more at all rows, and what follows the recipe."""
        return self.reserve_s + self.plan.kept_back_s

    def _saw(self, rung: RungPlan, n_steps: int, check: Check) -> None:
        score = mean_score(check.seen(of_rows(self.job.goals, self.fold.valid)), check.scores)
        seconds = self.job.budget.clock() - self.began_s
        self.history.append(Moment(seconds, n_steps, rung.name, check.loss, score))

    def _candidate(self, name: str, outcome: Outcome, best: Candidate, seconds: float) -> Candidate:
        """Calibrate what was trained and compare it with the best network before."""
        heads, scores = heads_and_scores(self.job, outcome)
        rung, losses = judged(self.job, name, seconds, scores, best.losses)
        n_trained = sum(v.numel() for k, v in outcome.weights.items() if not k.startswith("heads."))
        rung = replace(after(rung, outcome), trained_share=n_trained / self._n_weights())
        return Candidate(rung, scores, losses, heads, outcome.weights)

    def _with_words(
        self, words: WeighedWords | None, name: str, network: Candidate, probe: Fitted
    ) -> list[Candidate]:
        """Put the words beside the network of a rung, where there are any."""
        if words is None:
            return []
        seconds = 0.0 if words.of_all else words.seconds
        found = words.rung(name, network, probe.heads if network.heads is None else network.heads, seconds)
        self.job.progress.say(told(found.rung))
        is_known = any(moment.rung == name for moment in self.history)  # to a run that is gone on with
        if not is_known:
            clock_s, loss = self.job.budget.clock() - self.began_s, float(found.losses.mean())
            self.history.append(Moment(clock_s, 0, name, loss, found.rung.validation))
        return [found]

    def _set(self, best: Candidate) -> None:
        """Put the best rung's weights into network and heads, for the next one to start from."""
        from topwork.training.trainee import put

        put(self._trainee(0).named(), {**self.start, **best.raw})

    # --- the end --------------------------------------------------------------------------------------------

    def finish(self, probe: Fitted, candidates: list[Candidate]) -> Fitted:
        """Choose, and put together what the recipe gives back."""
        chosen = chosen_of(candidates)
        rungs = [replace(one.rung, chosen=False) for one in candidates]
        own = rungs[chosen]
        rungs[chosen] = replace(own, chosen=True, notes=(*own.notes, *reason_of(candidates, chosen)))
        notes = (*probe.notes, *self.notes)
        common: dict[str, Any] = {
            "rungs": tuple(rungs),
            "notes": notes,
            "plan": describe_plan(self.plan),
            "history": tuple(self.history),
            "forecasts": self._forecasts(candidates),
        }
        best = candidates[chosen]
        if best.heads is None:
            return replace(probe, **common)
        # A rung trains all that the ones before it trained, so its own weights are all that changed.
        weights = weights_of_network(best.raw)
        held_out = best.held_out or held_out_of(self.job, best.scores)
        return Fitted(best.heads, held_out, weights=weights, **common)

    def _forecasts(self, candidates: list[Candidate]) -> tuple[Forecast, ...]:
        """Set what the survey said beside what came: seconds of rungs that were climbed to their end, and memory."""
        done = {c.rung.name: c.rung.seconds for c in candidates if c.rung.n_steps and not c.rung.notes}
        if self.surveyed is None:
            return ()
        speed, per_epoch = self.surveyed.speed, max(1, self.feed.n_train // BATCH)
        told = []
        for rung in (one for one in self.plan.rungs if one.name in done):
            decode_s = speed.decode_s if rung is self.plan.rungs[0] else 0.0
            expected_s = range_of(rung_s(rung.name, rung.n_steps, speed, per_epoch) + decode_s)
            told.append(Forecast(f"rung {rung.name}", "seconds", *expected_s, done[rung.name]))
        if done and peak_bytes() and self.device == "cpu":  # what a GPU holds is not in the process
            told.append(Forecast("ladder", "bytes", *range_of(self.expected_bytes), peak_bytes()))
        return tuple(told)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a survey of a few rows says of training all of them."""

    survey: Survey
    subject: Subject


def outlook(job: FitJob, n_train: int, n_valid: int) -> Outlook:
    """Survey a small job for a whole one of so many rows; nothing is trained."""
    from topwork.training.devices import at_work

    assert job.material is not None
    with at_work(job.material.resources.device):
        climber = Climber(job, dict.fromkeys(job.goals, 1e-2), job.budget.clock(), "", 0.0)
        return Outlook(climber.survey(n_train, n_valid), climber.subject(n_train))


def _shaped(rung: RungPlan, shape: Shape) -> RungPlan:
    return replace(rung, n_parts=shape.n_parts, recompute=shape.recompute)


# --- small parts ------------------------------------------------------------------------------------------------


def _cut_of(n_stages: int) -> int:
    return 0 if n_stages < 3 else round(n_stages * _TOP_PART)


def _because(outcome: Outcome | None) -> str:
    return ": it diverged" if outcome is not None and outcome.ended == "diverged" else " for want of time"


def _recompute(stages: Sequence[Stage]) -> None:
    """Make every stage compute its activations again on the way back in place of keeping them."""
    from torch.utils.checkpoint import checkpoint

    for module in (module for stage in stages for module in stage.modules):
        own = module.forward
        if not (isinstance(own, partial) and own.func is checkpoint):  # a rung before may have done it
            module.forward = partial(checkpoint, own, use_reentrant=False)
