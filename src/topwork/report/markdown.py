"""A fit record as Markdown, for a terminal, a model card or a pull request: the same numbers, no pictures.

It knows no task. Every text of the record is escaped, so that a label can neither open a tag nor end a table.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from topwork.contracts import Chart, Estimate, FitRecord, Gallery, Matrix, Section, Table, TargetResult
from topwork.report.figures import heat_rows
from topwork.report.quantities import clean, duration, metric_title, spell, spell_interval
from topwork.report.words import about_target, about_the_run, baseline_title, cautions, validation_metric

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["escape", "render_markdown"]

_SPECIAL = re.compile(r"[\\`*_\[\]|~$]|^[#+=-](?=[#+=\-\s]|$)|^\d+(?=[.)](?:\s|$))")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_WIDEST_MATRIX = 20
_MOST_REJECTED = 50


def render_markdown(record: FitRecord) -> str:
    """Render a record as GitHub-flavoured Markdown; tables of more than 20 classes are left to the page."""
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
    for name, result in record.targets.items():
        yield from _target(record, name, result)
    yield " ".join(escape(sentence) for sentence in about_the_run(record))
    yield ""
    yield from _data(record)
    yield from _making(record)
    yield from _reproduction(record)


def _target(record: FitRecord, name: str, result: TargetResult) -> Iterator[str]:
    yield f"## {escape(name)}"
    yield ""
    yield " ".join(escape(sentence) for sentence in about_target(record, name))
    yield ""
    yield from _metrics(result)
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


def _section(section: Section) -> Iterator[str]:
    if isinstance(section, Gallery | Chart):
        return  # Pictures and the names of single inputs stay in the page.
    yield f"### {escape(section.title)}"
    yield ""
    if section.caption:
        yield escape(section.caption)
        yield ""
    yield from _matrix(section) if isinstance(section, Matrix) else _cells(section)


def _matrix(matrix: Matrix) -> Iterator[str]:
    if len(matrix.row_labels) > _WIDEST_MATRIX:
        yield f"{len(matrix.row_labels)} classes: see the HTML report."
        yield ""
        return
    rows = [[row.label, *(str(cell.count) for cell in row.cells)] for row in heat_rows(matrix)]
    yield from _table(["truth \\ prediction", *matrix.column_labels], rows)


def _cells(table: Table) -> Iterator[str]:
    rows = [
        [_cell(column, cell) for column, cell in zip(table.columns, row, strict=True)] for row in table.rows
    ]
    yield from _table(table.columns, rows)


def _cell(column: str, cell: str | Estimate) -> str:
    if isinstance(cell, Estimate):
        return f"{spell(column, cell.value)} ({spell_interval(column, cell)})"
    return cell


def _data(record: FitRecord) -> Iterator[str]:
    data, split = record.data, record.split
    yield "## Data"
    yield ""
    yield f"{escape(data.name)}: {escape(data.layout)}. {data.n_used:,} of {data.n_listed:,} inputs used."
    yield ""
    yield (
        f"Split (seed {split.seed}): {escape(split.method)}; "
        f"{split.n_train:,} train, {split.n_valid:,} validation, {split.n_test:,} test."
    )
    yield ""
    yield from _bullets((*data.understood, *data.findings))
    if data.rejected:
        yield from _table(["left out", "reason"], [[r.key, r.reason] for r in data.rejected[:_MOST_REJECTED]])
        yield from _bullets([f"and {n:,} more" for n in [len(data.rejected) - _MOST_REJECTED] if n > 0])


def _making(record: FitRecord) -> Iterator[str]:
    if record.rungs:
        yield "## Steps"
        yield ""
        metric = validation_metric(record)
        rows = [
            [r.name, duration(r.seconds), spell(metric, r.validation), "; ".join(r.notes)]
            for r in record.rungs
        ]
        yield from _table(["step", "time", f"validation {metric_title(metric)}".strip(), "notes"], rows)
    yield from _bullets(record.notes)


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


def _bullets(lines: Iterable[str]) -> Iterator[str]:
    found = [f"- {escape(line)}" for line in lines]
    yield from [*found, ""] if found else []
