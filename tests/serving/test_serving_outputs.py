"""Answers become tensors by their schema alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from topwork.contracts import Answer, Json
from topwork.serving.http.refusals import Refusal
from topwork.serving.protocols.outputs import Output, outputs_of, tensor_of, values_of

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["label", "sure", "n", "score", "table", "list", "bound", "none", "untyped"],
    "properties": {
        "label": {"type": "string", "enum": ["a"]},
        "sure": {"type": "boolean"},
        "n": {"type": "integer"},
        "score": {"type": "number"},
        "table": {"type": "object", "properties": {"a": {"type": "number"}}},
        "list": {"type": "array"},
        "bound": {"type": ["number", "null"]},
        "none": {"type": "null"},
        "untyped": {},
        "perhaps": {"type": "string"},
    },
}
ANSWER: dict[str, Json] = {"label": "ä", "sure": True, "n": 3, "score": 2, "table": {"a": 0.5}, "bound": None}


def test_what_is_always_a_single_value_is_an_output() -> None:
    assert [(one.name, one.datatype) for one in outputs_of(SCHEMA)] == [
        ("answer", "BYTES"),
        ("label", "BYTES"),
        ("sure", "BOOL"),
        ("n", "INT64"),
        ("score", "FP64"),
    ]


def test_a_list_of_a_fixed_number_of_numbers_is_a_row() -> None:
    def listed(**other: Json) -> Json:
        return {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2, **other}

    whole: Json = {"type": "integer"}
    texts: Json = {"type": "string"}
    tables: Json = {"type": "object"}
    lists: dict[str, Json] = {
        "embedding": listed(),
        "ranks": listed(items=whole),
        "longer": listed(maxItems=3),
        "open": {"type": "array", "items": whole},
        "empty": listed(minItems=0, maxItems=0),
        "texts": listed(items=texts),
        "tables": listed(items=tables),
    }
    _, *found = outputs_of({"type": "object", "properties": lists, "required": list(lists)})
    assert found == [
        Output("embedding", "FP64", ("embedding",), 2),
        Output("ranks", "INT64", ("ranks",), 2),
    ]
    assert found[0].shape(-1) == (-1, 2)
    tensor = tensor_of(found[0], [{"embedding": [1, 2.5]}, {"embedding": [3, 4]}, {"embedding": [5, 6]}])
    assert (tensor.shape, tensor.values) == ((3, 2), [1.0, 2.5, 3.0, 4.0, 5.0, 6.0])


def test_names_of_several_targets_are_joined() -> None:
    value: Json = {"type": "object", "required": ["value"], "properties": {"value": {"type": "number"}}}
    inner: Json = {"type": "object", "required": ["b"], "properties": {"b": {"type": "number"}}}
    targets = {"age": value, "answer": {"type": "string"}, "a.b": {"type": "string"}, "a": inner}
    found = outputs_of({"type": "object", "properties": targets, "required": list(targets)})
    # The whole answer keeps its name, and of two that would be called a.b the first one has it.
    assert found == (
        Output("answer", "BYTES", ()),
        Output("age.value", "FP64", ("age", "value")),
        Output("a.b", "BYTES", ("a.b",)),
    )


def test_a_schema_that_says_nothing_leaves_the_whole_answer() -> None:
    assert [one.name for one in outputs_of({})] == ["answer"]
    assert [one.name for one in outputs_of({"properties": {"a": {"type": "string"}}})] == ["answer"]


def test_values_stand_in_the_order_of_the_inputs() -> None:
    values = values_of([Answer(1, {"label": "b"}), Answer(0, {"label": "a"})])
    found = tensor_of(Output("label", "BYTES", ("label",)), values)
    assert (found.shape, list(found.values)) == ((2,), ["a", "b"])


def test_every_output_has_its_type() -> None:
    tensors = {one.name: tensor_of(one, [ANSWER]) for one in outputs_of(SCHEMA)}
    (whole,) = tensors["answer"].values
    assert json.loads(whole) == ANSWER
    assert "ä" in whole
    assert [(name, tensors[name].values) for name in ("sure", "n", "score")] == [
        ("sure", [True]),
        ("n", [3]),
        ("score", [2.0]),
    ]
    assert type(tensors["score"].values[0]) is float


def test_a_bad_input_spoils_the_tensor_and_is_named() -> None:
    answers = [Answer(2, None, "It is no photo.\nSend a photo."), Answer(0, {}), Answer(1, None, "Empty.")]
    with pytest.raises(Refusal) as caught:
        values_of(answers)
    assert caught.value.status == 422
    assert caught.value.problem == "Input 1: Empty. Input 2: It is no photo. Send a photo."
    assert "Leave such inputs out" in caught.value.next_step
