"""The forms a report comes in, by the suffix of the file it is written to."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from topwork.contracts import FitRecord
from topwork.report.html import render_html
from topwork.report.json import render_json
from topwork.report.markdown import render_markdown

__all__ = ["FORMS"]

FORMS: Mapping[str, Callable[[FitRecord], str]] = {
    "html": render_html,
    "md": render_markdown,
    "json": render_json,
}
"""A page with pictures, Markdown for a pull request, JSON for other programs."""
