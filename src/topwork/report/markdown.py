"""A fit record as Markdown, for a terminal, a model card or a pull request: the same numbers, no pictures.

A chart becomes a small table of some of its points.

It knows no task. Every text of the record is escaped, so that a label can neither open a tag nor end a table.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from topwork.contracts import Chart, Estimate, FitRecord, Gallery, Matrix, Section, Table, TargetResult
from topwork.report.charts import chart_rows
from topwork.report.figures import heat_rows
from topwork.report.quantities import clean, counted, duration, metric_title, spell, spell_interval, unended
from topwork.report.verdicts import (
    Verdict,
    about_growth,
    about_loss,
    climb_rows,
    forecast_rows,
    hits_and_misses,
    loss_name,
    verdict,
)
from topwork.report.words import (
    Topic,
    about_the_run,
    baseline_title,
    cautions,
    n_test_of,
    proof_total_s,
    topics,
    validation_metric,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["escape", "render_markdown"]

_SPECIAL = re.compile(r"[\\`*_\[\]|~$]|^[#+=-](?=[#+=\-\s]|$)|^\d+(?=[.)](?:\s|$))")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_WIDEST_MATRIX = 20
_MOST_REJECTED = 50
_MOST_ROWS = 60
"""Rows of one table, such as one of every class: nobody reads more of them in a pull request."""
_MOST_POINTS = 8
"""Points of one series in the table of a chart: the whole is in the page."""


def render_markdown(record: FitRecord) -> str:
    """Render a record as GitHub-flavoured Markdown.

    Matrices of more than 20 classes are left to the page, and so is what a table has beyond 60 rows.
    """
    return "\n".join(_lines(record)) + "\n"


def escape(text: str) -> str:
    """Return ``text`` such that Markdown shows it as it is, on one line."""
    line = " ".join(clean(text).split())
    return _SPECIAL.sub(_escaped, line.translate(_ENTITIES))


def _escaped(found: re.Match[str]) -> str:
    """Put the backslash before a mark; a number that would open a list takes it before its dot."""
    text = found.group()
    return f"{text}\\" if text[0].isdigit() else f"\\{text}"


def _lines(record: FitRecord) -> Iterator[str]:
    yield f"# {escape(record.name)}: {'fit' if record.kind == 'fit' else 'evaluation'} report"
    yield ""
    for caution in cautions(record):
        yield f"> **Note:** {escape(caution)}"
        yield ""
    yield from _summary(record)
    for name, result in record.targets.items():
        yield from _target(record, name, result)
    yield from _data(record)
    yield from _making(record)
    yield from _reproduction(record)


def _summary(record: FitRecord) -> Iterator[str]:
    for name in record.targets:
        if len(record.targets) > 1:
            yield f"**{escape(name)}**"
            yield ""
        yield from _topics(topics(record, name))
    yield from _topics((Topic("What it cost", about_the_run(record)),))


def _topics(found: Sequence[Topic]) -> Iterator[str]:
    for topic in found:
        yield f"**{topic.title}.** {' '.join(map(escape, topic.sentences))}"
        yield ""


def _target(record: FitRecord, name: str, result: TargetResult) -> Iterator[str]:
    yield f"## {escape(name)}"
    yield ""
    yield from _metrics(result)
    yield from _comparisons(record, result)
    if result.growth is not None:
        yield from _section(result.growth.chart)
        yield from _paragraphs(about_growth(result.growth), result.growth.note)
    for section in result.sections:
        yield from _section(section)


def _metrics(result: TargetResult) -> Iterator[str]:
    baselines = list(result.baselines)
    rows = [
        [
            metric_title(metric),
            spell(metric, estimate.value),
            spell_interval(metric, estimate),
            *(_score(metric, result.baselines[b].get(metric)) for b in baselines),
        ]
        for metric, estimate in result.test.items()
    ]
    yield from _table(["metric", "test", "95 % interval", *map(baseline_title, baselines)], rows)


def _score(metric: str, estimate: Estimate | None) -> str:
    return "" if estimate is None else spell(metric, estimate.value)


def _comparisons(record: FitRecord, result: TargetResult) -> Iterator[str]:
    if not result.comparisons:
        return
    metrics = list(dict.fromkeys(m for one in result.comparisons for m in one.difference))
    rows = [
        [
            baseline_title(one.name),
            *(_words(verdict(m, one.difference[m])) if m in one.difference else "" for m in metrics),
            duration(one.seconds) if one.seconds else "",
            one.how,
        ]
        for one in result.comparisons
    ]
    yield "### Against other models"
    yield ""
    n_test = n_test_of(record, result)
    yield f"On the same {counted(n_test, 'test example')}; this model's difference with its 95 % interval."
    yield ""
    yield from _table(["against", *map(metric_title, metrics), "its fit", "how"], rows)


def _words(found: Verdict | None) -> str:
    return "" if found is None else found.words


def _section(section: Section) -> Iterator[str]:
    if isinstance(section, Gallery):
        return  # Pictures and the names of single inputs stay in the page.
    yield f"### {escape(section.title)}"
    yield ""
    if section.caption:
        yield escape(section.caption)
        yield ""
    if isinstance(section, Matrix):
        yield from _matrix(section)
    elif isinstance(section, Chart):
        yield from _points(section)
    else:
        yield from _cells(section)


def _points(chart: Chart) -> Iterator[str]:
    rows = [[row.series, row.x, row.y, row.interval] for row in chart_rows(chart, _MOST_POINTS)]
    if not rows:
        yield from _paragraphs("There is nothing to draw.")
        return
    yield from _table(["series", chart.x_label, chart.y_label, "interval"], rows)


def _matrix(matrix: Matrix) -> Iterator[str]:
    if len(matrix.row_labels) > _WIDEST_MATRIX:
        yield f"{len(matrix.row_labels)} classes: see the HTML report."
        yield ""
        return
    rows = [[row.label, *(str(cell.count) for cell in row.cells)] for row in heat_rows(matrix)]
    yield from _table(["truth \\ prediction", *matrix.column_labels], rows)


def _cells(table: Table) -> Iterator[str]:
    rows = [
        [_cell(column, cell) for column, cell in zip(table.columns, row, strict=True)]
        for row in table.rows[:_MOST_ROWS]
    ]
    yield from _table(table.columns, rows)
    n_more = len(table.rows) - len(rows)
    yield from _bullets([f"and {n_more:,} more: see the HTML report"] if n_more else [])


def _cell(column: str, cell: str | Estimate) -> str:
    if isinstance(cell, Estimate):
        return f"{spell(column, cell.value)} ({spell_interval(column, cell)})"
    return cell


def _data(record: FitRecord) -> Iterator[str]:
    data, split = record.data, record.split
    yield "## Data"
    yield ""
    yield f"{escape(data.name)}: {escape(unended(data.layout))}. {data.n_used:,} of {data.n_listed:,} inputs used."
    yield ""
    yield (
        f"Split (seed {split.seed}): {escape(unended(split.method))}; "
        f"{split.n_train:,} train, {split.n_valid:,} validation, {split.n_test:,} test."
    )
    yield ""
    yield from _bullets((*data.understood, *data.findings))
    if data.rejected:
        yield from _table(["left out", "reason"], [[r.key, r.reason] for r in data.rejected[:_MOST_REJECTED]])
        yield from _bullets([f"and {n:,} more" for n in [len(data.rejected) - _MOST_REJECTED] if n > 0])


def _making(record: FitRecord) -> Iterator[str]:
    yield "## How it was made"
    yield ""
    yield from _climb(record)
    yield from _paragraphs(*_times(record))
    for section in record.sections:
        yield from _section(section)
    if record.forecasts:
        yield "### Forecasts"
        yield ""
        yield from _paragraphs(hits_and_misses(record.forecasts))
        told = forecast_rows(record.forecasts)
        rows = [[row.name, row.expected, row.actual, row.said] for row in told]
        yield from _table(["of", "expected", "came", "so it was"], rows)
    if record.plan:
        yield "### The plan"
        yield ""
        yield from _table(["what", "planned"], list(record.plan.items()))
    yield from _bullets(record.notes)


def _climb(record: FitRecord) -> Iterator[str]:
    if not record.rungs:
        return
    yield "### The climb"
    yield ""
    metric = validation_metric(record)
    rows = [
        [
            row.name + (" (chosen)" if row.chosen else ""),
            duration(row.seconds),
            row.validation,
            f"{row.log_loss} ({row.log_loss_interval})" if row.log_loss else "",
            _words(row.gain),
            row.trained,
            row.steps,
            "; ".join(row.notes),
        ]
        for row in climb_rows(record.rungs, metric)
    ]
    yield from _paragraphs(about_loss(record.rungs))
    validation = f"validation {metric_title(metric)}".strip()
    loss = loss_name(record.rungs)
    titles = ["step", "time", validation, loss, f"gain in {loss}", "weights trained", "updates"]
    yield from _table([*titles, "notes"], rows)


def _times(record: FitRecord) -> Iterator[str]:
    """Say what the proof took, beside the fit; what the fit took is said at the top."""
    if record.proof_seconds:
        runs = ", ".join(f"{name} {duration(seconds)}" for name, seconds in record.proof_seconds.items())
        yield (
            f"In all {duration(record.seconds)}; beside that the proof took {duration(proof_total_s(record))}, "
            f"which does not count as fitting: {runs}."
        )


def _reproduction(record: FitRecord) -> Iterator[str]:
    trunk = record.trunk
    yield "## To make it again"
    yield ""
    # Indented code knows no closing fence that a file name could hold.
    yield f"    {' '.join(clean(record.command).split())}"
    yield ""
    facts = {
        "created": record.created,
        "topwork": record.topwork,
        "recipe": record.recipe,
        "trunk": f"{trunk.name}, {trunk.n_parameters:,} parameters, from {trunk.source}",
        "licence of the trunk": trunk.licence + ("" if trunk.commercial else " (no commercial use)"),
        "weights SHA-256": trunk.weights_sha256,
        **record.settings,
    }
    yield from _table(["setting", "value"], [[k, v] for k, v in facts.items()])


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for line in (columns, None, *rows):
        cells = ["---"] * len(columns) if line is None else [escape(cell) for cell in line]
        yield f"| {' | '.join(cells)} |"
    yield ""


def _paragraphs(*texts: str) -> Iterator[str]:
    for text in texts:
        if text:
            yield escape(text)
            yield ""


def _bullets(lines: Iterable[str]) -> Iterator[str]:
    found = [f"- {escape(line)}" for line in lines]
    yield from [*found, ""] if found else []
