"""A fit record as JSON for other programs: everything in it, under the names of its fields.

Three rules beyond the fields themselves: a number that is not finite is ``null``; a section carries its ``kind``
(``matrix``, ``table``, ``gallery`` or ``chart``); beside them stands ``format``, the version of these rules.
Keys are never renamed or removed within a format; new ones may come. It knows no task.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from math import isfinite
from numbers import Integral, Real
from typing import Any, get_args

from topwork.contracts import FitRecord, Section

__all__ = ["FORMAT", "render_json"]

FORMAT = 1
"""Version of the rules by which a record becomes JSON."""

_SECTIONS = get_args(Section)


def render_json(record: FitRecord) -> str:
    """Render a record as JSON: the same record gives the same text, which is ASCII and ends in a line feed.

    An estimate is an object of ``value``, ``low`` and ``high``; a cell of a table is a text or an estimate.
    """
    value = {"format": FORMAT, **_plain(record)}
    return json.dumps(value, allow_nan=False, indent=1) + "\n"


def _plain(value: object) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        kind = {"kind": type(value).__name__.lower()} if isinstance(value, _SECTIONS) else {}
        return kind | {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, frozenset):
        return sorted(map(_plain, value))
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return _scalar(value)


def _scalar(value: object) -> str | int | float | bool | None:
    """Return what JSON holds; measured values arrive as NumPy's scalars now and then."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if isfinite(value) else None
    if type(value).__name__ == "bool_":
        return bool(value)
    raise TypeError(f"A record holds {value!r}, a {type(value).__name__}; expected text or a number.")
