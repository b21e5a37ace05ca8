"""Values and schemas: what fits, and what does not is named."""

from __future__ import annotations

from typing import Any

import pytest

from topwork.serving.wrapping.conformity import misfit

OBJECT: dict[str, Any] = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 3}, "tags": {"type": "array"}},
    "required": ["n"],
    "additionalProperties": False,
}
VECTOR: dict[str, Any] = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        ({"n": 1}, OBJECT),
        ({"n": 3.0, "tags": ["a", 1]}, OBJECT),
        ([1, 2.5], VECTOR),
        ("x", {"type": ["string", "null"]}),
        (None, {"type": ["string", "null"]}),
        (True, {"type": "boolean", "const": True}),
        ("a", {"enum": ["a", "b"]}),
        (2, {"anyOf": [{"type": "string"}, {"type": "number"}]}),
        ({"other": 1}, {"type": "object"}),
        ({"other": 1}, {"additionalProperties": {"type": "number"}}),
        (3, {}),
        (3, True),
        (3, None),
        (3, {"type": "integer", "$comment": "nothing", "format": "int8"}),
    ],
)
def test_what_fits(value: Any, schema: Any) -> None:
    assert misfit(value, schema) is None


@pytest.mark.parametrize(
    ("value", "schema", "told"),
    [
        ([], OBJECT, "the answer is list; expected object"),
        ({}, OBJECT, "the answer has no 'n'"),
        ({"n": "1"}, OBJECT, "the answer.n is str; expected integer"),
        ({"n": True}, OBJECT, "the answer.n is bool; expected integer"),
        ({"n": 1.5}, OBJECT, "the answer.n is float; expected integer"),
        ({"n": 4}, OBJECT, "the answer.n is 4, which is out of range"),
        ({"n": -1}, OBJECT, "the answer.n is -1, which is out of range"),
        ({"n": 1, "m": 1}, OBJECT, "the answer.m must not be there"),
        ([1], VECTOR, "the answer has 1 items"),
        ([1, 2, 3], VECTOR, "the answer has 3 items"),
        ([1, "2"], VECTOR, "the answer[1] is str; expected number"),
        ("c", {"enum": ["a", "b"]}, "the answer is 'c'; expected one of ['a', 'b']"),
        (1, {"const": True}, "the answer is '1'; expected one of [True]"),
        ([], {"oneOf": [{"type": "string"}, {"type": "number"}]}, "the answer fits none of 2 schemas"),
        ({"x": "1"}, {"additionalProperties": {"type": "number"}}, "the answer.x is str; expected number"),
    ],
)
def test_what_does_not(value: Any, schema: Any, told: str) -> None:
    assert misfit(value, schema) == told
