"""The Open Inference Protocol over the application in this process: routes, tensors in and out, errors."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_servable import PICTURE, TEXT, FakeServable, client, with_client
from topwork import __version__
from topwork.contracts import Wire
from topwork.errors import ProofError
from topwork.serving.app import Application, application
from topwork.serving.hosting import Hosted
from topwork.serving.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from topwork.contracts import Answer

INFER = "/v2/models/chess/infer"
NUMBERS = Wire("numbers", ("text/csv",), "textarea", 1000, "vector")
HEADER = "inference-header-content-length"


def words(*values: str, **other: Any) -> dict[str, Any]:
    return {"name": "input", "datatype": "BYTES", "shape": [len(values)], "data": list(values), **other}


def infer(
    request: Any, servable: FakeServable | None = None, path: str = INFER, **limits: Any
) -> httpx.Response:
    return with_client(
        servable or FakeServable(wire=TEXT), lambda one: one.post(path, json=request), **limits
    )


def get(path: str, servable: FakeServable | None = None) -> httpx.Response:
    return with_client(servable or FakeServable(), lambda one: one.get(path))


def error_of(response: httpx.Response) -> str:
    assert response.headers["content-type"] == "application/json"
    said = response.json()
    assert set(said) == {"error"}
    assert isinstance(said["error"], str)
    return str(said["error"])


# --- about the server and its models ------------------------------------------------------------------


def test_the_server_says_what_it_is() -> None:
    expected = {"name": "topwork", "version": __version__, "extensions": ["binary_tensor_data"]}
    assert get("/v2").json() == get("/v2/").json() == expected


@pytest.mark.parametrize("path", ["/v2/models/chess", "/v2/models/chess/versions/1"])
def test_a_model_says_which_tensors_it_takes_and_gives(path: str) -> None:
    assert get(path).json() == {
        "name": "chess",
        "versions": ["1"],
        "platform": "topwork",
        "inputs": [{"name": "input", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "answer", "datatype": "BYTES", "shape": [-1]},
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
        ],
    }
    numbers = get(path, FakeServable(wire=NUMBERS)).json()["inputs"]
    assert numbers == [{"name": "input", "datatype": "FP32", "shape": [-1, -1]}]


def test_health_is_told_by_the_status_as_the_protocol_has_it() -> None:
    opened = threading.Event()

    def proof() -> None:
        assert opened.wait(20)

    async def main() -> list[tuple[int, Any]]:
        slow = Hosted(FakeServable("slow", proof=proof), Limits())
        app = Application([Hosted(FakeServable(), Limits()), slow], Limits())
        paths = (
            "/v2/health/live",
            "/v2/health/ready",
            "/v2/models/chess/ready",
            "/v2/models/slow/versions/1/ready",
        )
        async with app.running(), client(app) as one:
            await app.models["chess"].proven()
            found = [await one.get(path) for path in paths]
            found.append(await one.post("/v2/models/slow/infer", json={"inputs": [words("a")]}))
            opened.set()
            await app.proven()
            found += [await one.get(path) for path in paths]
        return [(response.status_code, response.json()) for response in found]

    *before, (status, said), live, ready, chess, slow = asyncio.run(main())
    assert before == [
        (200, {"live": True}),
        (400, {"ready": False}),
        (200, {"name": "chess", "ready": True}),
        (400, {"name": "slow", "ready": False}),
    ]
    assert (status, "still replaying" in said["error"]) == (503, True)
    assert [live, ready] == [(200, {"live": True}), (200, {"ready": True})]
    assert [chess, slow] == [(200, {"name": one, "ready": True}) for one in ("chess", "slow")]


def test_a_model_that_failed_its_proof_is_not_ready() -> None:
    def proof() -> None:
        raise ProofError("Output 3 differs by 0.2.")

    async def main() -> httpx.Response:
        app = application(FakeServable(proof=proof))
        async with app.running(), client(app) as one:
            await asyncio.gather(app.proven(), return_exceptions=True)
            return await one.get("/v2/models/chess/ready")

    assert asyncio.run(main()).status_code == 400


# --- inference ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [INFER, "/v2/models/chess/versions/1/infer"])
def test_several_inputs_are_the_first_dimension(path: str) -> None:
    servable = FakeServable(wire=TEXT)
    response = infer({"id": "7", "inputs": [words("one", "four")]}, servable, path)
    assert response.status_code == 200
    assert HEADER not in response.headers
    said = response.json()
    assert {key: said[key] for key in ("model_name", "model_version", "id")} == {
        "model_name": "chess",
        "model_version": "1",
        "id": "7",
    }
    answer, label = said["outputs"]
    assert [json.loads(one)["n_bytes"] for one in answer["data"]] == [3, 4]
    assert label == {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["Pawn", "Queen"]}
    assert servable.seen == [b"one", b"four"]
    assert "id" not in infer({"inputs": [words("one")]}).json()


def test_encoded_inputs_stand_as_base64_in_json() -> None:
    servable = FakeServable(wire=PICTURE)
    data = [base64.b64encode(one).decode() for one in (b"\xff\xd8", b"abc")]
    response = infer({"inputs": [words(*data, shape=[2, 1])]}, servable)
    assert response.status_code == 200
    assert servable.seen == [b"\xff\xd8", b"abc"]
    assert "base64" in error_of(infer({"inputs": [words("!")]}, FakeServable()))


def test_encoded_inputs_stand_as_they_are_behind_the_json() -> None:
    servable = FakeServable(wire=PICTURE)
    packed = b"".join(struct.pack("<I", len(one)) + one for one in (b"\xff\xd8\0", b"x"))
    tensor = {"name": "input", "datatype": "BYTES", "shape": [2]}
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": len(packed)}}]}).encode()
    headers = {HEADER: str(len(head)), "content-type": "application/octet-stream"}
    response = with_client(servable, lambda one: one.post(INFER, content=head + packed, headers=headers))
    assert response.status_code == 200
    assert servable.seen == [b"\xff\xd8\0", b"x"]


@pytest.mark.parametrize("datatype", ["FP32", "FP64", "INT32"])
def test_numbers_are_rows(datatype: str) -> None:
    servable = FakeServable(wire=NUMBERS)
    tensor = {"name": "input", "datatype": datatype, "shape": [2, 2], "data": [1, 2, 3, 4]}
    assert infer({"inputs": [tensor]}, servable).status_code == 200
    assert [json.loads(one) for one in servable.seen] == [[1, 2], [3, 4]]


def test_outputs_come_as_they_are_asked_for() -> None:
    wanted = [{"name": "label", "parameters": {"binary_data": True}}]
    response = infer({"inputs": [words("one")], "outputs": wanted})
    assert response.headers["content-type"] == "application/octet-stream"
    n_json = int(response.headers[HEADER])
    told = json.loads(response.content[:n_json])["outputs"]
    assert told == [
        {"name": "label", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 8}}
    ]
    assert response.content[n_json:] == b"\x04\0\0\0Pawn"


# --- errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "status", "said"),
    [
        ({"inputs": [words("a", name="text")]}, 400, "The inputs are 'text'; this model has one, 'input'."),
        ({"inputs": [words("a"), words("b")]}, 400, "The inputs are 'input', 'input'"),
        (
            {"inputs": [words("a", "b", shape=[1, 2])]},
            400,
            "BYTES of the shape [1, 2]. Send one input, 'input'",
        ),
        (
            {"inputs": [{**words(), "datatype": "FP32", "shape": [1], "data": [1]}]},
            400,
            "FP32 of the shape [1]",
        ),
        (
            {"inputs": [words("a")], "outputs": [{"name": "logits"}]},
            400,
            "no output 'logits'. The outputs are answer,",
        ),
        ({"inputs": [words()]}, 422, "no input"),
        ({"inputs": [words("a", "b", "c")]}, 422, "more than 2 inputs"),
        (
            {"inputs": [words("a", "bad")]},
            422,
            "Input 1: It is no photo: it begins with 'bad'. Send a photo.",
        ),
        ({"inputs": [words("boom")]}, 500, "The server made a mistake"),
        ({"inputs": [words("pieces")]}, 400, "answers in pieces"),
        ({"inputs": [words("x" * 2000)]}, 422, "has 2,000 bytes"),
    ],
)
def test_errors_are_text_and_name_what_is_wrong(request_: Any, status: int, said: str) -> None:
    response = infer(request_, max_inputs=2)
    assert said in error_of(response)
    assert response.status_code == status
    assert "secret" not in response.text


def test_numbers_need_two_dimensions_of_numbers() -> None:
    for tensor in (words("a"), {**words(), "datatype": "FP32", "shape": [1], "data": [1]}):
        response = infer({"inputs": [tensor]}, FakeServable(wire=NUMBERS))
        assert "the shape [-1, -1]" in error_of(response)
        assert response.status_code == 400


def test_a_huge_number_of_empty_rows_is_refused() -> None:
    tensor = {"name": "input", "datatype": "FP32", "shape": [2**60, 0], "data": []}
    assert infer({"inputs": [tensor]}, FakeServable(wire=NUMBERS)).status_code == 422


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v2/models/other", "There is no model 'other'. Models here: chess."),
        ("/v2/models/other/infer", "does not answer GET"),
        ("/v2/models/chess/versions/2", "There is no version '2' of 'chess'"),
        ("/v2/models/chess/versions/2/ready", "There is no version"),
        ("/v2/nothing", "There is nothing at '/v2/nothing'"),
    ],
)
def test_every_error_below_v2_looks_the_same(path: str, said: str) -> None:
    response = get(path)
    assert said in error_of(response)
    assert response.status_code == (405 if "GET" in said else 404)
    assert ("allow" in response.headers) == (response.status_code == 405)


@pytest.mark.parametrize(
    "headers",
    [{"content-encoding": "gzip"}, {"content-type": "text/xml"}, {"content-type": "multipart/form-data"}],
)
def test_other_encodings_and_types_are_refused(headers: dict[str, str]) -> None:
    response = with_client(FakeServable(), lambda one: one.post(INFER, content=b"{}", headers=headers))
    assert response.status_code == 415
    assert error_of(response)


def test_a_body_over_the_limit_is_refused() -> None:
    response = infer({"inputs": [words("x" * 500)]}, max_body_bytes=100)
    assert (response.status_code, "at most 100" in error_of(response)) == (413, True)


@dataclass
class Breaking(FakeServable):
    """Breaks its contract: the answer lacks what the schema promises."""

    def _answers(self, index: int, given: bytes) -> Iterator[Answer]:
        for answer in super()._answers(index, given):
            yield type(answer)(answer.index, {}, answer.problem)


def test_an_answer_that_breaks_its_schema_is_a_mistake_of_the_server() -> None:
    response = infer({"inputs": [words("a")]}, Breaking(wire=TEXT))
    assert (response.status_code, "made a mistake" in error_of(response)) == (500, True)


# --- any request at all -------------------------------------------------------------------------------

SHAPES = st.lists(st.integers(-1, 3) | st.just(2**70), max_size=3)
VALUES = st.text(max_size=4) | st.integers() | st.floats(allow_nan=True) | st.booleans() | st.none()
TENSORS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["input", "x"]),
        "datatype": st.sampled_from(["BYTES", "FP32", "INT8", "BOOL", "BF16"]),
        "shape": SHAPES,
    },
    optional={
        "data": st.lists(VALUES | st.lists(VALUES, max_size=3), max_size=3),
        "parameters": st.dictionaries(st.just("binary_data_size"), st.integers(-1, 40)),
    },
)
RIGHT = st.sampled_from(
    [words("YQ==", "YmI="), {**words(), "datatype": "FP32", "shape": [1, 2], "data": [[0.5, 2]]}]
)
REQUESTS = st.fixed_dictionaries(
    {"inputs": st.lists(RIGHT, min_size=1, max_size=1) | st.lists(TENSORS | RIGHT, max_size=2)},
    optional={
        "id": st.text(max_size=4) | st.none(),
        "outputs": st.lists(st.fixed_dictionaries({"name": st.sampled_from(["answer", "label", "x"])})),
        "parameters": st.dictionaries(st.just("binary_data_output"), st.booleans() | st.none()),
    },
)


BEHIND = st.just(b"") | st.binary(max_size=20)


@pytest.mark.parametrize("wire", [PICTURE, TEXT, NUMBERS])
def test_no_request_at_all_gets_a_500(wire: Wire) -> None:
    seen: set[int] = set()

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.tuples(REQUESTS, BEHIND, st.none() | st.integers(-3, 3)), max_size=8))
    def check(requests: list[tuple[Any, bytes, int | None]]) -> None:
        async def use(one: httpx.AsyncClient) -> list[httpx.Response]:
            found = []
            for request, rest, off in requests:
                head = json.dumps(request).encode()
                headers = {} if off is None else {HEADER: str(len(head) + off)}
                found.append(await one.post(INFER, content=head + rest, headers=headers))
            return found

        for response in with_client(FakeServable(wire=wire), use):
            assert response.status_code in (200, 400, 422), response.text
            seen.add(response.status_code)

    check()
    assert {200, 400} <= seen
