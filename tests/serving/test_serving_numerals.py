"""Long lists of numbers are read as they would be at once, in a fraction of the memory, and hostile texts end soon."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topwork.contracts import Wire
from topwork.serving.http.bodies import reader_for
from topwork.serving.http.numerals import LARGE, MOST_ELSE, PIECE, Run, parsed
from topwork.serving.http.refusals import Refusal
from topwork.serving.protocols.tensors import read_inference

NUMBERS = Wire("numbers", ("text/csv",), "textarea", 1 << 23, "vector")
FILLER = b"[" + b", ".join([b"0.5"] * (LARGE // 4)) + b"]"


def expanded(value: Any) -> Any:
    """Return a value with lists of numbers in place of runs."""
    if isinstance(value, Run):
        return [number for piece in value.pieces() for number in piece]
    if isinstance(value, list):
        return [expanded(one) for one in value]
    if isinstance(value, dict):
        return {key: expanded(one) for key, one in value.items()}
    return value


numbers = st.lists(
    st.one_of(st.integers(-(10**30), 10**30), st.floats(allow_nan=False, allow_infinity=False)), max_size=40
)
strings = st.one_of(st.text(max_size=80), st.sampled_from(['"', "\\", '\\"', "[1, 2, 3]" * 20, "]", "["]))
values = st.recursive(
    st.one_of(numbers, strings, st.none(), st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(strings, inner, max_size=4)),
    max_leaves=12,
)


@given(values, st.sampled_from([None, 1]))
@settings(max_examples=300, deadline=None)
def test_a_large_text_says_what_it_would_say_at_once(value: Any, indent: int | None) -> None:
    text = b'{"filler": ' + FILLER + b', "value": ' + json.dumps(value, indent=indent).encode() + b"}"
    found = parsed(text, 64)
    assert isinstance(found["filler"], Run)
    assert expanded(found) == json.loads(text)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-1] + b",]",
        lambda text: b"[," + text[1:],
        lambda text: text.replace(b"1,", b"1,,", 1),
        lambda text: text[: PIECE + 1] + b"," + text[PIECE + 1 :],
        lambda text: text[:-1] + b", 01]",
        lambda text: text[:-1] + b", 1 2]",
        lambda text: text[:-1] + b", .5]",
        lambda text: text[:-1] + b", 1.]",
        lambda text: text[:-1] + b", +1]",
        lambda text: text[:-1] + b", -]",
        lambda text: text[:-1] + b", 1e]",
    ],
)
@pytest.mark.parametrize("n_bytes", [100, PIECE - 1, PIECE, PIECE + 2, 3 * PIECE])
def test_what_is_no_json_is_none_wherever_it_stands(n_bytes: int, damage: Callable[[bytes], bytes]) -> None:
    good = b"[" + b"1," * (n_bytes // 2) + b"1]"
    assert len(expanded(Run(good))) == n_bytes // 2 + 1
    with pytest.raises(json.JSONDecodeError):
        json.loads(damage(good))
    with pytest.raises(ValueError):  # noqa: PT011 - whatever is wrong, it is no JSON
        Run(damage(good)).require_numbers()


def test_blanks_alone_are_an_empty_list() -> None:
    assert expanded(Run(b"[" + b" " * 100 + b"]")) == []


@pytest.mark.parametrize(
    "text",
    [
        b'"' + b'\\"' * 2**20,
        b'"' * (2**20 + 1),
        b"[" * 2**20,
        b"[1" * 2**20,
        b'["' * 2**20,
        b"[" + b"1 " * 2**20,
        b'"\\' * 2**20 + b"\\",
    ],
)
def test_hostile_texts_end_soon(text: bytes) -> None:
    with pytest.raises((ValueError, RecursionError, Refusal)):
        parsed(text, 1)


@pytest.mark.parametrize(
    "text",
    [b"[" + b"[1]," * 2**19 + b"[1]]", b'{"input": "' + b"x" * 2**21 + b'"}', b"[" + b"{}," * 2**19 + b"{}]"],
)
def test_what_is_large_for_the_sake_of_something_else_is_refused(text: bytes) -> None:
    assert len(text) > MOST_ELSE
    with pytest.raises(Refusal, match="are no lists of numbers") as caught:
        parsed(text, 64)
    assert (caught.value.status, bool(caught.value.next_step)) == (422, True)


def test_many_short_vectors_are_taken_where_many_inputs_are() -> None:
    text = json.dumps({"inputs": [[0.25] * 8] * 20_000}).encode()
    assert len(expanded(parsed(text, 20_000))["inputs"]) == 20_000


# --- in bodies ------------------------------------------------------------------------------------------


def read(content: bytes, max_inputs: int = 8) -> Any:
    reader = reader_for("application/json", NUMBERS, max_inputs=max_inputs, max_body_bytes=1 << 30)
    return reader.read(content)


def infer(content: bytes) -> Any:
    return read_inference(content, None, 8).inputs[0].values


def tensor(shape: list[int], data: str) -> bytes:
    head = f'{{"name": "input", "datatype": "FP32", "shape": {shape}, "data": {data}}}'
    return f'{{"inputs": [{head}]}}'.encode()


ROW = "[" + ", ".join(["1.5"] * 2**17) + "]"


def test_long_vectors_are_inputs_as_they_were_sent() -> None:
    assert read(f'{{"input": {ROW}}}'.encode()) == (ROW.encode(),)
    assert read(f'{{"inputs": [{ROW}, [1, 2]]}}'.encode()) == (ROW.encode(), b"[1, 2]")


@pytest.mark.parametrize(
    ("text", "status", "told"),
    [
        (f'{{"inputs": {ROW}}}', 422, "Input 0 must be a list of numbers, got a number."),
        (
            f'{{"inputs": [{ROW}, [1, true]]}}',
            422,
            "Input 1 must be a list of numbers; at place 1 it holds true",
        ),
        (f'{{"inputs": [[1], {ROW[:-1]},]]}}', 400, "The request body is not JSON"),
        (f'{{"input": {ROW}, "other": 1}}', 422, "Expected an object"),
        (f'{{"input": [{ROW}]}}', 422, "Input 0 must be a list of numbers; at place 0 it holds a list."),
    ],
)
def test_what_is_wrong_with_long_vectors_is_told_as_with_short_ones(
    text: str, status: int, told: str
) -> None:
    with pytest.raises(Refusal) as caught:
        read(text.encode())
    assert (caught.value.status, told in caught.value.problem) == (status, True), caught.value.problem


@pytest.mark.parametrize(
    "content",
    [tensor([1, 2**17], ROW), tensor([1, 2**17], f"[{ROW}]"), tensor([2, 2**17], f"[{ROW}, {ROW}]")],
)
def test_a_long_tensor_has_its_numbers_nested_or_not(content: bytes) -> None:
    values = infer(content)
    assert set(values.tolist()) == {1.5}
    assert len(values) in (2**17, 2**18)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (tensor([1, 2**17 - 1], ROW), "holds 131072 values; its shape [1, 131071] has 131071"),
        (tensor([1, 2**17 - 1], f"[{ROW}]"), "is nested otherwise"),
        (tensor([2, 2**17], f"[{ROW}, 1]"), "is nested otherwise"),
        (tensor([2**17], f"[{ROW}]"), "is nested otherwise"),
        (tensor([1, 2**17], f"{ROW[:-1]},]"), "The request is not JSON"),
        (tensor([1, 2**17 + 1], f"{ROW[:-1]}, 1e39]"), "does not fit into FP32"),
        (tensor([1, 2**17], ROW).replace(b"FP32", b"INT8"), "Value 0 of the input 'input' is a number"),
        (tensor([1, 2**17], ROW).replace(b"FP32", b"BYTES"), "the datatype says BYTES"),
    ],
)
def test_what_is_wrong_with_a_long_tensor_is_told(content: bytes, told: str) -> None:
    with pytest.raises(Refusal) as caught:
        infer(content)
    assert (caught.value.status, told in caught.value.problem) == (400, True), caught.value.problem


# --- memory ---------------------------------------------------------------------------------------------


def peak(use: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        use()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_large_body_takes_a_few_times_its_size() -> None:
    rows = ", ".join([ROW] * 4)
    bodies = {
        "predict": (f'{{"inputs": [{rows}]}}'.encode(), read),
        "nested": (tensor([4, 2**17], f"[{rows}]"), infer),
    }
    for name, (body, use) in bodies.items():
        times = peak(lambda body=body, use=use: use(body)) / len(body)  # type: ignore[misc]
        assert times < 6, f"{name}: {times:.1f} times"
        assert peak(lambda body=body: json.loads(body)) / len(body) > 6, "the test tells nothing"  # type: ignore[misc]
