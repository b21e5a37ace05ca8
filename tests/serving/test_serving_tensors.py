"""Requests of the Open Inference Protocol become tensors, or a clear refusal; tensors become a response."""

from __future__ import annotations

import json
import struct
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topwork.serving.http.refusals import Refusal
from topwork.serving.protocols.tensors import (
    CODES,
    NUMERIC,
    Inference,
    Tensor,
    Wanted,
    bounds_of,
    read_inference,
    write_inference,
)


def tensor(**other: Any) -> dict[str, Any]:
    return {"name": "input", "datatype": "BYTES", "shape": [2], "data": ["a", "b"], **other}


def read(request: Any, behind: bytes = b"", *, counted: bool | None = None) -> Inference:
    head = json.dumps(request).encode()
    counted = bool(behind) if counted is None else counted
    return read_inference(head + behind, str(len(head)) if counted else None)


def refused(request: Any, behind: bytes = b"", *, counted: bool | None = None) -> str:
    with pytest.raises(Refusal) as caught:
        read(request, behind, counted=counted)
    assert caught.value.status == 400
    assert caught.value.next_step
    return caught.value.problem


# --- JSON ---------------------------------------------------------------------------------------------


def test_tensors_stand_in_json() -> None:
    found = read({"id": "7", "inputs": [tensor()]})
    assert found == Inference("7", (Tensor("input", "BYTES", (2,), ["a", "b"]),), None, binary=False)


def test_data_may_be_nested_or_not() -> None:
    flat = tensor(datatype="FP32", shape=[2, 3], data=[1, 2.5, 3, 4, 5, 6])
    nested = tensor(datatype="FP32", shape=[2, 3], data=[[1, 2.5, 3], [4, 5, 6]])
    assert read({"inputs": [flat]}).inputs == read({"inputs": [nested]}).inputs


def test_whole_numbers_may_be_written_with_a_point() -> None:
    (found,) = read({"inputs": [tensor(datatype="INT8", data=[1.0, -2])]}).inputs
    assert [(type(value), value) for value in found.values] == [(int, 1), (int, -2)]
    assert "a number; the datatype says INT8" in refused({"inputs": [tensor(datatype="INT8", data=[1.5, 2])]})


