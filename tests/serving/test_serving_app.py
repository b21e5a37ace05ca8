"""The application, driven in this process: routes, answers, errors, readiness, bounds."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from fake_servable import LABELS, PICTURE, TEXT, FakeServable, Gated, client, with_client
from topwork.contracts import Answer, Servable
from topwork.errors import ProofError, UsageError
from topwork.serving.app import Application, application
from topwork.serving.hosting import Hosted
from topwork.serving.http.messages import UNWATCHED_S, Body, cancelled_when_gone
from topwork.serving.http.refusals import STATUSES
from topwork.serving.limits import Limits

if TYPE_CHECKING:
    import httpx

RAW = "application/octet-stream"


def get(path: str, servable: FakeServable | None = None, method: str = "GET") -> httpx.Response:
    return with_client(servable or FakeServable(), lambda one: one.request(method, path))


def post(content: bytes, servable: FakeServable | None = None, content_type: str = RAW) -> httpx.Response:
    headers = {"content-type": content_type}
    return with_client(
        servable or FakeServable(), lambda one: one.post("/predict", content=content, headers=headers)
    )


def error_of(response: httpx.Response) -> dict[str, str]:
    error: dict[str, str] = response.json()["error"]
    assert set(error) == {"code", "message", "next_step"}
    assert STATUSES[error["code"]] == response.status_code
    assert error["message"]
    return error


def test_the_fake_is_a_servable() -> None:
    assert isinstance(FakeServable(), Servable)


# --- answers ------------------------------------------------------------------------------------------


def test_raw_bytes_get_one_prediction() -> None:
    servable = FakeServable()
    response = post(b"12345678", servable, content_type="image/jpeg")
    assert response.status_code == 200
    assert response.json()["model"] == "chess"
    assert response.json()["predictions"][0]["label"] == LABELS[8 % 6]
    assert servable.seen == [b"12345678"]


def test_a_form_with_several_files_gets_them_in_order_and_errors_between() -> None:
    files = [("file", ("a.jpg", b"1")), ("file", ("b.jpg", b"bad")), ("other", ("c.jpg", b"333"))]
    response = with_client(FakeServable(), lambda one: one.post("/predict", files=files))
    first, second, third = response.json()["predictions"]
    assert response.status_code == 200
    assert (first["n_bytes"], third["n_bytes"]) == (1, 3)
    assert set(second) == {"error"}
    assert second["error"].startswith("It is no photo")


def test_json_gets_the_same() -> None:
    inputs = [base64.b64encode(b"four").decode(), "no base64!", base64.b64encode(b"bad").decode()]
    response = with_client(FakeServable(), lambda one: one.post("/predict", json={"inputs": inputs}))
    good, *bad = response.json()["predictions"]
    assert good["n_bytes"] == 4
    assert ["error" in entry for entry in bad] == [True, True]


def test_text_travels_as_text() -> None:
    servable = FakeServable(wire=TEXT)
    response = with_client(servable, lambda one: one.post("/predict", json={"input": "Grüße"}))
    assert response.status_code == 200
    assert servable.seen == ["Grüße".encode()]


def test_a_model_that_can_tells_what_drove_its_answers() -> None:
    async def use(one: httpx.AsyncClient) -> list[httpx.Response]:
        body = {"inputs": ["two words", "bad one"]}
        return [await one.post(path, json=body) for path in ("/explain", "/v1/models/chess/explain")]

    for response in with_client(FakeServable(wire=TEXT), use):
        assert response.status_code == 200
        told = response.json()
        assert told["model"] == "chess"
        pieces = [{"text": "two", "heat": 0.5}, {"text": "words", "heat": 0.5}]
        assert told["explanations"] == [{"pieces": pieces}, {"error": "It is no text.\nSend a text."}]


def test_a_model_that_cannot_says_so() -> None:
    response = with_client(FakeServable(), lambda one: one.post("/explain", content=b"xx"))
    assert error_of(response)["code"] == "not_found"
    assert "explain" not in error_of(response)["next_step"]

    async def beside_one_that_can() -> list[httpx.Response]:
        app = Application(
            [Hosted(one, Limits()) for one in (FakeServable(), FakeServable("b", TEXT))], Limits()
        )
        async with app.running(), client(app) as one:
            await app.proven()
            paths = ("/explain", "/v1/models/chess/explain", "/v1/models/b/explain")
            return [await one.post(path, content=b"xx") for path in paths]

    first, pictures, texts = asyncio.run(beside_one_that_can())
    assert (first.status_code, texts.status_code) == (404, 200)
    assert "'chess' cannot say what drives its answers" in error_of(pictures)["message"]


def test_a_single_bad_input_is_422_with_its_next_step() -> None:
    error = error_of(post(b"bad"))
    assert error == {
        "code": "bad_input",
        "message": "It is no photo: it begins with 'bad'.",
        "next_step": "Send a photo.",
    }


@pytest.mark.parametrize("content", [b"boom", b"silent"])
def test_a_bug_of_the_model_is_500_and_tells_nothing(
    content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    response = post(content)
    assert error_of(response)["code"] == "internal"
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    assert "a request failed" in caplog.text


def test_pieces_are_streamed_even_to_who_did_not_ask() -> None:
    response = post(b"pieces")
    assert response.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert [(line["value"]["text"], line["last"]) for line in lines] == [
        ("a", False),
        ("b", False),
        ("c", True),
    ]


def test_who_asks_for_lines_gets_each_answer_as_a_line() -> None:
    files = [("f", (str(i), content)) for i, content in enumerate([b"1", b"bad", b"pieces"])]
    response = with_client(
        FakeServable(),
        lambda one: one.post("/predict", files=files, headers={"accept": "application/x-ndjson"}),
    )
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert [line["index"] for line in lines] == [0, 1, 2, 2, 2]
    assert "error" in lines[1]


def test_a_stream_that_breaks_says_so_on_its_last_line() -> None:
    files = [("f", ("a", b"pieces")), ("f", ("b", b"boom"))]
    response = with_client(FakeServable(), lambda one: one.post("/predict", files=files))
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert len(lines) == 4
    assert lines[-1]["error"]["code"] == "internal"
    assert "secret" not in response.text


class Broken(FakeServable):
    """Raises wherever it is asked, once it has been put behind a server."""

    @property
    def about(self) -> Any:
        return self._fail()

    def submit(self, inputs: Any) -> Any:
        return self._fail()

    def explain(self, inputs: Any) -> Any:
        return self._fail()

    def _fail(self) -> Any:
        raise RuntimeError("secret detail in /home/somebody")


def test_no_trace_of_a_broken_model_leaves_the_server_by_any_route(caplog: pytest.LogCaptureFixture) -> None:
    routes = application(Broken(wire=TEXT)).routes

    async def use(one: httpx.AsyncClient) -> list[httpx.Response]:
        filled = [route.path.replace("{name}", "chess").replace("{version}", "1") for route in routes]
        tensor = b'{"inputs": [{"name": "input", "datatype": "BYTES", "shape": [1], "data": ["xx"]}]}'
        return [
            await one.request(route.method, path, content=tensor if path.endswith("/infer") else b"xx")
            for route, path in zip(routes, filled, strict=True)
        ]

    statuses: list[int] = []
    for response in with_client(Broken(wire=TEXT), use):
        statuses.append(response.status_code)
        for word in ("secret", "Traceback", "RuntimeError", 'File "'):
            assert word not in response.text
    assert statuses.count(500) == 8
    assert "secret detail" in caplog.text, "the operator must be able to find it"


class Unsayable(FakeServable):
    """Answers what is no JSON."""

    def submit(self, inputs: Any) -> Any:
        yield Answer(0, {"text": "fine"}, last=False)
        yield Answer(0, {"number": float("nan")})


def test_an_answer_that_is_no_json_ends_a_stream_with_an_error() -> None:
    response = post(b"x", Unsayable())
    first, last = [json.loads(line) for line in response.text.splitlines()]
    assert first["value"] == {"text": "fine"}
    assert last["error"]["code"] == "internal"


class Slow(FakeServable):
    """Answers in pieces, each of which takes its time."""

    def submit(self, inputs: Any) -> Any:
        for _ in range(6):
            time.sleep(0.15)
            yield Answer(0, {"text": "a"}, last=False)
        yield Answer(0, {"text": "end"})


@pytest.mark.parametrize(("header", "is_whole"), [({}, True), ({"x-timeout-ms": "500"}, False)])
def test_a_deadline_of_the_server_holds_from_piece_to_piece_and_a_clients_for_all(
    header: dict[str, str], *, is_whole: bool
) -> None:
    async def use(one: httpx.AsyncClient) -> list[Any]:
        answered = await one.post("/predict", content=b"x", headers=header)
        return [json.loads(line) for line in answered.text.splitlines()]

    lines = with_client(Slow(), use, deadline_s=0.6)
    if is_whole:
        assert [one["value"]["text"] for one in lines] == ["a"] * 6 + ["end"]
    else:
        assert lines[0]["value"]["text"] == "a"
        assert lines[-1]["error"]["code"] == "deadline_exceeded"


# --- routes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Schach 1", "шахматы", "a/b?c#d", "100%", "é", "..x"])
def test_a_model_is_found_under_any_name(name: str) -> None:
    from urllib.parse import quote

    path = f"/v1/models/{quote(name, safe='')}"

    async def use(one: httpx.AsyncClient) -> tuple[httpx.Response, httpx.Response]:
        return await one.get(path), await one.post(path + "/predict", content=b"xx")

    about, answer = with_client(FakeServable(name=name), use)
    assert (about.json()["name"], answer.json()["model"]) == (name, name)


def test_a_name_is_found_however_its_accents_are_composed() -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    for name, path in ((composed, "cafe%CC%81"), (decomposed, "caf%C3%A9"), (decomposed, "cafe%CC%81")):
        assert get(f"/v1/models/{path}", FakeServable(name=name)).json()["name"] == name


def test_a_name_that_is_no_text_does_not_stop_the_server() -> None:
    assert get("/v1/models", FakeServable(name="a\udcff")).json()["models"][0]["name"] == "a?"


def test_about_says_how_to_send_and_what_comes_back() -> None:
    model = get("/v1/models/chess").json()
    assert (model["state"], model["input"]["noun"], model["input"]["in_json"]) == ("ready", "photo", "base64")
    assert model["about"]["n_train"] == 441
    assert model["answer_schema"]["type"] == "object"
    (listed,) = get("/v1/models").json()["models"]
    assert (listed["name"], listed["state"]) == ("chess", "ready")


def test_models_are_listed_for_clients_of_the_openai_api_as_well() -> None:
    found = get("/v1/models").json()
    assert found["object"] == "list"
    assert found["data"] == found["models"]
    (one,) = found["data"]
    assert {key: one[key] for key in ("id", "object", "owned_by")} == {
        "id": "chess",
        "object": "model",
        "owned_by": "topwork",
    }
    assert 0 <= time.time() - one["created"] < 3600
    assert get("/v1/models/chess").json()["id"] == "chess"


def test_an_unknown_path_lists_the_known_ones() -> None:
    error = error_of(get("/predictions"))
    assert error["code"] == "not_found"
    assert all(path in error["next_step"] for path in ("/predict", "/v1/models/{name}", "/docs"))
    assert "chess" in error_of(get("/v1/models/chss"))["next_step"]


@pytest.mark.parametrize(
    "path", ["/v1%2Fmodels", "/v1/models%2Fchess", "/v1/%7Bname%7D", "//v1/models", "/v1//models"]
)
def test_a_slash_within_a_segment_is_no_other_path(path: str) -> None:
    assert error_of(get(path))["code"] == "not_found"


def test_a_wrong_method_is_told_the_right_ones() -> None:
    response = get("/predict")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    response = get("/livez", method="DELETE")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")


def test_head_answers_like_get_without_a_body() -> None:
    paths = [route.path for route in application(FakeServable()).routes if route.method == "GET"]
    visited = 0
    for path in paths:
        path = path.replace("{name}", "chess").replace("{version}", "1")
        head, full = get(path, method="HEAD"), get(path)
        assert (head.status_code, head.content) == (200, b"")
        # What the metrics say is not twice the same.
        assert path == "/metrics" or head.headers["content-length"] == str(len(full.content))
        visited += 1
    assert visited == 17


def test_every_response_forbids_sniffing_and_no_origin_is_let_in() -> None:
    async def use(one: httpx.AsyncClient) -> list[httpx.Response]:
        paths = ("/", "/docs", "/livez", "/nothing")
        return [await one.get(path, headers={"origin": "http://evil"}) for path in paths]

    for response in with_client(FakeServable(), use):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert not [name for name in response.headers if name.startswith("access-control")]


def test_pages_run_nothing_but_themselves() -> None:
    for path in ("/", "/docs"):
        response = get(path)
        policy = response.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert policy.count("'sha256-") == 2
        assert "frame-ancestors 'none'" in policy
        assert response.headers["x-frame-options"] == "DENY"
        assert response.headers["cross-origin-opener-policy"] == "same-origin"
        assert response.headers["cross-origin-resource-policy"] == "same-origin"
        assert "camera=()" in response.headers["permissions-policy"]
        assert "unsafe" not in policy
        assert "http://" not in response.text.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in response.text


# --- readiness ----------------------------------------------------------------------------------------


def test_nothing_is_answered_before_the_proof() -> None:
    proving = threading.Event()

    async def main() -> None:
        app = application(FakeServable(proof=lambda: assert_set(proving)))
        async with app.running(), client(app) as one:
            for response in (await one.get("/readyz"), await one.post("/predict", content=b"x")):
                assert error_of(response)["code"] == "not_ready"
                assert response.headers["retry-after"] == "1"
            assert (await one.get("/livez")).status_code == 200
            assert (await one.get("/v1/models")).json()["models"][0]["state"] == "starting"
            proving.set()
            await app.proven()
            assert (await one.get("/readyz")).json() == {"status": "ready"}
            assert (await one.post("/predict", content=b"x")).status_code == 200

    asyncio.run(main())


def assert_set(event: threading.Event) -> None:
    assert event.wait(20)


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (ProofError("Output 3 differs by 0.2."), "Output 3 differs"),
        (ValueError("secret"), "unexpected error"),
    ],
)
def test_a_failed_proof_stays_unready_with_its_reason(failure: Exception, told: str) -> None:
    def proof() -> None:
        raise failure

    async def main() -> None:
        app = application(FakeServable(proof=proof))
        async with app.running(), client(app) as one:
            with pytest.raises(type(failure)):
                await app.proven()
            response = await one.get("/readyz")
            assert told in error_of(response)["message"]
            assert "retry-after" not in response.headers
            assert "secret" not in response.text
            assert (await one.post("/predict", content=b"x")).status_code == 503

    asyncio.run(main())


def test_two_models_need_two_names() -> None:
    limits = Limits()
    with pytest.raises(UsageError, match="2 models with 1"):
        Application([Hosted(FakeServable(), limits), Hosted(FakeServable(), limits)], limits)
    with pytest.raises(UsageError):
        Application([], limits)


def test_several_models_stand_side_by_side() -> None:
    async def main() -> None:
        limits = Limits()
        app = Application([Hosted(FakeServable(name=n), limits) for n in ("a", "b")], limits)
        async with app.running(), client(app) as one:
            await app.proven()
            for path, name in (("/predict", "a"), ("/v1/models/b/predict", "b")):
                assert (await one.post(path, content=b"x")).json()["model"] == name

    asyncio.run(main())


# --- bounds -------------------------------------------------------------------------------------------


def test_a_body_over_the_limit_is_413_declared_or_not() -> None:
    async def chunks() -> Any:
        for _ in range(40):
            yield b"x" * 1000

    async def use(one: httpx.AsyncClient) -> list[httpx.Response]:
        return [await one.post("/predict", content=content) for content in (b"x" * 40_000, chunks())]

    servable = FakeServable()
    for response in with_client(servable, use, max_body_bytes=20_000):
        assert error_of(response)["code"] == "too_large"
    assert not servable.seen


def test_all_bodies_together_are_bounded_and_given_back() -> None:
    async def use(one: httpx.AsyncClient) -> list[int]:
        return [
            (await one.post("/predict", content=b"x" * n)).status_code for n in (6000, 4000, 4000, 6000, 4000)
        ]

    assert with_client(FakeServable(), use, max_buffered_bytes=5000) == [429, 200, 200, 429, 200]


def test_a_full_server_says_429_and_recovers() -> None:
    servable = Gated()

    async def use(one: httpx.AsyncClient) -> list[int]:
        first = [asyncio.create_task(one.post("/predict", content=b"x")) for _ in range(3)]
        await asyncio.to_thread(servable.entered.acquire)
        while True:
            refused = await one.post("/predict", content=b"x")
            if refused.status_code == 429:
                break
        assert error_of(refused)["code"] == "busy"
        assert int(refused.headers["retry-after"]) >= 1
        assert (await one.get("/livez")).status_code == 200
        servable.opened.set()
        return [(await task).status_code for task in first] + [
            (await one.post("/predict", content=b"x")).status_code
        ]

    # Two wait beside the one that works; what is refused above never reaches the model.
    statuses = with_client(servable, use, max_concurrent=1, max_waiting=2)
    assert statuses == [200] * 4


def test_work_past_its_deadline_is_told_and_its_place_is_kept_until_the_thread_is_free() -> None:
    servable = Gated()

    async def use(one: httpx.AsyncClient) -> None:
        late = await one.post("/predict", content=b"x")
        assert error_of(late)["code"] == "deadline_exceeded"
        in_line = await one.post("/predict", content=b"never computed")
        assert "still in line" in error_of(in_line)["message"]
        servable.opened.set()
        for _ in range(100):
            if (await one.post("/predict", content=b"x")).status_code == 200:
                break
        assert b"never computed" not in servable.seen

    with_client(servable, use, max_concurrent=1, max_waiting=1, deadline_s=0.2)


TIMEOUT = "x-timeout-ms"


def test_a_client_may_ask_for_an_answer_sooner() -> None:
    servable = Gated()

    async def dribble() -> Any:
        yield b"x"
        await asyncio.sleep(20)

    async def use(one: httpx.AsyncClient) -> None:
        began = time.monotonic()
        at_work = await one.post("/predict", content=b"x", headers={TIMEOUT: "100"})
        assert "still at work" in error_of(at_work)["message"]
        in_line = await one.post("/predict", content=b"never computed", headers={TIMEOUT: "100"})
        assert "still in line" in error_of(in_line)["message"]
        assert int(in_line.headers["retry-after"]) >= 1
        on_its_way = await one.post("/predict", content=dribble(), headers={TIMEOUT: "100"})
        assert "still on its way" in error_of(on_its_way)["message"]
        assert {one.status_code for one in (at_work, in_line, on_its_way)} == {503}
        assert time.monotonic() - began < 15, "the server's own deadline is 30 s"
        servable.opened.set()
        patient = await one.post("/predict", content=b"xy", headers={TIMEOUT: "60000"})
        assert patient.status_code == 200
        assert b"never computed" not in servable.seen

    with_client(servable, use, max_concurrent=1, max_waiting=2)


def test_a_client_cannot_ask_for_more_than_the_server_gives() -> None:
    servable = Gated()

    async def use(one: httpx.AsyncClient) -> None:
        late = await one.post("/predict", content=b"x", headers={TIMEOUT: "600000"})
        assert error_of(late)["code"] == "deadline_exceeded"
        servable.opened.set()

    with_client(servable, use, max_concurrent=1, deadline_s=0.2)


@pytest.mark.parametrize("said", ["", "0", "000", "-5", "1.5", "1e3", "soon", "1" * 11, "١٢"])
def test_a_time_that_is_none_is_told(said: str) -> None:
    headers = {TIMEOUT.encode(): said.encode()}
    response = with_client(FakeServable(), lambda one: one.post("/predict", content=b"x", headers=headers))
    assert response.status_code == 400
    assert TIMEOUT in error_of(response)["message"]


def test_a_body_that_does_not_come_is_408() -> None:
    async def dribble() -> Any:
        yield b"x"
        await asyncio.sleep(20)

    response = with_client(
        FakeServable(), lambda one: one.post("/predict", content=dribble()), body_timeout_s=0.1
    )
    assert error_of(response)["code"] == "body_timeout"


def test_fifty_clients_get_each_its_own_answer() -> None:
    async def use(one: httpx.AsyncClient) -> list[int]:
        sizes = range(1, 51)
        answers = await asyncio.gather(*(one.post("/predict", content=b"x" * n) for n in sizes))
        return [answer.json()["predictions"][0]["n_bytes"] for answer in answers]

    assert with_client(FakeServable(delay_s=0.002), use) == list(range(1, 51))


def test_a_client_that_left_costs_no_more_work() -> None:
    servable = Gated(name="left")

    async def main() -> None:
        app = application(servable, Limits(max_concurrent=1))
        async with app.running():
            await app.proven()
            hosted = next(iter(app.models.values()))
            gone = asyncio.Event()
            sent: list[str] = []

            async def receive() -> dict[str, Any]:
                if not sent:
                    sent.append("body")
                    body = b'{"inputs": ["aGk=", "aGk=", "aGk="]}'
                    return {"type": "http.request", "body": body, "more_body": False}
                await gone.wait()
                return {"type": "http.disconnect"}

            async def send(message: Any) -> None:
                raise AssertionError("nobody is there to read this")

            scope = {
                "type": "http",
                "method": "POST",
                "path": "/predict",
                "raw_path": b"/predict",
                "headers": [(b"content-type", b"application/json"), (b"content-length", b"36")],
            }
            exchange = asyncio.create_task(app(scope, receive, send))
            await asyncio.to_thread(servable.entered.acquire)
            gone.set()
            await exchange
            assert hosted.gate.n_inside == 1, "the thread is still busy"
            servable.opened.set()
            async with asyncio.timeout(5):
                while hosted.gate.n_inside:
                    await asyncio.sleep(0.01)
            assert len(servable.seen) == 1, "two inputs were computed for nobody"

    asyncio.run(main())


def test_whether_a_client_has_gone_is_looked_for_only_where_an_answer_takes_its_time() -> None:
    async def main() -> None:
        looked: list[None] = []

        async def receive() -> Any:
            looked.append(None)
            await asyncio.sleep(20)

        body = Body(receive, declared=0, expected=False)
        with cancelled_when_gone(body):
            await asyncio.sleep(0)
        await asyncio.sleep(4 * UNWATCHED_S)
        assert not looked
        with cancelled_when_gone(body):
            async with asyncio.timeout(20):
                while not looked:
                    await asyncio.sleep(UNWATCHED_S)

    asyncio.run(main())


def test_a_client_that_left_the_line_is_not_worked_for() -> None:
    servable = Gated()

    async def main() -> None:
        app = application(servable, Limits(max_concurrent=1))
        async with app.running(), client(app) as one:
            await app.proven()
            hosted = next(iter(app.models.values()))
            first = asyncio.create_task(one.post("/predict", content=b"first"))
            await asyncio.to_thread(servable.entered.acquire)
            gone, messages = asyncio.Event(), [{"type": "http.request", "body": b"left the line"}]

            async def receive() -> Any:
                if messages:
                    return messages.pop()
                await gone.wait()
                return {"type": "http.disconnect"}

            async def send(message: Any) -> None:
                raise AssertionError("nobody is there to read this")

            headers = [(b"content-length", b"13")]
            scope = {"type": "http", "method": "POST", "path": "/predict", "headers": headers}
            in_line = asyncio.create_task(app(scope, receive, send))
            async with asyncio.timeout(10):
                while not hosted.gate.n_waiting:
                    await asyncio.sleep(0.01)
            gone.set()
            await in_line
            assert hosted.gate.n_waiting == 0
            servable.opened.set()
            assert (await first).status_code == 200
            assert servable.seen == [b"first"]

    asyncio.run(main())


# --- 300 requests that nobody should send --------------------------------------------------------------

TYPES = [
    "",
    "application/json",
    "multipart/form-data; boundary=q",
    "multipart/form-data",
    "image/png",
    "a/b",
    "\x7f;;=",
    "x",
]
PIECES = [
    b"{",
    b'"input"',
    b'"inputs"',
    b":",
    b"[",
    b'"aGk="',
    b"]",
    b"}",
    b"--q",
    b"\r\n",
    b"--",
    b"\x00\xff",
    b"bad",
    b"1e999",
    b'"\\ud800"',
]


def strange_request(rng: random.Random) -> dict[str, Any]:
    segments = [
        "predict",
        "v1",
        "models",
        "chess",
        "%00",
        "%FF",
        "..",
        "",
        "é",
        "docs",
        "%2F",
        "livez",
        "readyz",
    ]
    path = rng.choice(
        ["/predict", "/v1/models/chess/predict", "/" + "/".join(rng.choices(segments, k=rng.randrange(5)))]
    )
    body = b"".join(rng.choices(PIECES, k=rng.randrange(12)))
    headers = [
        (b"content-type", rng.choice(TYPES).encode()),
        (b"Accept", rng.choice([b"*/*", b"application/x-ndjson", b"\xff"])),
    ]
    if rng.random() < 0.8:
        headers.append(
            (b"content-length", rng.choice([str(len(body)).encode(), b"0", b"-1", b"9" * 30, b"abc"]))
        )
    return {
        "method": rng.choice(["GET", "POST", "PUT", "HEAD", "OPTIONS", "BREW", ""])
        if rng.random() < 0.4
        else "POST",
        "path": path,
        "raw_path": path.encode(),
        "headers": headers,
        "body": body,
    }


async def exchange(app: Application, request: dict[str, Any]) -> tuple[int, bytes]:
    messages = [{"type": "http.request", "body": request["body"], "more_body": False}]
    over, sent = asyncio.Event(), []

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await over.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "http", **request}, receive, send)
    over.set()
    return sent[0]["status"], b"".join(m.get("body", b"") for m in sent[1:])


def test_300_strange_requests_never_make_a_mistake_of_ours() -> None:
    rng, seen = random.Random(5), dict[int, int]()

    async def main() -> None:
        app = application(FakeServable(), Limits(body_timeout_s=0.5, deadline_s=5))
        async with app.running():
            await app.proven()
            for _ in range(300):
                request = strange_request(rng)
                status, body = await exchange(app, request)
                assert status < 500, (status, request, body)
                if status >= 400 and request["method"] != "HEAD":
                    assert json.loads(body)["error"]["message"]
                seen[status] = seen.get(status, 0) + 1

    began = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - began < 60
    assert sum(seen.values()) == 300
    assert set(seen) >= {200, 400, 404, 405, 415, 422}, seen


def test_the_wire_decides_what_is_taken() -> None:
    response = post(b"text", FakeServable(wire=PICTURE), content_type="text/plain")
    assert response.status_code == 415
    assert post(b"text", FakeServable(wire=TEXT), content_type="text/plain").status_code == 200
