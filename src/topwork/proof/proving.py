"""The proof: what can be said of a model besides its score on the test rows.

Rivals on the same rows, how the score grows with the labels, labels that look wrong, groups that fare worse, where
the model looks, and when to trust it. Each part is timed; none is allowed to take the model away, so a user who has
waited enough ends it with Ctrl-C and keeps what there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from topwork.contracts import (
    Array,
    Budget,
    Estimate,
    FitJob,
    Fitted,
    Gallery,
    Graph,
    Section,
    Table,
    TargetResult,
    has_classes,
    known_rows,
)
from topwork.proof.alone import trained_alone
from topwork.proof.groups import gaps_of
from topwork.proof.growing import Grown, growth_of
from topwork.proof.looking import Looker, typical
from topwork.proof.occluding import Occluder
from topwork.proof.regions import MOST_LABELS, regions_of
from topwork.proof.rivals import Rival, blind, classical, compared, from_scratch, frozen
from topwork.proof.seeds import brittleness, in_times
from topwork.proof.suspects import (
    Suspicion,
    can_be_doubted,
    gallery_of_outliers,
    gallery_of_suspects,
    suspicions,
)
from topwork.proof.thresholds import threshold_of
from topwork.proof.wording import words_of
from topwork.recipes.probe import PROBE
from topwork.recipes.scratch import SCRATCH
from topwork.report.quantities import is_share, lower_is_better
from topwork.steps.order import Order, Rows
from topwork.steps.transfer import Preparation

__all__ = ["Case", "Proof", "prove"]


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """The model that is to be proven, and all that was known when it was fitted.

    Attributes
    ----------
    before, after
        The rows with the features of the frozen trunk, and with those of the trunk as it is now.
    graph
        The trunk as it is now.
    training_s
        What the training took; the rival from scratch gets as much.
    labels
        Where labels that look wrong are going to be listed.
    reading_s
        What reading the rows took that the fit itself had no features of.
    """

    order: Order
    before: Rows
    after: Rows
    preparation: Preparation
    job: FitJob
    fitted: Fitted
    graph: Graph
    training_s: float
    labels: Path
    reading_s: float = 0.0

    @property
    def classed(self) -> tuple[str, ...]:
        """The targets whose answers are classes.

        What shows what is typical or takes the score for a share is about these alone.
        """
        return tuple(name for name, one in self.after.targets.items() if has_classes(one.link))

    def scores(self) -> dict[str, Array]:
        """Return the model's scores ``[n_test, k]`` of the test rows."""
        return {name: h.scores(self.after.test_features) for name, h in self.fitted.heads.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Proof:
    """What was found: results with all that belongs to a target, sections of the whole run, and what it took."""

    targets: Mapping[str, TargetResult]
    sections: tuple[Section, ...]
    suspects: Mapping[str, tuple[Suspicion, ...]]
    seconds: Mapping[str, float]
    notes: tuple[str, ...]


@dataclass(eq=False)
class _Parts:
    """What the parts of the proof leave, as they are done."""

    targets: dict[str, TargetResult]
    sections: list[Section] = field(default_factory=list)
    suspects: dict[str, tuple[Suspicion, ...]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    growth: dict[str, Grown] = field(default_factory=dict)
    brittleness: dict[str, Estimate] = field(default_factory=dict)
    probe: tuple[Fitted, dict[str, float]] | None = None
    rivals: list[Rival] = field(default_factory=list)

    def add(self, name: str, *sections: Section | None) -> None:
        """Append what there is to a target's sections."""
        found = tuple(one for one in sections if one is not None)
        self.targets[name] = replace(self.targets[name], sections=(*self.targets[name].sections, *found))


def prove(case: Case, results: Mapping[str, TargetResult]) -> Proof:
    """Find out what the order's level of proof asks for.

    Parameters
    ----------
    results
        What is known of each target already; comes back with more.
    """
    parts = _Parts(dict(results), seconds={"reading": case.reading_s} if case.reading_s else {})
    clock = case.order.around.clock
    for name, step in _steps(case):
        if case.order.around.should_stop():
            parts.notes.append(f"The proof was stopped before: {name}.")
            break
        began_s = clock()
        is_done = _attempt(name, step, case, parts)
        parts.seconds[name] = clock() - began_s
        if not is_done:
            parts.notes.append(f"The proof was stopped during: {name}.")
            break
    _attempt("comparisons", _compare, case, parts)
    return Proof(parts.targets, tuple(parts.sections), parts.suspects, parts.seconds, tuple(parts.notes))


_Step: TypeAlias = Callable[[Case, _Parts], bool]
"""A part of the proof; False where the user stopped it."""


def _steps(case: Case) -> Iterator[tuple[str, _Step]]:
    """Yield the parts that the level of proof asks for, and that mean something of this fit."""
    yield from (("baselines", _baselines), ("growth", _grow), ("labels", _doubt), ("heat maps", _look))
    yield "regions", _cut
    # More than a head on what was frozen, and not itself what it would be set beside.
    has_trained = len(case.fitted.rungs) > 1 or bool(case.fitted.weights)
    is_pretrained, level = case.order.recipe.name != SCRATCH.name, case.order.options.proof
    if not has_trained or level not in ("standard", "full"):
        return
    if is_pretrained:
        yield "from scratch", _scratch
    if len(case.after.targets) > 1:
        yield "each target alone", _alone
    if is_pretrained and level == "full":
        yield "seeds", _seeds


def _attempt(name: str, step: _Step, case: Case, parts: _Parts) -> bool:
    """Take a step; where it fails, say so, and keep what the others found."""
    try:
        return step(case, parts)
    except Exception as error:
        parts.notes.append(f"The proof's part {name} could not be made: {error or type(error).__name__}")
        return True


# --- the parts --------------------------------------------------------------------------------------------


def _baselines(case: Case, parts: _Parts) -> bool:
    clock = case.order.around.clock
    began_s = clock()
    parts.rivals += blind(case.before)
    probe = PROBE.fit(replace(case.job, features=case.before.fit_features, budget=Budget(clock)))
    parts.probe = probe
    if case.fitted.weights:
        parts.rivals.append(frozen(case.before, probe[0], clock() - began_s))
    described = classical(case.order, case.before)
    parts.rivals += [] if described is None else [described]
    return True


def _grow(case: Case, parts: _Parts) -> bool:
    if parts.probe is None:
        return True
    for name in parts.targets:
        grown = growth_of(case.order, case.before, parts.probe[1], name)
        if grown is None:
            continue
        parts.growth[name] = grown
        parts.targets[name] = replace(parts.targets[name], growth=grown.growth)
        parts.add(name, grown.chart if grown.growth is None else None)
    return True


def _doubt(case: Case, parts: _Parts) -> bool:
    if parts.probe is None:
        return True
    scores = case.scores()
    for name, target in case.after.targets.items():
        if not can_be_doubted(target.link):
            continue
        held_out = parts.probe[0].held_out[name]
        found, notes = suspicions(case.before, name, held_out, scores[name], case.before.pairs)
        parts.suspects[name] = found
        parts.notes += [note for note in notes if note not in parts.notes]
        parts.add(name, gallery_of_suspects(case.order, found, case.labels.name))
    outliers = gallery_of_outliers(case.order, case.before)
    parts.sections += [] if outliers is None else [outliers]
    return True


def _look(case: Case, parts: _Parts) -> bool:
    """Lay heat over the galleries of answers, where pictures may be kept and the network shows where it looks."""
    case_of = (case.order, case.preparation, case.graph)
    looker = Looker.of(*case_of) or Occluder.of(*case_of)
    scores = case.scores()
    for name in case.classed:
        labels = parts.targets[name].labels
        parts.add(name, typical(case.order, case.after, name, scores[name]))
        if looker is None or not case.order.options.keep_training_data:
            continue
        head = case.fitted.heads[name]
        if not head.is_linear:  # then no place has a share of the score
            continue
        drawn = tuple(
            looker.over(one, head, labels) if isinstance(one, Gallery) else one
            for one in parts.targets[name].sections
        )
        parts.targets[name] = replace(parts.targets[name], sections=drawn)
    return True


def _cut(case: Case, parts: _Parts) -> bool:
    """Find what drives each class: parts of pictures where the network shows where it looks, words of texts."""
    case_of = (case.order, case.preparation, case.graph)
    looker = Looker.of(*case_of)
    occluder = Occluder.of(*case_of) if looker is None else None
    most_labels = max(1, MOST_LABELS // max(1, len(case.classed)))
    for name in (one for one in case.classed if case.fitted.heads[one].is_linear):
        asked = (case.after, name, case.fitted.heads[name], most_labels)
        if looker is not None:
            parts.add(name, regions_of(looker, *asked))
        elif occluder is not None:
            parts.add(name, words_of(occluder, *asked))
    return True


def _scratch(case: Case, parts: _Parts) -> bool:
    found = from_scratch(case.order, case.before, case.preparation, case.job, case.training_s)
    if found is None:
        return False
    rival, note = found
    parts.rivals += [] if rival is None else [rival]
    parts.notes += [note] if note else []
    return True


def _alone(case: Case, parts: _Parts) -> bool:
    """Train a model for each target alone: all of them in as long as this one took, or, in full, each.

    Steps, where they are given, are shared out in the same way.
    """
    n = 1 if case.order.options.proof == "full" else len(case.after.targets)
    steps = None if case.job.n_steps is None else max(1, case.job.n_steps // n)
    job = replace(case.job, n_steps=steps)
    had = "as long" if steps is None else "as many steps"
    whose = "It had" if n == 1 else "The models of all targets together had"
    for name in case.after.targets:
        found = trained_alone(case.order, case.before, case.preparation, job, name, case.training_s / n)
        if found is None:
            return False
        rival, note = found
        parts.rivals += (
            [] if rival is None else [replace(rival, how=f"{rival.how} {whose} {had} as this one.")]
        )
        parts.notes += [note] if note else []
    return True


def _seeds(case: Case, parts: _Parts) -> bool:
    """Fit again with other seeds, pretrained and from scratch, each as long as the first time."""
    found = brittleness(case.order, case.before, case.preparation, case.job, case.training_s)
    if found is None:
        return False
    parts.brittleness = {name: one.ratio for name, one in found.items()}
    for name, one in found.items():
        parts.add(name, one.table)
    return True


def _compare(case: Case, parts: _Parts) -> bool:
    """Set the model beside its rivals, overall and by groups."""
    scores = case.scores()
    found = compared(case.after, scores, parts.rivals, case.order.seed)
    for name in parts.targets:
        parts.targets[name] = replace(parts.targets[name], comparisons=found[name])
        if not known_rows(case.after.truth[name][case.after.split.test]).any():
            continue
        parts.add(name, *_by_rival(case, name, scores[name], parts.rivals))
        parts.add(name, _gaps(case, name, scores[name], parts.rivals))
        if name in case.classed:
            held_out = case.fitted.held_out[name]
            parts.add(name, threshold_of(case.order, case.after, name, held_out, scores[name]))
        parts.add(name, _claims(case, parts, name))
    return True


def _gaps(case: Case, name: str, scores: Array, rivals: list[Rival]) -> Table | None:
    """Return how groups fare, by this model and by those that tell where a gap came from."""
    others = {one.name: one.scores[name] for one in rivals if one.name in ("frozen network", "from scratch")}
    return gaps_of(case.order, case.after, name, {"this model": scores, **others})


def _by_rival(case: Case, name: str, scores: Array, rivals: list[Rival]) -> tuple[Section, ...]:
    """Return what the target has to tell of each rival beside its metrics; who ignores the input has no classes."""
    target, truth = case.after.targets[name], case.after.truth[name][case.after.split.test]
    return tuple(
        section
        for one in rivals
        if not one.is_blind and name in one.scores
        for section in target.differences(truth, scores, one.scores[name], one.name)
    )


def _claims(case: Case, parts: _Parts, name: str) -> Table | None:
    """Say what transfer brought on this data set: less data, better answers, less chance, fewer weights."""
    result = parts.targets[name]
    scratch = next((one for one in result.comparisons if one.name == "from scratch"), None)
    rung = next((one for one in case.fitted.rungs if one.chosen), None)
    if scratch is None or rung is None:
        return None
    metric = result.main_metric
    rows: list[tuple[str, ...]] = [
        (
            "It generalises better",
            "difference of the score to the network from scratch",
            _spelled(metric, scratch.difference[metric]),
        ),
        ("It needs less data", *_enough(parts.growth.get(name), metric, scratch.metrics[metric].value)),
        (
            "It is less brittle",
            "variance of the score over seeds, of this recipe over that from scratch",
            _brittle(case, parts, name),
        ),
        (
            "It trains fewer weights",
            "share of the network's weights that were trained",
            f"{rung.trained_share or 0:.0%}",
        ),
    ]
    return Table("What pretraining brought here", ("claim", "measured as", "result"), tuple(rows))


def _spelled(metric: str, difference: Estimate) -> str:
    if not difference.is_known:
        return "not measured"
    if is_share(metric):
        return difference.in_points()
    return f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"


def _brittle(case: Case, parts: _Parts, name: str) -> str:
    if name in parts.brittleness:
        return in_times(parts.brittleness[name])
    return "not measured" + ("" if case.order.options.proof == "full" else ": it takes --proof full")


def _enough(grown: Grown | None, metric: str, level: float) -> tuple[str, str]:
    """Return the fewest labels with which the frozen network was as good as the one from scratch with all of them."""
    what = "labels with which the frozen network reaches what training from scratch reaches with all"
    if grown is None:
        return what, "not measured: too few rows"
    measured = grown.measured()
    enough = [x for x, y in measured if (y <= level if lower_is_better(metric) else y >= level)]
    if not enough:
        return what, f"more than {grown.n_now}"
    least = "at most " if enough[0] == measured[0][0] else ""
    return what, f"{least}{enough[0]:.0f} of {grown.n_now}"