def test_outputs_are_asked_for_by_name_and_each_is_given_once() -> None:
    outputs = [
        {"name": "a", "parameters": {"binary_data": True}},
        {"name": "b"},
        {"name": "a"},
    ]
    assert read({"inputs": [tensor()], "outputs": outputs}).outputs == (
        Wanted("a", binary=True),
        Wanted("b", binary=False),
    )
    all_binary = {"inputs": [tensor()], "outputs": outputs, "parameters": {"binary_data_output": True}}
    assert read(all_binary).outputs == (Wanted("a", binary=True), Wanted("b", binary=True))
    assert read({"inputs": [tensor()], "outputs": []}).outputs is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": 3}, '"name" of an input must be a string'),
        ({"datatype": "BF16"}, "is 'BF16'; expected one of BYTES, BOOL"),
        ({"datatype": None}, '"datatype" of the input'),
        ({"shape": 2}, '"shape" of the input'),
        ({"shape": [True]}, "whole numbers, 0 or more"),
        ({"shape": [-1]}, "whole numbers, 0 or more"),
        ({"shape": [2.0]}, "whole numbers, 0 or more"),
        ({"shape": []}, "has 0 dimensions; expected 1 or 2"),
        ({"shape": [1, 1, 2]}, "has 3 dimensions"),
        ({"shape": [3]}, "holds 2 values; its shape [3] has 3"),
        ({"shape": [2**63, 2**63]}, "holds 2 values"),
        ({"data": "ab"}, '"data" of the input'),
        ({"data": [["a"], ["b", "c"]], "shape": [2, 1]}, "nested otherwise than its shape [2, 1]"),
        ({"data": [["a", "b"]], "shape": [2]}, "nested otherwise"),
        ({"data": ["a", 1]}, "Value 1 of the input 'input' is a number; the datatype says BYTES"),
        ({"data": [True, 1], "datatype": "FP32"}, "Value 0 of the input 'input' is true or false"),
        ({"data": [1, 300], "datatype": "UINT8"}, "does not fit into UINT8"),
        ({"data": [1, 1e300], "datatype": "FP32"}, "does not fit into FP32"),
        ({"data": [1, 10**400], "datatype": "FP64"}, "does not fit into FP64"),
        ({"parameters": []}, '"parameters" of the input'),
        ({"parameters": {"binary_data_size": 4}}, 'must have either "data" or'),
        ({"parameters": {"shared_memory_region": "x"}, "data": None}, '"data" of the input'),
    ],
)
def test_what_is_wrong_with_a_tensor_is_said(change: dict[str, Any], words: str) -> None:
    assert words in refused({"inputs": [tensor(**change)]})


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ([], "The request is no JSON object"),
        ({}, '"inputs" must be a list'),
        ({"inputs": []}, "at least one entry"),
        ({"inputs": ["a"]}, "An input is no JSON object"),
        ({"inputs": [{}]}, '"name" of an input'),
        (
            {"inputs": [{"name": "a", "datatype": "BOOL", "shape": [1]}]},
            "The input 'a' must have either \"data\"",
        ),
        ({"id": 7}, '"inputs" must be'),
        ({"id": 7, "inputs": [tensor()]}, '"id" of the request'),
        ({"inputs": [tensor()], "outputs": "a"}, '"outputs" must be a list'),
        ({"inputs": [tensor()], "outputs": [{}]}, '"name" of a requested output'),
        (
            {"inputs": [tensor()], "outputs": [{"name": "a", "parameters": {"classification": 3}}]},
            "asks for 'classification'",
        ),
        (
            {"inputs": [tensor()], "outputs": [{"name": "a", "parameters": {"binary_data": 1}}]},
            '"binary_data" must be true or false',
        ),
        ({"inputs": [tensor()], "parameters": {"binary_data_output": "yes"}}, "must be true or false"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(request_: Any, words: str) -> None:
    assert words in refused(request_)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b"1" * 10_000])
def test_what_is_no_json_is_refused(content: bytes) -> None:
    with pytest.raises(Refusal, match="is not JSON") as caught:
        read_inference(content, None)
    assert caught.value.status == 400


# --- binary data --------------------------------------------------------------------------------------


