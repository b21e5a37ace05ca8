"""`fit`: labelled data in, a bundle and a report out.

The steps stand in `fit` in the order in which they happen; each is a function below it, or in a module of its
own: the rows get their sides in `steps.assigning`, of many a sample is read first in `steps.sampling`, the trunk is
made ready in `steps.transfer`, chosen in `steps.choosing`, the record put together in `steps.recording`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from topwork import __version__
from topwork.bundle.base import find_trunk
from topwork.bundle.compiling import open_model
from topwork.bundle.contents import Contents, save
from topwork.bundle.goldens import make_goldens
from topwork.contracts import (
    Afterwards,
    Array,
    Budget,
    FitJob,
    FitRecord,
    Fitted,
    Graph,
    Metrics,
    Rung,
    Side,
    Target,
    TargetResult,
    Trunk,
    Workplace,
)
from topwork.data.columns import Columns
from topwork.data.corrections import free_name, write_suspects
from topwork.data.reading import name_of, spelled
from topwork.engines.choice import build, reference
from topwork.engines.grafting import graft
from topwork.proof.proving import Case, prove
from topwork.report.html import render_html
from topwork.steps.asking import look_up
from topwork.steps.choosing import settle, told_of
from topwork.steps.events import EVENT_SETTING
from topwork.steps.examples import examples_of
from topwork.steps.goldens import golden_inputs
from topwork.steps.languages import foreign
from topwork.steps.material import TrunkMaterial, apart, resources_of, unlabelled
from topwork.steps.monitoring import domain_of, statistics_of, told_of_domain
from topwork.steps.omission import omission_of
from topwork.steps.onward import BundleTrunk
from topwork.steps.options import (
    DEFAULT_BUDGET,
    DEFAULT_RECIPE,
    FitOptions,
    Surroundings,
    duration_s,
)
from topwork.steps.order import Order, Rows
from topwork.steps.places import Place
from topwork.steps.recording import (
    Judged,
    judge,
    moment,
    platform_settings,
    summarise_data,
    summarise_split,
    told_of_weights,
    told_on_the_way,
    unknown_labels,
    worst,
)
from topwork.steps.sampling import begin, completed, rows_after, sample_of, settled_on
from topwork.steps.speeds import DELIVERY_S
from topwork.steps.transfer import Preparation, packages
from topwork.steps.tuning import trained_graph, tuned_rows, with_words
from topwork.storage import sweep, write_atomically
from topwork.training.judging import loss_name, skill
from topwork.verbs.model import Model

__all__ = ["fit", "job_of"]

_ALMOST_ALL = 0.9
"""Part of the test rows that must stand alone for their intervals to be taken at their word."""
_MINUTE_S = 60.0
_DAY_S = 86_400.0
"""No fit takes that long: what is unfinished and older was left behind by one that was killed."""


@dataclass(frozen=True, slots=True)
class _Climbed:
    """What the recipe gave, what held-out rows say of it, and what it cost."""

    fitted: Fitted
    validation: Mapping[str, Metrics]
    rungs: tuple[Rung, ...]
    first_model_s: float
    training_s: float


def fit(
    data: str | Path | Columns,
    out: str | Path | None = None,
    *,
    trunk: str | None = None,
    recipe: str = DEFAULT_RECIPE,
    budget: str | float | None = DEFAULT_BUDGET,
    seed: int = 0,
    options: FitOptions | None = None,
    around: Surroundings | None = None,
) -> Model:
    """Fit a model on labelled data.

    Parameters
    ----------
    data
        A folder with one sub-folder per label, a folder of such splits, a table, a zip of any of these, or a query
        (``.sql``). Or texts in memory: a pair ``(texts, labels)``, or a mapping of columns to lists.
    out
        Where the bundle goes; the report is written beside it. Without it the bundle lives as long as the
        model; `Model.save` keeps a copy.
    trunk
        Pretrained network: a name of the catalogue, ``timm/NAME``, ``hf/ORG/NAME``, or a local folder. ``auto`` tries
        those of the catalogue that are here and takes the best, ``auto:NAME,NAME`` these as well. None takes
        the default, or with ``options.onward`` that of the bundle; another one than the bundle's is refused.
    recipe
        How it is fitted.
    budget
        Longest time for fitting, such as ``90s`` or ``2m``; None for no limit. The proof is not counted.
    seed
        Of splits and of everything else that is drawn at random.
    options, around
        Rarer choices, and what stands around the call.

    Raises
    ------
    DataError
        The data cannot be used, or too little of it can.
    UsageError
        A name or a combination that cannot work.
    WeightsError
        The trunk's weights cannot be had.
    StorageError
        The bundle cannot be written.
    """
    around = around or Surroundings()
    began_s = around.clock() if around.began_s is None else around.began_s
    deadline = Budget(around.clock, around.clock() + duration_s(budget))
    place = Place.of(name_of(data), out)
    sweep(place.bundle.parent, older_than_s=_DAY_S, now_s=around.wall_clock())
    sweep(place.unfinished, older_than_s=_MINUTE_S, now_s=around.wall_clock())
    order = look_up(data, trunk, recipe, seed, budget, options or FitOptions(), around)
    preparation = Preparation(order.trunk, order.modality, around)
    workplace = Workplace(place.unfinished, order.options.resume, around.should_stop)
    settled = settle(order, begin(order, preparation, deadline, workplace), preparation, place.unfinished)
    order, rows, preparation = settled.order, settled.rows, settled.preparation
    job = job_of(order, rows, preparation, workplace, deadline)
    climbed = _climb(order, rows, job, began_s)
    rows, fitted = settled_on(order, rows, preparation, climbed.fitted)
    climbed = replace(climbed, fitted=fitted)
    rows = replace(rows, targets=_calibrated(rows, climbed.fitted))
    trunk_graph, tuned = _transferred(order, rows, preparation, climbed.fitted)
    results = _judge_targets(order, tuned, climbed)
    domain = domain_of(tuned, climbed.fitted)
    record = FitRecord(
        kind="fit",
        name=place.bundle.stem,
        created=moment(around.wall_clock()),
        topwork=__version__,
        command=around.command or _call(data, out, trunk, order),
        data=summarise_data(name_of(data).name, order.dataset, rows.findings),
        split=summarise_split(rows.split, tuple(_cautions(order, rows))),
        trunk=order.trunk.card,
        recipe=order.recipe.name,
        settings=_settings(order, preparation),
        targets=results,
        rungs=climbed.rungs,
        seconds=around.clock() - began_s,
        seconds_to_first_model=climbed.first_model_s,
        n_cached=rows.n_cached,
        notes=climbed.fitted.notes,
        plan=climbed.fitted.plan,
        forecasts=climbed.fitted.forecasts,
        sections=(
            *told_of(settled.choice),
            *told_on_the_way(climbed.fitted, {one.main_metric for one in rows.targets.values()}),
            *told_of_weights(climbed.rungs),
            *told_of_domain(domain, tuned),
        ),
        trunk_choice=settled.choice,
    )
    statistics = statistics_of(order, tuned, climbed.fitted, domain)
    contents = _contents(order, tuned, graft(trunk_graph, climbed.fitted.heads), record, statistics)
    contents = replace(contents, omitted=omission_of(order, preparation.graph(), climbed.fitted))
    model = _deliver(place, contents)
    if order.options.proof == "none":
        return model
    reads_s = around.clock()
    before = completed(order, rows, preparation)
    case = Case(
        order,
        before,
        tuned if fitted.weights else before,
        preparation,
        job if job.sample is None else job_of(order, before, preparation, workplace, deadline),
        climbed.fitted,
        trunk_graph,
        climbed.training_s,
        free_name(place.suspects),
        reading_s=0.0 if job.sample is None else around.clock() - reads_s,
    )
    proven, labels = _proven(case, record)
    model = _deliver(place, replace(contents, record=proven))
    model.labels = labels
    return model


def _deliver(place: Place, contents: Contents) -> Model:
    """Write bundle and report, open the bundle and let it prove itself."""
    save(place.bundle, contents)
    write_atomically(place.report, render_html(contents.record).encode("utf-8"))
    shutil.rmtree(place.unfinished, ignore_errors=True)
    base = contents.omitted  # its trunk is in hand, and need not be found by its name
    find = find_trunk if base is None else lambda _name, _folder: base.trunk
    model = Model(open_model(place.bundle, find=find), place.folder)
    model.prove()
    return model


def _proven(case: Case, record: FitRecord) -> tuple[FitRecord, Path | None]:
    """Add the proof to a record, and write the list of doubtful labels beside the bundle; return its path."""
    proof = prove(case, record.targets)
    doubted = sorted(
        (one for several in proof.suspects.values() for one in several), key=lambda one: one.score
    )
    if doubted:
        write_suspects(case.labels, [one.suspect(case.order.dataset) for one in doubted])
    else:
        case.labels.unlink(missing_ok=True)  # of an earlier fit, and nobody has written into it
    proven = replace(
        record,
        targets=proof.targets,
        sections=(*record.sections, *proof.sections),
        proof_seconds=proof.seconds,
        notes=(*record.notes, *proof.notes),
    )
    return proven, case.labels if doubted else None


# --- fitting and judging ------------------------------------------------------------------------------


def job_of(
    order: Order, rows: Rows, preparation: Preparation, workplace: Workplace, deadline: Budget
) -> FitJob:
    """Put together what a recipe may use: the rows of training and validation alone."""
    return FitJob(
        features=rows.fit_features,
        goals=rows.goals(),
        folds=rows.folds,
        seed=order.seed,
        budget=deadline,
        progress=order.around.progress,
        material=_material(order, rows, preparation),
        workplace=workplace,
        n_steps=order.options.steps,
        afterwards=Afterwards(len(rows_after(rows)), rows.row_s, DELIVERY_S),
        sample=sample_of(order, rows, preparation),
        own_units=order.own_units,
    )


def _calibrated(rows: Rows, fitted: Fitted) -> dict[str, Target]:
    """Let every target learn from held-out scores what its answers need besides them."""
    return {
        name: target.calibrated(rows.truth[name][rows.fit_rows], fitted.held_out[name])
        for name, target in rows.targets.items()
    }


def _climb(order: Order, rows: Rows, job: FitJob, began_s: float) -> _Climbed:
    """Run the recipe."""
    clock = order.around.clock
    started_s = clock()
    fitted = order.recipe(job)
    took_s = clock() - started_s
    # A fit that was resumed trained before, too.
    training_s = max([took_s, *(moment.seconds for moment in fitted.history)])
    validation = {name: _validation(rows, fitted, name) for name in rows.targets}
    score = _score(rows, job, fitted, validation)
    alone = Rung(order.recipe.name, took_s, score, fitted.notes, chosen=True, loss_name=loss_name(job.goals))
    rungs = fitted.rungs or (alone,)
    return _Climbed(fitted, validation, rungs, started_s + rungs[0].seconds - began_s, training_s)


def _score(rows: Rows, job: FitJob, fitted: Fitted, validation: Mapping[str, Metrics]) -> float:
    """Return the main metric of held-out rows, averaged over the targets; the skill where they have several metrics."""
    if len({one.main_metric for one in rows.targets.values()}) > 1:
        return skill(job.goals, fitted.held_out)
    return float(np.mean([validation[name][one.main_metric].value for name, one in rows.targets.items()]))


def _material(order: Order, rows: Rows, preparation: Preparation) -> TrunkMaterial:
    return TrunkMaterial(
        trunk=order.trunk,
        around=order.around,
        dataset=order.dataset,
        modality=order.modality,
        rows=rows.fit_rows,
        resources=resources_of(preparation.machine, order.around.device),
        further=unlabelled(order.dataset, rows),
        kept_apart=apart(rows),
    )


def _transferred(order: Order, rows: Rows, preparation: Preparation, fitted: Fitted) -> tuple[Graph, Rows]:
    """Return the trunk as it is now, with its features of the rows: computed again where training changed it."""
    if not fitted.weights:
        return preparation.graph(), rows
    tuned = trained_graph(order, preparation, fitted)
    return tuned, tuned_rows(with_words(order, fitted), rows, preparation, tuned)


def _validation(rows: Rows, fitted: Fitted, target: str) -> Metrics:
    """Evaluate the scores of rows while they were held out."""
    truth = rows.truth[target][rows.fit_rows].copy()
    scores = fitted.held_out[target]
    truth[np.isnan(scores[:, 0])] = np.nan if truth.dtype.kind == "f" else -1
    return rows.targets[target].evaluate(truth, np.nan_to_num(scores), rows.split.seed)


def _judge_targets(order: Order, rows: Rows, climbed: _Climbed) -> dict[str, TargetResult]:
    """Evaluate every target on the test rows, which nothing was chosen on."""
    judged = {
        name: Judged(rows.split.test, rows.truth[name][rows.split.test], head.scores(rows.test_features))
        for name, head in climbed.fitted.heads.items()
    }
    return {name: _judge_target(order, rows, climbed, name, one) for name, one in judged.items()}


def _judge_target(order: Order, rows: Rows, climbed: _Climbed, name: str, judged: Judged) -> TargetResult:
    target = rows.targets[name]
    keep = order.options.keep_training_data
    gallery = worst(target, judged, order.dataset, order.modality, with_pictures=keep)
    baselines = target.baselines(rows.truth[name][rows.fit_rows], judged.truth, order.seed)
    return judge(target, judged, gallery, climbed.validation[name], baselines)


def _cautions(order: Order, rows: Rows) -> Iterator[str]:
    """Say what the test is not: labels that no training row has, and rows that are not independent."""
    test = rows.split.test
    for name, target in rows.targets.items():
        if left := unknown_labels(target, [order.dataset.targets[name][row] for row in test]):
            yield f"{name}: {left}"
    if strange := foreign(order, rows.findings.usable):
        yield strange
    n_units = len(np.unique(rows.split.units[test]))
    if n_units < _ALMOST_ALL * len(test):
        yield (
            f"The {len(test):,} test rows are of {n_units:,} groups that belong together. Intervals take rows for "
            "independent, so the true ones are wider."
        )


def _settings(order: Order, preparation: Preparation) -> dict[str, str]:
    """Name every choice that changes the result."""
    choice, machine = preparation.choice, preparation.machine
    return {
        "seed": str(order.seed),
        "budget": "none" if order.budget is None else str(order.budget),
        "engine": f"{choice.name} {preparation.key().version}, {choice.precision}",
        "threads": str(machine.n_cores),
        "decoder": order.modality.decoder,
        "preprocessing": order.trunk.preprocessing.describe(),
        "trunk identity": order.trunk.identity,
        "packages": packages(),
        **{f"recipe's {name}": str(value) for name, value in order.options.recipe_settings.items()},
        **({} if order.options.event is None else {EVENT_SETTING: order.options.event}),
        **platform_settings(),
    }


def _call(data: str | Path | Columns, out: str | Path | None, trunk: str | None, order: Order) -> str:
    """Write the call as one would in Python; of the options, what decides which columns are predicted, and how."""
    where = "" if out is None else f", {str(out)!r}"
    named = "" if trunk is None else f", trunk={trunk!r}"
    given, usual = order.options, FitOptions()
    task = given.task if isinstance(given.task, str) else dict(given.task)
    words = {"target": given.target, "task": task, "event": given.event}
    told = [f"{name}={value!r}" for name, value in words.items() if value != getattr(usual, name)]
    options = f", options=topwork.FitOptions({', '.join(told)})" if told else ""
    return f"topwork.fit({spelled(data)}{where}{named}, recipe={order.recipe.name!r}, seed={order.seed}{options})"


# --- the bundle ---------------------------------------------------------------------------------------


def _contents(
    order: Order, rows: Rows, graph: Graph, record: FitRecord, statistics: Mapping[str, Array]
) -> Contents:
    """Put together what goes into the bundle, the golden examples answered in fp32."""
    engine = build(reference(), graph, n_threads=1, n_streams=1)
    inputs = golden_inputs(order, rows.split.train, rows.inspections)
    return Contents(
        name=record.name,
        graph=graph,
        preprocessing=order.trunk.preprocessing,
        trunk=order.trunk.card,
        targets=rows.targets,
        sides=_sides(rows, order.trunk),
        statistics=statistics,
        record=record,
        goldens=make_goldens(inputs, order.modality, order.trunk.preprocessing, engine),
        examples=examples_of(order, rows.split.train),
    )


def _sides(rows: Rows, trunk: Trunk) -> dict[str, Side]:
    """Return the side of every used row, by a hash of its content.

    What was on several sides counts as fitted on, and so does what the bundle below was fitted on: the network that
    was tuned on it is in this one.

    The hash tells later whether a picture was among the training data, under any name, and tells nobody a
    file name that may be a person's.
    """
    parts: tuple[tuple[Side, Array], ...] = (
        ("test", rows.split.test),
        ("valid", rows.split.valid),
        ("train", rows.split.train),
    )
    before = trunk.bundle.sides() if isinstance(trunk, BundleTrunk) else {}
    now = {rows.inspections[row].content.hex(): side for side, part in parts for row in part}
    return {**now, **{content: side for content, side in before.items() if side != "test"}}
