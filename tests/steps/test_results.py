"""Answers as tables: a column for every value, whatever rows have it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from topwork.errors import UsageError
from topwork.steps.results import flat, require_writable, write_results

parquet = pytest.importorskip("pyarrow.parquet")

ANSWERS: list[dict[str, Any]] = [
    {
        "label": "a",
        "probabilities": {"a": 1, "b": 0.25},
        "row": 7,
        "ok": True,
        "some": [1, "x"],
        "text": "é\n",
    },
    {"label": "b", "probabilities": {"a": 0.5}, "more": 3, "ok": None, "mixed": 1},
    {"label": None, "mixed": "m", "half": "\ud83d"},
]


def rows(folder: Path) -> Path:
    lines = [{"row": i, "input": f"in {i}", "answer": answer} for i, answer in enumerate(ANSWERS, start=1)]
    path = folder / "rows"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_row_is_flat() -> None:
    found = flat({"row": 1, "input": "x", "answer": ANSWERS[0]})
    own = ["row", "input", "label", "probabilities.a", "probabilities.b", "answer.row", "ok", "some", "text"]
    assert list(found) == own
    assert (found["row"], found["answer.row"], found["some"]) == (1, 7, '[1, "x"]')


def test_json_lines_are_the_rows_themselves(tmp_path: Path) -> None:
    content = rows(tmp_path).read_bytes()
    write_results(tmp_path / "rows", tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == content
    assert not (tmp_path / "rows").exists()


def test_csv_has_a_column_for_every_value(tmp_path: Path) -> None:
    write_results(rows(tmp_path), tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as stream:
        first, second, third = csv.DictReader(stream)
    assert (first["probabilities.a"], first["probabilities.b"], first["ok"], first["text"]) == (
        "1",
        "0.25",
        "true",
        "é\n",
    )
    assert (second["probabilities.b"], second["more"], second["ok"]) == ("", "3", "")
    assert (third["label"], third["mixed"]) == ("", "m")
    assert (tmp_path / "rows").exists(), "whoever wrote them puts them away"


def test_parquet_has_types(tmp_path: Path) -> None:
    write_results(rows(tmp_path), tmp_path / "out.parquet")
    found = parquet.read_table(tmp_path / "out.parquet")
    kinds = {field.name: str(field.type) for field in found.schema}
    assert kinds["row"] == "int64"
    assert kinds["probabilities.a"] == "double"
    assert (kinds["ok"], kinds["more"], kinds["mixed"], kinds["label"]) == (
        "bool",
        "int64",
        "string",
        "string",
    )
    first, second, third = found.to_pylist()
    assert (first["probabilities.a"], second["probabilities.a"], third["probabilities.a"]) == (1.0, 0.5, None)
    assert (second["mixed"], third["mixed"]) == ("1", "m")


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_no_rows_are_a_table_all_the_same(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "rows").write_bytes(b"")
    write_results(tmp_path / "rows", tmp_path / f"out.{suffix}")
    assert (tmp_path / f"out.{suffix}").stat().st_size > 0


def test_a_format_that_is_none_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"End it in \.jsonl, \.csv, \.parquet"):
        require_writable(tmp_path / "out.xlsx")
