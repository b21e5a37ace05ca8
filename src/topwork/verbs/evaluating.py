"""`evaluate`: a bundle and labelled data in, metrics with intervals and the same report out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from topwork import __version__
from topwork.contracts import (
    Array,
    Dataset,
    FitRecord,
    SplitSummary,
    TargetResult,
    has_one_label,
    known_rows,
    row_numbers,
)
from topwork.data.check import Findings, examine
from topwork.data.columns import Columns
from topwork.data.reading import name_of, read, spelled
from topwork.errors import DataError, UsageError
from topwork.report.forms import FORMS
from topwork.steps.duplicates import near_pairs
from topwork.steps.events import with_events_again
from topwork.steps.options import FitOptions, Surroundings
from topwork.steps.recording import (
    Judged,
    judge,
    moment,
    platform_settings,
    summarise_data,
    unknown_labels,
    worst,
)
from topwork.steps.transfer import packages
from topwork.storage import write_atomically
from topwork.training.reading import Reading
from topwork.training.statistics import seen_truth
from topwork.verbs.model import Model
from topwork.verbs.predicting import load
from topwork.verbs.scoring import fitted_on, named_as, score

__all__ = ["evaluate"]


@dataclass(frozen=True, slots=True)
class _Judgeable:
    """Data, and the scores ``[n, k]`` of every row by target; ``rows`` are those that count."""

    dataset: Dataset
    findings: Findings
    scores: Mapping[str, Array]
    rows: Array
    notes: tuple[str, ...]


def evaluate(
    bundle: str | Path,
    data: str | Path | Columns,
    *,
    report: str | Path | None = None,
    only: str | Sequence[str] = (),
    options: FitOptions | None = None,
    around: Surroundings | None = None,
) -> FitRecord:
    """Measure a bundle on labelled data.

    Rows whose content was among the bundle's training data are left out, so that evaluating on the data that a
    bundle was fitted on gives its test metrics again.

    Parameters
    ----------
    bundle, data
        What to measure, and the labelled inputs to measure it on, in any layout that `fit` reads.
    report
        Where to write the report, if anywhere; by its suffix as a page, as Markdown or as JSON.
    only
        Targets to measure, in place of all. The data need labels of no other, and where ``options`` name no target,
        the columns of a table that are called so are taken for them.

    Raises
    ------
    UsageError
        The report's suffix is none of ``.html``, ``.md`` and ``.json``, or the bundle has no target of such a name.
    DataError
        Nothing usable is left, or no label is one that the bundle knows.
    """
    render = None if report is None else _renderer(Path(report))
    options, around = options or FitOptions(), around or Surroundings()
    began_s = around.clock() if around.began_s is None else around.began_s
    model = load(bundle, only=only, around=around)
    options = _asking(model, options, is_some=bool(only))
    fitted = model.record
    scored = _score(model, data, options, around)
    names, gone = _measurable(model, scored)
    results = {name: _judge(model, scored, name, fitted, options) for name in names}
    sizes = fitted.split.n_train, fitted.split.n_valid, len(scored.rows)
    record = replace(
        fitted,
        kind="evaluation",
        created=moment(around.wall_clock()),
        topwork=__version__,
        command=around.command or _call(bundle, data, only),
        data=summarise_data(name_of(data).name, scored.dataset, scored.findings),
        settings=_settings(model),
        notes=(),
        forecasts=(),
        proof_seconds={},
        sections=(),
        split=SplitSummary(
            "every row that the model was not fitted on", fitted.split.seed, *sizes, (*scored.notes, *gone)
        ),
        targets=results,
        seconds=around.clock() - began_s,
        n_cached=0,
    )
    if report is not None and render is not None:
        write_atomically(Path(report), render(record).encode("utf-8"))
    return record


def _call(bundle: str | Path, data: str | Path | Columns, only: str | Sequence[str]) -> str:
    some = f", only={only!r}" if only else ""
    return f"topwork.evaluate({str(bundle)!r}, {spelled(data)}{some})"


def _asking(model: Model, options: FitOptions, *, is_some: bool) -> FitOptions:
    """Ask the data for the targets that were named, unless the options say which columns these are."""
    if not is_some or options.target:
        return options
    return replace(options, target=tuple(model.servable.targets))


def _settings(model: Model) -> dict[str, str]:
    """Name what these numbers depend on besides bundle and data."""
    engine = model.servable.engine
    return {
        "engine": f"{engine.name} {engine.version}, {engine.precision}",
        "decoder": model.servable.modality.decoder,
        "packages": packages(),
        **platform_settings(),
    }


def _renderer(report: Path) -> Callable[[FitRecord], str]:
    """Choose by the suffix how a report is written."""
    if (render := FORMS.get(report.suffix.removeprefix(".").lower())) is None:
        raise UsageError(
            f"{report} cannot be written: its suffix says nothing of its form.",
            next_step=f"Give a name that ends in {' or '.join(f'.{form}' for form in FORMS)}.",
        )
    return render


def _score(model: Model, data: str | Path | Columns, options: FitOptions, around: Surroundings) -> _Judgeable:
    """Read the data, score every row, and leave out what the model was fitted on."""
    dataset = with_events_again(read(data, options.reading()), options.event, [model.servable])
    dataset = named_as(model, dataset)
    for line in (dataset.layout, *dataset.understood):
        around.progress.say(line)
    scored = score(model, dataset, around)
    reading = scored.reading
    pairs = near_pairs(reading, model.servable.modality)
    numeric = [name for name, one in model.servable.targets.items() if not has_one_label(one.link)]
    findings = examine(dataset, reading.inspections, pairs, numeric, remarks=model.servable.modality.remarks)
    for line in findings.lines:
        around.progress.say(line)
    rows, notes = _unseen(model, reading, findings.usable)
    notes = (*notes, *_unknown(model, dataset, rows))
    return _Judgeable(dataset, findings, scored.scores, rows, notes)


def _unseen(model: Model, reading: Reading, usable: Array) -> tuple[Array, tuple[str, ...]]:
    """Leave out rows whose content the model was fitted on."""
    seen = fitted_on(model, reading)[usable]
    rows = usable[row_numbers(~seen)]
    if not len(rows):
        raise DataError(
            f"Of {len(reading.inspections)} rows, {len(usable)} can be used and {int(seen.sum())} of these were "
            "training data; nothing is left to measure on.",
            next_step="Give labelled data that the model has not seen.",
        )
    n_seen = int(seen.sum())
    return rows, ((f"{n_seen} rows were left out because the model was fitted on them.",) if n_seen else ())


def _unknown(model: Model, dataset: Dataset, rows: Array) -> Iterator[str]:
    """Say which labels the model does not know, because their rows are not counted."""
    for name, target in model.servable.targets.items():
        raw = [dataset.targets[name][row] for row in rows]
        if left := unknown_labels(target, raw):
            yield f"{name}: {left}"


def _measurable(model: Model, scored: _Judgeable) -> tuple[list[str], tuple[str, ...]]:
    """Return the targets that some row has a truth of, and what is to be said of the others; all where none has any."""
    names = list(model.servable.targets)
    known = [name for name in names if known_rows(_truth_of(model, scored, name)).any()]
    gone = [name for name in names if name not in known]
    notes = tuple(
        f"{name}: no row has a label that the bundle knows, so it is not measured." for name in gone
    )
    return (known, notes) if known else (names, ())


def _truth_of(model: Model, scored: _Judgeable, name: str) -> Array:
    raw = scored.dataset.targets[name]
    return model.servable.targets[name].encode([raw[row] for row in scored.rows])


def _judge(
    model: Model, scored: _Judgeable, name: str, fitted: FitRecord, options: FitOptions
) -> TargetResult:
    target, servable = model.servable.targets[name], model.servable
    raw = scored.dataset.targets[name]
    truth = _truth_of(model, scored, name)
    if not known_rows(truth).any():
        knows = ", ".join(target.labels[:20]) or "numbers"
        raise DataError(
            f"No row has a label that the bundle knows; it knows {knows}, the data have "
            f"{', '.join(sorted({str(r) for r in raw if r is not None})[:20]) or 'none'}.",
            next_step="Name the folders or the values of the label column as at the time of the fit.",
        )
    judged = Judged(scored.rows, truth, scored.scores[name][scored.rows])
    with_pictures = options.keep_training_data
    gallery = worst(target, judged, scored.dataset, servable.modality, with_pictures=with_pictures)
    baselines = target.baselines(seen_truth(servable.bundle.statistics(), name), truth, 0)
    return judge(target, judged, gallery, fitted.targets[name].validation, baselines)
