"""The model card: a header that machines read, and figures that are those of the record."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tiny_bundle import LABELS, tiny_record
from topwork.bundle.card import render_card
from topwork.contracts import FitRecord

NASTY = 'a|b`<script>alert(1)</script>\n# "head" [x](http://y) *bold*'


def header(card: str) -> dict[str, Any]:
    """Read the header; each line is a key and JSON, which is YAML too."""
    _, yaml, _ = card.split("---\n", 2)
    lines = (line.split(": ", 1) for line in yaml.splitlines())
    return {key: json.loads(value) for key, value in lines}


def body(card: str) -> str:
    return card.split("---\n", 2)[2]


def nasty_record() -> FitRecord:
    record = tiny_record()
    target = replace(record.targets["label"], labels=(NASTY, "ok"))
    data = replace(record.data, name=NASTY, findings=(NASTY,))
    return replace(record, data=data, targets={NASTY: target}, trunk=replace(record.trunk, summary=NASTY))


def test_the_header_holds_what_the_hub_reads() -> None:
    found = header(render_card("trees", tiny_record()))
    assert (found["license"], found["library_name"]) == ("apache-2.0", "topwork")
    assert found["tags"] == ["topwork", "transfer-learning", "tiny", "grid-tiny"]
    assert found["metrics"] == ["accuracy", "log_loss"]
    (result,) = found["model-index"][0]["results"]
    assert result["dataset"]["split"] == "test"
    assert result["metrics"] == [
        {"type": "accuracy", "name": "accuracy (95 % interval 0.5 to 0.875)", "value": 0.75}
    ]


def test_a_classifier_of_images_is_found_as_one() -> None:
    record = tiny_record()
    targets = {"label": replace(record.targets["label"], task="classification")}
    record = replace(record, targets=targets, data=replace(record.data, modality="image"))
    assert header(render_card("trees", record))["pipeline_tag"] == "image-classification"
    assert "pipeline_tag" not in header(render_card("trees", tiny_record()))


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("MIT", {"license": "mit"}),
        ("Apache-2.0 (trained on ImageNet-1k)", {"license": "apache-2.0"}),
        ("see the author", {"license": "other", "license_name": "see the author"}),
        ("", {"license": "other", "license_name": ""}),
    ],
)
def test_a_licence_is_called_what_the_hub_calls_it(licence: str, expected: dict[str, str]) -> None:
    record = tiny_record()
    found = header(render_card("trees", replace(record, trunk=replace(record.trunk, licence=licence))))
    assert {key: found[key] for key in expected} == expected


def test_a_licence_that_forbids_business_is_said_loudly() -> None:
    record = tiny_record()
    assert "Not for commercial use" not in render_card("trees", record)
    card = render_card("trees", replace(record, trunk=replace(record.trunk, commercial=False)))
    assert "**Not for commercial use.**" in card


def test_the_figures_are_those_of_the_record() -> None:
    text = body(render_card("trees", tiny_record(("label", "other"))))
    assert text.count("| accuracy | 0.75 (0.5 to 0.875) | 0.25 (0.125 to 0.5) |") == 2
    assert "On 4 test rows" in text
    assert "12 of 13 inputs used; 8 to train, 0 to validate, 4 to test" in text
    assert ", ".join(LABELS) in text
    assert "- 2 duplicates" in text


def test_text_from_data_stays_text() -> None:
    card = render_card(NASTY, nasty_record())
    text = body(card)
    assert "<script>" not in text
    assert "](http://y)" not in text
    assert header(card)["model-index"][0]["name"] == NASTY
    tables = [line for line in text.splitlines() if line.startswith("| ")]
    assert {line.count("|") for line in tables} == {4}
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert len(headings) == 5


def test_very_many_labels_are_cut() -> None:
    record = tiny_record()
    target = replace(record.targets["label"], labels=tuple(f"class {i}" for i in range(1000)))
    text = render_card("trees", replace(record, targets={"label": target}))
    assert "1000 labels" in text
    assert "class 99 and 900 more" in text
    assert "class 100," not in text