def behind(datatype: str, shape: list[int], size: Any) -> dict[str, Any]:
    return {"name": "x", "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}


def test_tensors_may_stand_behind_the_json_in_the_order_of_the_inputs() -> None:
    packed = struct.pack("<4f", 1, 2, 3, 4)
    texts = b"\x02\0\0\0\xff\xfe" + b"\0\0\0\0"
    inputs = [behind("FP32", [2, 2], 16), tensor(), behind("BYTES", [2], len(texts)), behind("BOOL", [1], 1)]
    numbers, _, words, truth = read({"inputs": inputs}, packed + texts + b"\x01").inputs
    assert list(numbers.values) == [1.0, 2.0, 3.0, 4.0]
    assert list(words.values) == [b"\xff\xfe", b""]
    assert list(truth.values) == [True]


@pytest.mark.parametrize(
    ("one", "rest", "words"),
    [
        (behind("FP32", [1], 4), b"abc", "announces 4 bytes behind the JSON; 3 are left"),
        (behind("FP32", [1], 4), b"abcde", "1 bytes are left behind the last input"),
        (behind("FP32", [1], 3), b"abc", "has 3 bytes; a FP32 has 4"),
        (behind("FP32", [2], 4), b"abcd", "holds 1 values; its shape [2] has 2"),
        (behind("BYTES", [1], 3), b"\0\0\0", "Element 0 of the input 'x' reaches beyond"),
        (behind("BYTES", [1], 5), b"\xff\xff\xff\xffa", "Element 0 of the input 'x' reaches beyond"),
        (behind("BYTES", [2], 7), b"\x01\0\0\0a\0\0", "Element 1 of the input 'x' reaches beyond"),
        (behind("FP32", [1], -4), b"abcd", "must be a whole number, 0 or more"),
        (behind("FP32", [1], True), b"abcd", "must be a whole number"),
        (behind("FP32", [1], "4"), b"abcd", "must be a whole number"),
    ],
)
def test_binary_data_that_does_not_fit_is_refused(one: dict[str, Any], rest: bytes, words: str) -> None:
    assert words in refused({"inputs": [one]}, rest)


def test_binary_data_needs_the_header() -> None:
    assert "announces 0 bytes" in refused({"inputs": [behind("FP32", [0], 0)]}, counted=False)


@pytest.mark.parametrize("length", ["", "-1", "1e3", "99999", "9" * 30, "٣"])
def test_a_header_that_cannot_be_is_refused(length: str) -> None:
    with pytest.raises(Refusal, match="Inference-Header-Content-Length is") as caught:
        read_inference(b"{}", length)
    assert caught.value.status == 400


@settings(deadline=None)
@given(st.sampled_from(NUMERIC), st.data())
def test_numbers_arrive_as_they_were_sent(datatype: str, data: st.DataObject) -> None:
    low, high = bounds_of(datatype)
    widths: dict[str, Literal[16, 32, 64]] = {"FP16": 16, "FP32": 32, "FP64": 64}
    whole = st.integers(int(low), int(high))
    number = st.floats(low, high, width=widths[datatype]) if datatype in widths else whole
    values: list[float] = data.draw(st.lists(number, min_size=1, max_size=5))
    packed = struct.pack(f"<{len(values)}{CODES[datatype]}", *values)
    in_json = read({"inputs": [tensor(datatype=datatype, shape=[len(values)], data=values)]}).inputs[0]
    binary = read({"inputs": [behind(datatype, [len(values)], len(packed))]}, packed).inputs[0]
    assert list(in_json.values) == list(binary.values) == values


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NEAR = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["input", "x"]) | JSON,
        "datatype": st.sampled_from(["BYTES", *CODES]) | JSON,
        "shape": st.lists(st.integers(-1, 4), max_size=3) | JSON,
        "data": st.lists(JSON, max_size=4) | JSON,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-1, 20) | JSON})
        | JSON,
    },
)
REQUESTS = st.fixed_dictionaries(
    {"inputs": st.lists(NEAR, max_size=3) | JSON},
    optional={"outputs": st.lists(NEAR, max_size=2) | JSON, "id": JSON, "parameters": JSON},
)


@settings(max_examples=400, deadline=None)
@given(REQUESTS | JSON, st.binary(max_size=30), st.none() | st.just("") | st.integers(-5, 5))
def test_no_request_at_all_does_anything_but_read_or_refuse(
    request_: Any, rest: bytes, off: int | str | None
) -> None:
    head = json.dumps(request_).encode()
    length = str(len(head) + off) if isinstance(off, int) else off
    statuses = set()
    try:
        found = read_inference(head + rest, length)
    except Refusal as refusal:
        statuses.add(refusal.status)
    else:
        assert all(len(one.shape) in (1, 2) for one in found.inputs)
    assert statuses <= {400}


# --- responses ----------------------------------------------------------------------------------------


def test_outputs_are_written_in_json_and_behind_it() -> None:
    words = Tensor("label", "BYTES", (2,), ["König", ""])
    numbers = Tensor("value", "FP64", (2,), [1.5, 2.0])
    body, n_json = write_inference({"id": "7"}, [(words, True), (numbers, False), (numbers, True)])
    assert n_json is not None
    told = json.loads(body[:n_json])
    assert [one.get("parameters") for one in told["outputs"]] == [
        {"binary_data_size": 14},
        None,
        {"binary_data_size": 16},
    ]
    assert told["outputs"][1] == {"name": "value", "datatype": "FP64", "shape": [2], "data": [1.5, 2.0]}
    assert told["id"] == "7"
    assert body[n_json:] == b"\x06\0\0\0K\xc3\xb6nig\0\0\0\0" + struct.pack("<2d", 1.5, 2.0)
    assert write_inference({}, [(words, False)])[1] is None
