"""A fit record as JSON, and back.

It knows nothing of what the record tells. Strict: a key that this version does not know is an error, for
it would otherwise be dropped without a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from topwork.bundle.structure import from_json, to_json
from topwork.contracts import FitRecord
from topwork.errors import BundleError

__all__ = ["RECORD", "RECORD_SCHEMA", "record_from_json", "record_to_json"]

RECORD = "record.json"
RECORD_SCHEMA = 1
"""The newest schema of a record that this version reads."""


def record_to_json(record: FitRecord) -> dict[str, Any]:
    """Turn a record into JSON values; numbers that are not finite become ``nan``, ``inf`` or ``-inf``."""
    written: dict[str, Any] = to_json(record)
    return written


def record_from_json(value: Mapping[str, Any]) -> FitRecord:
    """Read a record that `record_to_json` wrote.

    Raises
    ------
    BundleError
        The record is of a newer schema, or a key or a type is not as expected.
    """
    schema = value.get("schema", RECORD_SCHEMA)
    if type(schema) is int and schema > RECORD_SCHEMA:
        raise BundleError(
            f"{RECORD} has schema {schema}; this version of topwork reads up to {RECORD_SCHEMA}.",
            next_step="Upgrade with: pip install --upgrade topwork",
        )
    return from_json(value, FitRecord, RECORD)
