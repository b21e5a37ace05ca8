"""Records as JSON: nothing lost on the way there and back, nothing strange let in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tiny_bundle import tiny_record
from topwork.bundle.jsontext import decode_json, decode_object, encode_json
from topwork.bundle.record import record_from_json, record_to_json
from topwork.contracts import Estimate, FitRecord
from topwork.errors import BundleError


def written(record: FitRecord) -> dict[str, Any]:
    """Return the record as it comes out of a file."""
    return decode_object(encode_json(record_to_json(record)), "record.json")


def test_a_record_survives_the_round_trip() -> None:
    record = tiny_record(("label", "other"))
    again = record_from_json(written(record))
    # NaN is not equal to itself; as text it is.
    assert repr(again) == repr(replace(record, trunk=replace(record.trunk, offers=again.trunk.offers)))
    assert again.trunk == record.trunk
    assert written(again) == written(record)


def test_numbers_that_json_lacks_are_written_as_words() -> None:
    stored = written(tiny_record())["targets"]["label"]["test"]["log_loss"]
    assert stored == {"value": "nan", "low": "-inf", "high": "inf"}


def test_sections_carry_their_kind() -> None:
    sections = written(tiny_record())["targets"]["label"]["sections"]
    assert [section["kind"] for section in sections] == ["matrix", "table", "gallery"]


def test_measured_numbers_of_numpy_are_plain_in_the_file() -> None:
    measured: Any = np.int64(7)
    record = replace(tiny_record(), seconds=np.float64(1.5), n_cached=measured)
    stored = written(record)
    assert (stored["seconds"], stored["n_cached"]) == (1.5, 7)


def test_a_set_is_written_in_one_order() -> None:
    assert written(tiny_record())["trunk"]["offers"] == ["feature_map", "pooled"]


def test_later_fields_may_be_missing_where_they_have_a_default() -> None:
    stored = written(tiny_record())
    del stored["notes"]
    assert record_from_json(stored).notes == ()


EDITS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "unknown key": (lambda r: r.update(colour=1), "unknown keys 'colour'"),
    "unknown key deep down": (lambda r: r["trunk"].update(colour=1), "record.json.trunk"),
    "missing key": (lambda r: r.pop("recipe"), "'recipe' is missing"),
    "text for a number": (lambda r: r.update(seconds="12"), "expected a number, got '12'"),
    "truth for a number": (lambda r: r.update(seconds=True), "expected a number, got True"),
    "fraction for a count": (lambda r: r["data"].update(n_used=1.5), "expected a whole number"),
    "number for a text": (lambda r: r.update(name=5), "expected a text"),
    "text for a list": (lambda r: r["data"].update(understood="abc"), "expected a list"),
    "list for an object": (lambda r: r.update(settings=[]), "expected an object"),
    "nothing for an object": (lambda r: r.update(data=None), "expected an object"),
    "number for truth": (lambda r: r["trunk"].update(commercial=1), "expected true or false"),
    "unknown kind of record": (lambda r: r.update(kind="guess"), "record.json.kind"),
    "unknown section": (lambda r: sections(r)[0].update(kind="pie"), "'pie' is missing or not known"),
    "untold section": (lambda r: sections(r)[0].pop("kind"), "'kind' is missing"),
    "section of a number": (lambda r: sections(r).append(5), "expected an object"),
    "cell of a number": (lambda r: sections(r)[1]["rows"].append([5]), "expected an object"),
    "newer schema": (lambda r: r.update(schema=2), "schema 2; this version of topwork reads up to 1"),
    "strange schema": (lambda r: r.update(schema="2"), "expected a whole number"),
}


def sections(record: dict[str, Any]) -> Any:
    return record["targets"]["label"]["sections"]


@pytest.mark.parametrize("edit", EDITS)
def test_what_does_not_belong_is_refused_and_named(edit: str) -> None:
    change, words = EDITS[edit]
    stored = written(tiny_record())
    change(stored)
    with pytest.raises(BundleError) as caught:
        record_from_json(stored)
    assert words in str(caught.value)


def test_many_mistakes_are_counted_rather_than_listed() -> None:
    stored = written(tiny_record())
    stored["data"]["findings"] = list(range(50))
    with pytest.raises(BundleError, match=r"and 47 more"):
        record_from_json(stored)


def test_a_long_value_is_cut_in_the_message() -> None:
    stored = written(tiny_record())
    stored["seconds"] = "x" * 10_000
    with pytest.raises(BundleError) as caught:
        record_from_json(stored)
    assert len(str(caught.value)) < 300


# --- JSON text ------------------------------------------------------------------------------------------


def test_json_text_is_ascii_and_keeps_names_that_are_no_unicode() -> None:
    text = encode_json({"ü\udcff": "日本"})
    assert text.isascii()
    assert decode_json(text, "x") == {"ü\udcff": "日本"}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_text_has_finite_numbers_only(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode_json([value])


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{", b"nul", b"\xff", b'{"a":1,"a":1}', b'[{"b":{"a":1,"a":1}}]', b"NaN", b"[-Infinity]"),
        *(b"[" * 200_000, b'{"a":' * 200_000, b"9" * 10_000),
    ],
    ids=lambda data: repr(data[:12]),
)
def test_what_is_not_json_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError, match=r"^part\.json is not valid JSON"):
        decode_json(data, "part.json")


def test_an_object_is_expected() -> None:
    with pytest.raises(BundleError, match="JSON list; an object was expected"):
        decode_object(b"[]", "part.json")


def test_plain_json_reads_the_same_elsewhere() -> None:
    record = record_to_json(tiny_record())
    assert json.loads(encode_json(record)) == record


def test_an_estimate_in_a_table_stays_one() -> None:
    table = record_from_json(written(tiny_record())).targets["label"].sections[1]
    assert isinstance(table.rows[0][1], Estimate)  # type: ignore[union-attr]
