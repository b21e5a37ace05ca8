"""`optimize`: a bundle in, and out one for the machine at hand: the fastest engine whose answers are still its own.

The steps stand in `optimize` in their order. What there is to try is in `steps.contenders`, by what it is chosen in
`steps.election`, how it is timed in `engines.pace`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, Literal, cast

import numpy as np

from topwork.bundle.compiling import open_model
from topwork.bundle.contents import Contents, save
from topwork.bundle.goldens import TOLERANCE, Golden, difference, replay
from topwork.bundle.manifest import Optimized
from topwork.bundle.model import CHUNK, scores_output
from topwork.contracts import (
    Array,
    Comparison,
    Engine,
    FitRecord,
    Graph,
    Table,
    Target,
    has_one_label,
    padded,
)
from topwork.data.columns import Columns
from topwork.engines.linear import LinearEngine
from topwork.engines.machine import limited_to, survey
from topwork.engines.pace import N_ROUNDS, Spread, Workload, measure
from topwork.engines.quantization import MIN_EXAMPLES, quantize
from topwork.errors import TopworkError, UsageError
from topwork.steps.contenders import Contender, Graphs, Tried, module_of, planned, start
from topwork.steps.election import Aim, Election, elect
from topwork.steps.examples import spread_out
from topwork.steps.options import FitOptions, Surroundings
from topwork.steps.places import Place
from topwork.steps.recording import Judged, judge
from topwork.steps.standings import COLUMNS, rows_of
from topwork.training.fingerprint import version_of
from topwork.training.statistics import seen_truth
from topwork.verbs.model import Model
from topwork.verbs.predicting import load
from topwork.verbs.unseen import Labelled, Measured, compared, measure_unseen, read_labelled

__all__ = ["Optimization", "optimize"]

BEFORE: Final = "network before it was optimised"
"""What the reference is called among the models that a target was compared with."""

_UNSTEADY: Final = 0.1
"""Distance of the quartiles of a speed, relative to its median, from which on it is said that other work ran."""


@dataclass(frozen=True, slots=True, eq=False)
class Optimization:
    """What `optimize` tried, and the bundle that it wrote.

    Attributes
    ----------
    model
        The new bundle, opened and proven.
    original
        The bundle that it was made from.
    tried
        Every contender, the most exact first; the first is the reference.
    reasons
        Of each in words why it was chosen, or why not.
    place
        Which one was chosen.
    n_rows
        Labelled rows that accuracy was measured on; 0 without data.
    n_examples
        Inputs that eight bits were calibrated on.
    batch
        Inputs in a batch when speeds were measured.
    """

    model: Model
    original: Path
    tried: tuple[Tried, ...]
    reasons: tuple[str, ...]
    place: int
    aim: Aim
    n_rows: int
    n_examples: int
    batch: int
    notes: tuple[str, ...]
    seconds: float

    @property
    def chosen(self) -> Tried:
        """What the new bundle runs with."""
        return self.tried[self.place]


def optimize(
    bundle: str | Path,
    out: str | Path,
    *,
    data: str | Path | Columns | None = None,
    aim: Aim = "throughput",
    n_rounds: int = N_ROUNDS,
    options: FitOptions | None = None,
    around: Surroundings | None = None,
) -> Optimization:
    """Make a bundle for this machine: try engines and number formats, and write what is fastest into a new bundle.

    Eight bits are calibrated on the examples that the bundle keeps, else on the rows of ``data`` that it was fitted on.
    They are chosen only where ``data`` show that they lose half a point at most, and by the 95 % interval no more than
    one.

    Parameters
    ----------
    bundle, out
        What to optimise, and where the new bundle goes.
    data
        Labelled inputs. Those that the bundle was fitted on are left out, so that of the data it was fitted on its
        test is left.
    aim
        What counts: ``throughput``, many inputs at once; ``latency``, a single one; ``size``, how small the bundle is.
    n_rounds
        Rounds in which speeds are measured; more of them where the machine is not idle.
    options
        The columns and the layout of the data count; nothing else of it does.

    Raises
    ------
    BundleError
        The bundle is damaged, tampered with or too new.
    ProofError
        It gives other answers than at the time of its fit.
    UsageError
        There is nothing to optimise, or ``out`` would overwrite the bundle.
    DataError
        The data hold no labelled row that it was not fitted on.
    StorageError
        The new bundle cannot be written.
    """
    options, around = options or FitOptions(), around or Surroundings()
    began_s = around.clock() if around.began_s is None else around.began_s
    place = Place.of(Path(bundle), out)
    model = load(bundle, around=replace(around, engine="auto"))
    _require_something_to_do(model)
    labelled = None if data is None else read_labelled(model, data, options, around)
    examples = _examples(model, labelled)
    graphs = _graphs(model, examples, around)
    tried, engines = _start_all(model, graphs, around)
    goldens = model.servable.bundle.goldens()
    tried = _timed(tried, engines, goldens, n_rounds, around)
    measured = None
    if labelled is not None:
        measured = measure_unseen(model, list(engines.values()), labelled, around)
        tried = compared(model.servable.targets, tried, measured, list(engines))
    election = elect(tried, aim)
    chosen = tried[election.place]
    notes = (*_unsteady(tried), *(() if measured is None else measured.notes))
    record = _record(model, tried, election, notes)
    if measured is not None and labelled is not None:
        record = _judged(model, record, measured, chosen, list(engines).index(election.place))
        record = replace(record, notes=(*record.notes, _on_which(measured, labelled)))
    save(place.bundle, _contents(model, graphs, chosen.contender, replace(record, name=place.bundle.stem)))
    made = Model(open_model(place.bundle))
    made.prove()
    return Optimization(
        model=made,
        original=Path(bundle),
        tried=tried,
        reasons=election.reasons,
        place=election.place,
        aim=aim,
        n_rows=0 if measured is None else len(measured.rows),
        n_examples=len(examples) if graphs.quantized is not None else 0,
        batch=CHUNK,
        notes=notes,
        seconds=around.clock() - began_s,
    )


def _require_something_to_do(model: Model) -> None:
    """Refuse a bundle that has no network, and one that was optimised before.

    Raises
    ------
    UsageError
        It is one of these.
    """
    bundle = model.servable.bundle
    if (made := bundle.manifest.optimized) is not None:
        raise UsageError(
            f"{bundle.path} was optimised before, for {made.engine} in {made.precision}.",
            next_step=f"Give the bundle that it was made from, whose identity is {made.original}.",
        )
    if LinearEngine.of(bundle.graph()) is not None:
        raise UsageError(
            f"{bundle.path} holds heads alone, which NumPy runs; there is no network to optimise.",
            next_step="Serve it as it is.",
        )


# --- what eight bits are calibrated on ------------------------------------------------------------------


def _examples(model: Model, labelled: Labelled | None) -> tuple[Array, ...]:
    """Return what eight bits are calibrated on: what the bundle keeps, else rows of the data that it was fitted on.

    Never rows that accuracy is measured on.
    """
    servable = model.servable
    if (kept := servable.bundle.examples()) or labelled is None or not len(labelled.fitted):
        return kept
    return spread_out(labelled.whole, labelled.fitted, servable.modality, servable.preprocessing)


def _graphs(model: Model, examples: Sequence[Array], around: Surroundings) -> Graphs:
    """Make eight bits where that can be done; where it cannot, the others are tried all the same."""
    exact = model.servable.bundle.graph()
    if len(examples) < MIN_EXAMPLES:
        return Graphs(
            exact,
            problem=f"not made: {_no_examples(len(examples))}; give --data that hold what it was fitted on",
        )
    try:
        with around.progress.track("calibrate", len(examples), "examples") as advance:
            return Graphs(exact, quantize(exact, examples, _at_most(len(examples), advance)))
    except TopworkError as error:
        return Graphs(exact, problem=f"not made: {error.problem} {error.next_step}".strip())


def _no_examples(n: int) -> str:
    return f"of the {n} examples at hand too few" if n else "the bundle keeps no examples to calibrate on"


def _at_most(n: int, advance: Callable[[int], None]) -> Callable[[int], None]:
    """Let a bar advance to its end and no further: how often NNCF goes over the examples depends on the network."""
    left = n

    def count(more: int) -> None:
        nonlocal left
        if left > 0:
            left -= more
            advance(more)

    return count


# --- trying ---------------------------------------------------------------------------------------------


def _start_all(
    model: Model, graphs: Graphs, around: Surroundings
) -> tuple[tuple[Tried, ...], dict[int, Engine]]:
    """Start every contender and hold it against the golden examples; return the engines of those that passed."""
    machine = limited_to(survey(), around.device)
    goldens = model.servable.bundle.goldens()
    example = padded(golden.tensor for golden in goldens[:2])
    module = partial(module_of, model.servable.bundle, graphs.exact, example, around)
    contenders = planned(machine)
    tried: list[Tried] = []
    engines: dict[int, Engine] = {}
    with around.progress.track("start", len(contenders), "engines") as advance:
        for place, contender in enumerate(contenders):
            try:
                engine = start(contender, graphs, module, n_cores=machine.n_cores)
                tried.append(_proven(model, contender, engine, goldens))
                engines[place] = engine
            except TopworkError as error:
                tried.append(Tried(contender, problem=_first_line(error)))
            advance(1)
    if 0 not in engines:
        raise UsageError(
            f"{contenders[0].name} does not run the bundle: {tried[0].problem}",
            next_step="`topwork bundle inspect` proves it again.",
        )
    return tuple(tried), engines


def _first_line(error: TopworkError) -> str:
    return error.problem.splitlines()[0] if error.problem else type(error).__name__


def _proven(model: Model, contender: Contender, engine: Engine, goldens: Sequence[Golden]) -> Tried:
    """Replay the golden examples; raises ProofError where an answer is not what its precision allows."""
    servable = model.servable
    replay(goldens, servable.modality, servable.preprocessing, engine)
    outputs = engine.run(padded(golden.tensor for golden in goldens))
    found = {name: np.asarray(outputs[name]) for name in goldens[0].outputs}
    return Tried(
        contender,
        golden_error=difference(goldens, found),
        n_same=_n_same(servable.targets, goldens, found),
    )


def _n_same(
    targets: Mapping[str, Target], goldens: Sequence[Golden], outputs: Mapping[str, Array]
) -> int | None:
    """Count golden examples whose labels are those of the fit for all targets that have labels; None without any."""
    same = np.ones(len(goldens), bool)
    counted = [name for name, one in targets.items() if has_one_label(one.link) or one.link == "sigmoid"]
    for name in counted:
        stored = np.stack([golden.outputs[scores_output(name)] for golden in goldens])
        said = targets[name].said(stored), targets[name].said(outputs[scores_output(name)])
        same &= (said[0] == said[1]).reshape(len(goldens), -1).all(axis=1)
    return int(same.sum()) if counted else None


def _timed(
    tried: Sequence[Tried],
    engines: Mapping[int, Engine],
    goldens: Sequence[Golden],
    n_rounds: int,
    around: Surroundings,
) -> tuple[Tried, ...]:
    """Time the engines on the golden examples: singly, and in batches as a server makes them."""
    several = [goldens[i % len(goldens)].tensor for i in range(CHUNK)]
    work = Workload([golden.tensor[None] for golden in goldens], padded(several))
    with around.progress.track("time", n_rounds * len(engines), "turns") as advance:
        paces = measure(list(engines.values()), work, clock=around.clock, advance=advance, n_rounds=n_rounds)
    of_places = dict(zip(engines, paces, strict=True))
    return tuple(replace(one, pace=of_places.get(place)) for place, one in enumerate(tried))


def _unsteady(tried: Sequence[Tried]) -> Iterator[str]:
    """Say where speeds varied so much that other work must have run beside."""
    paces = [one.pace for one in tried if one.pace is not None]
    widest = max(Spread.of(figures).width for one in paces for figures in (one.single_s, one.items_per_s))
    if widest > _UNSTEADY:
        yield (
            f"The machine was not idle, or not steady: half of the rounds of one engine lie {widest:.0%} apart. What "
            "is compared are speeds of the same round; measure again on an idle machine to be sure of them."
        )


# --- the new bundle -------------------------------------------------------------------------------------


def _contents(model: Model, graphs: Graphs, chosen: Contender, record: FitRecord) -> Contents:
    """Put the new bundle together; the examples stay in the original, from which it is optimised again."""
    bundle = model.servable.bundle
    graph = graphs.quantized if chosen.precision == "int8" else graphs.exact
    engine = cast("Literal['openvino', 'onnxruntime']", chosen.engine)
    return Contents(
        name=record.name,
        graph=cast("Graph", graph),
        preprocessing=model.servable.preprocessing,
        trunk=bundle.manifest.trunk,
        targets=bundle.targets,
        sides=bundle.sides(),
        statistics=bundle.statistics(),
        record=record,
        goldens=bundle.goldens(),
        optimized=Optimized(bundle.identity, engine, chosen.precision),
    )


def _record(model: Model, tried: Sequence[Tried], election: Election, notes: Sequence[str]) -> FitRecord:
    """Add to the record of the fit what was tried, and what was taken."""
    record, chosen = model.record, tried[election.place]
    bundle = model.servable.bundle
    allowed = TOLERANCE[chosen.contender.precision]
    told = (
        f"Optimised for {chosen.contender.name} from the bundle {bundle.path.name} of identity {bundle.identity}. Its "
        f"golden examples are those of the fit in fp32; their outputs are off by {chosen.golden_error:.2g} of their "
        f"spread, and may be by {allowed:g}."
    )
    made_with = (
        {"optimised with": f"nncf {version_of('nncf')}"} if chosen.contender.precision == "int8" else {}
    )
    return replace(
        record,
        settings={**record.settings, **made_with},
        sections=(*record.sections, _table(tried, election.reasons)),
        notes=(*record.notes, told, *notes),
    )


def _table(tried: Sequence[Tried], reasons: Sequence[str]) -> Table:
    """Return what was tried as a table of the report."""
    return Table(
        "Engines on one machine",
        COLUMNS,
        rows_of(tried, reasons),
        "Medians of rounds in which every engine had its turn, in brackets the quartiles. Single inputs one after the "
        f"other; batches of {CHUNK}, as many at once as the engine has streams. The machine is the one that the bundle "
        "was optimised on.",
    )


def _judged(model: Model, record: FitRecord, measured: Measured, chosen: Tried, place: int) -> FitRecord:
    """Put the metrics of what was chosen in place of those of the fit, beside them the paired difference to before."""
    statistics = model.servable.bundle.statistics()
    results = {}
    for name, target in model.servable.targets.items():
        judged = Judged(measured.rows, measured.truth[name], measured.scores(place, name))
        baselines = target.baselines(seen_truth(statistics, name), judged.truth, 0)
        result = judge(target, judged, None, record.targets[name].validation, baselines)
        before = (_before(measured, chosen, name, target),) if place else ()
        results[name] = replace(result, comparisons=before)
    return replace(record, targets=results, split=replace(record.split, n_test=len(measured.rows)))


def _before(measured: Measured, chosen: Tried, name: str, target: Target) -> Comparison:
    """Return the comparison with the network as it was fitted, in fp32."""
    return Comparison(
        name=BEFORE,
        how="The same network in fp32, as it was fitted, on the same rows.",
        metrics=target.evaluate(measured.truth[name], measured.scores(0, name), 0),
        difference=chosen.difference[name],
        seconds=0.0,
    )


def _on_which(measured: Measured, labelled: Labelled) -> str:
    return (
        f"Test metrics were measured as it runs now, on {len(measured.rows):,} rows of {labelled.name} that it was not "
        "fitted on. Whether eight bits may be taken was decided on these rows, and nothing else."
    )
