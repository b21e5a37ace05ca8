"""A fit record as one HTML file that needs nothing else: no request leaves it, no script is required.

A content security policy in the page itself forbids every request and every script and style but its own,
which it names by hash. It knows no task and no modality: it draws matrices, tables, galleries and charts.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from topwork.contracts import Comparison, Estimate, FitRecord, Picture, Section, Table
from topwork.errors import MissingExtraError
from topwork.report import charts, figures, quantities, verdicts, words

if TYPE_CHECKING:
    from collections.abc import Sequence

    import jinja2

    from topwork.contracts import Chart

__all__ = ["render_charts", "render_html"]

_MOST_REJECTED = 1000
"""Rejected inputs that are listed; a page must open on a phone even if a million files were broken."""


def render_html(record: FitRecord) -> str:
    """Render a record as one self-contained page.

    Parameters
    ----------
    record
        Of a fit or of an evaluation; every text in it is taken for untrusted.

    Returns
    -------
    str
        HTML that can be encoded as UTF-8.

    Raises
    ------
    MissingExtraError
        Jinja2 is not installed.
    """
    style, script = _resource("report.css"), _resource("report.js")
    page = _environment().get_template("report.html")
    return page.render(
        record=record,
        style=style,
        script=script,
        policy=_policy(style, script),
        cautions=words.cautions(record),
        rejected=record.data.rejected[:_MOST_REJECTED],
    )


def render_charts(title: str, drawn: Sequence[Chart]) -> str:
    """Render charts alone as one self-contained page; every text in them is taken for untrusted.

    Raises
    ------
    MissingExtraError
        Jinja2 is not installed.
    """
    style, script = _resource("report.css"), _resource("report.js")
    page = _environment().get_template("sheet.html")
    return page.render(title=title, charts=drawn, style=style, script=script, policy=_policy(style, script))


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; img-src data:; style-src '{_source_hash(style)}'; "
        f"script-src '{_source_hash(script)}'; base-uri 'none'; form-action 'none'"
    )


def _source_hash(source: str) -> str:
    digest = hashlib.sha256(source.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _resource(name: str) -> str:
    text = files("topwork.report").joinpath("templates", name).read_text(encoding="utf-8")
    # A browser hashes what it parsed, in which every line ends in a line feed.
    return text.replace("\r\n", "\n")


@cache
def _environment() -> jinja2.Environment:
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtraError(
            "The HTML report needs Jinja2, which is not installed.",
            next_step="Install topwork with its extra fit.",
        ) from error
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_resource),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        kind_of=_kind_of,
        figure=figures.interval_figure,
        ceiling=figures.column_ceiling,
        degree_of=figures.degree_of,
        heat_rows=figures.heat_rows,
        is_estimate=_is_estimate,
        chart_figure=charts.chart_figure,
        difference=figures.difference_figure,
        difference_reach=figures.difference_reach,
        differences_of=_differences_of,
        compared_metrics=_compared_metrics,
        labels_in=_labels_in,
        verdict=verdicts.verdict,
        against=verdicts.against,
        about_growth=verdicts.about_growth,
        climb_rows=verdicts.climb_rows,
        about_loss=verdicts.about_loss,
        loss_name=verdicts.loss_name,
        forecast_rows=verdicts.forecast_rows,
        hits_and_misses=verdicts.hits_and_misses,
        n_test_of=words.n_test_of,
        proof_total_s=words.proof_total_s,
        topics=words.topics,
        methods=words.methods,
        about_the_run=words.about_the_run,
        headline=words.headline,
        validation_metric=words.validation_metric,
        baseline_title=words.baseline_title,
        of_metric=_of_metric,
    )
    environment.filters.update(
        spell=lambda value, name: quantities.spell(name, value),
        interval=lambda estimate, name: quantities.spell_interval(name, estimate),
        metric_title=quantities.metric_title,
        duration=quantities.duration,
        counted=quantities.counted,
        moment=quantities.moment,
        unended=quantities.unended,
        estimates=_estimates,
    )
    environment.tests.update(jpeg=_is_jpeg, lower_better=quantities.lower_is_better)
    return environment


def _finalize(value: object) -> object:
    """Clean every text that the template puts out; what is markup already is the template's own."""
    return quantities.clean(value) if type(value) is str else value


def _kind_of(section: Section) -> str:
    return type(section).__name__.lower()


def _is_estimate(cell: object) -> bool:
    return isinstance(cell, Estimate)


def _estimates(table: Table, column: int) -> list[Estimate]:
    cells = (row[column] for row in table.rows)
    return [cell for cell in cells if isinstance(cell, Estimate)]


def _of_metric(metric: str, baselines: dict[str, dict[str, Estimate]]) -> dict[str, Estimate]:
    """Return each baseline's estimate of one metric, where it has one."""
    return {name: scores[metric] for name, scores in baselines.items() if metric in scores}


def _compared_metrics(comparisons: Sequence[Comparison]) -> list[str]:
    """Return every metric that some comparison is told in, in their order."""
    return list(dict.fromkeys(metric for one in comparisons for metric in one.difference))


def _differences_of(metric: str, comparisons: Sequence[Comparison]) -> list[Estimate]:
    return [one.difference[metric] for one in comparisons if metric in one.difference]


def _labels_in(pictures: Sequence[Picture], name: str) -> list[str]:
    """Return the distinct labels of one kind (``truth`` or ``predicted``) in a gallery, sorted."""
    return sorted({label for one in pictures if (label := getattr(one, name))})


def _is_jpeg(encoded: str) -> bool:
    """Tell whether a text is a JPEG in base64, so that nothing else is ever shown as a picture."""
    try:
        return base64.b64decode(encoded, validate=True).startswith(b"\xff\xd8\xff")
    except (binascii.Error, ValueError):
        return False
