"""Bodies become inputs, or a clear refusal; never anything else."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_servable import PICTURE, TEXT
from topwork.contracts import Wire
from topwork.serving.http.bodies import Input, Unreadable, reader_for
from topwork.serving.http.refusals import Refusal

FORM = "multipart/form-data; boundary=cut"
NUMBERS = Wire("numbers", ("text/csv",), "textarea", 1000, "vector")


def read(
    content: bytes, content_type: str = "", wire: Wire = PICTURE, max_inputs: int = 4
) -> tuple[Input, ...]:
    return reader_for(content_type, wire, max_inputs=max_inputs, max_body_bytes=1 << 22).read(content)


def refused(content: bytes, content_type: str = "", wire: Wire = PICTURE) -> Refusal:
    with pytest.raises(Refusal) as caught:
        read(content, content_type, wire)
    assert caught.value.problem
    assert caught.value.next_step
    return caught.value


def form(*parts: tuple[str, bytes], end: bytes = b"--cut--\r\n") -> bytes:
    head = b"--cut\r\ncontent-disposition: form-data; "
    return b"".join(head + name.encode() + b"\r\n\r\n" + content + b"\r\n" for name, content in parts) + end


@pytest.mark.parametrize("kind", ["", "application/octet-stream", "image/jpeg", "IMAGE/PNG; q=1"])
def test_raw_bytes_are_one_input(kind: str) -> None:
    assert read(b"\xff\xd8 photo", kind) == (b"\xff\xd8 photo",)


def test_a_wire_may_take_a_whole_family_of_types() -> None:
    wire = Wire("base64", ("audio/*",), "file", 100, "recording")
    assert read(b"x", "audio/flac", wire) == (b"x",)
    assert refused(b"x", "audios/flac", wire).status == 415


def test_a_strange_type_is_refused_before_the_body_with_what_to_send() -> None:
    with pytest.raises(Refusal) as caught:
        reader_for("application/x-www-form-urlencoded", PICTURE, max_inputs=1, max_body_bytes=1)
    assert caught.value.status == 415
    assert "image/jpeg" in caught.value.problem
    assert "application/octet-stream" in caught.value.next_step


def test_an_empty_body_is_refused() -> None:
    assert refused(b"").status == 400


def test_the_bound_of_a_raw_body_is_that_of_one_input() -> None:
    assert reader_for("", PICTURE, max_inputs=1, max_body_bytes=1 << 30).max_bytes == PICTURE.max_bytes
    assert reader_for(FORM, PICTURE, max_inputs=1, max_body_bytes=1 << 30).max_bytes == 1 << 30


# --- JSON ---------------------------------------------------------------------------------------------


def as_json(value: Any, wire: Wire = PICTURE) -> tuple[Input, ...]:
    return read(json.dumps(value).encode(), "application/json; charset=utf-8", wire)


def test_json_takes_base64_with_line_breaks_and_as_a_data_url() -> None:
    encoded = base64.encodebytes(b"photo" * 40).decode()
    assert as_json({"input": encoded}) == (b"photo" * 40,)
    assert as_json({"inputs": ["data:image/png;base64,aGk=", "aG8="]}) == (b"hi", b"ho")


def test_json_takes_text_as_it_is() -> None:
    assert as_json({"inputs": ["Grüße", ""]}, TEXT) == ("Grüße".encode(), b"")


def test_json_takes_numbers_as_lists() -> None:
    assert as_json({"input": [0.1, 2]}, NUMBERS) == (b"[0.1, 2]",)
    assert as_json({"inputs": [[1], []]}, NUMBERS) == (b"[1]", b"[]")
    refusal = refused(json.dumps({"inputs": [[1], [2, True]]}).encode(), "application/json", NUMBERS)
    said = "Input 1 must be a list of numbers; at place 1 it holds true or false."
    assert (refusal.status, refusal.problem) == (422, said)
    refusal = refused(json.dumps({"inputs": [[1], "2"]}).encode(), "application/json", NUMBERS)
    assert (refusal.status, refusal.problem) == (422, "Input 1 must be a list of numbers, got a string.")
    assert refusal.next_step == 'Send {"input": [0.1, 2, …]} or {"inputs": [[0.1, 2, …], …]}.'


def test_one_bad_string_does_not_spoil_the_others() -> None:
    good, bad = as_json({"inputs": ["aGk=", "no base64!"]})
    assert good == b"hi"
    assert isinstance(bad, Unreadable)
    assert "base64" in bad.problem
    (half,) = as_json({"input": "\ud800"}, TEXT)
    assert isinstance(half, Unreadable)


def test_an_input_over_the_bound_of_its_kind_is_named() -> None:
    good, bad = as_json({"inputs": ["short", "x" * (TEXT.max_bytes + 1)]}, TEXT)
    assert good == b"short"
    assert isinstance(bad, Unreadable)
    assert "1,001 bytes" in bad.problem


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"input": ', b"\xff\xfe\xfa", b"[" * 100_000, b"1" * 10_000, b'"\\ud8']
)
def test_what_is_no_json_gets_400(content: bytes) -> None:
    assert refused(content, "application/json").status == 400


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ([], "a list"),
        (None, "null"),
        (3.5, "a number"),
        (True, "true or false"),
        ({}, "keys []"),
        ({"input": "a", "inputs": []}, "keys"),
        ({"picture": "a"}, "'picture'"),
        ({"inputs": "a"}, "a string"),
        ({"inputs": []}, "no input"),
        ({"inputs": ["aGk=", 7]}, "Input 1"),
        ({"input": {"b64": "a"}}, "an object"),
        ({"inputs": ["aGk="] * 5}, "more than 4"),
    ],
)
def test_other_json_gets_422_and_says_what_it_was(value: Any, word: str) -> None:
    refusal = refused(json.dumps(value).encode(), "application/json")
    assert refusal.status == 422
    assert word in refusal.problem


# --- forms --------------------------------------------------------------------------------------------


def test_every_part_of_a_form_is_an_input_whatever_its_name() -> None:
    body = form(('name="file"; filename="a.jpg"', b"one"), ('name="x"', b"two\r\n--cu"), ('name=""', b""))
    assert read(body, FORM) == (b"one", b"two\r\n--cu", b"")


def test_a_file_field_in_which_nothing_was_chosen_is_no_input() -> None:
    assert read(form(('name="a"; filename=""', b""), ('name="b"', b"x")), FORM) == (b"x",)
    assert refused(form(('name="a"; filename=""', b"")), FORM).status == 422


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=" + "x" * 71])
def test_a_form_needs_a_usable_boundary(content_type: str) -> None:
    assert refused(b"", content_type).status == 400


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nothing of the kind",
        form(('name="a"', b"x"), end=b""),
        form(('name="a"', b"x"))[:-8],
        b"--cut\r\nno colon\r\n\r\nx\r\n--cut--",
        b"--cut\r\n" + b"a: b\r\n" * 100 + b"\r\nx\r\n--cut--",
        b"--cut\r\n" + b"a" * 100_000,
    ],
)
def test_a_broken_form_gets_400(content: bytes) -> None:
    assert refused(content, FORM).status == 400


def test_a_form_may_not_hold_more_parts_than_inputs_are_taken() -> None:
    refusal = refused(form(*[('name="a"', b"x")] * 5), FORM)
    assert (refusal.status, "more than 4" in refusal.problem) == (422, True)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([FORM, "application/json", "text/plain", "", "image/png"]))
def test_no_body_at_all_does_anything_but_read_or_refuse(content: bytes, content_type: str) -> None:
    statuses = set()
    for framed in (content, b"--cut\r\n" + content + b"\r\n--cut--\r\n", b'{"input":' + content + b"}"):
        try:
            inputs = read(framed, content_type)
        except Refusal as refusal:
            statuses.add(refusal.status)
        else:
            assert all(isinstance(one, (bytes, Unreadable)) for one in inputs)
    assert statuses <= {400, 415, 422}
