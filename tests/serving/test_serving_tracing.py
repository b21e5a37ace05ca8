"""Requests keep their names across programs: ids, W3C trace context, the log as JSON, spans."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from doors import keyed_door, made
from fake_batches import FakeBatches
from fake_servable import FakeServable, client, with_client
from topwork.errors import MissingExtraError, UsageError
from topwork.serving.app import application
from topwork.serving.http.messages import Times
from topwork.serving.watching.logs import written
from topwork.serving.watching.telemetry import is_wanted, telemetry
from topwork.serving.watching.tracing import Ended, Trace, trace_of
from topwork.serving.wrapping.hooks import Hooked, HookedBatches, Hooks

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


def drawn(n: int) -> str:
    return "ab" * n


# --- names ------------------------------------------------------------------------------------------------


def test_a_trace_is_continued_under_a_new_part() -> None:
    found = trace_of({"traceparent": PARENT, "x-request-id": "order-17"}, drawn)
    assert found == Trace("order-17", TRACE, "ab" * 8, SPAN)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}",
    ],
)
def test_what_is_no_traceparent_begins_a_trace(text: str) -> None:
    found = trace_of({"traceparent": text}, drawn)
    assert (found.trace_id, found.parent_id) == ("ab" * 16, None)


def test_a_later_version_may_have_more_fields() -> None:
    assert trace_of({"traceparent": f"01-{TRACE}-{SPAN}-01-more"}).trace_id == TRACE


@pytest.mark.parametrize("given", ["", "a b", "ä", "x" * 129, 'a"b', "a\nb"])
def test_an_id_that_could_break_a_log_is_replaced(given: str) -> None:
    found = trace_of({"x-request-id": given}).request_id
    assert len(found) == 32
    assert found != trace_of({"x-request-id": given}).request_id


def test_every_response_has_the_id_of_its_request() -> None:
    async def use(one: httpx.AsyncClient) -> list[httpx.Response]:
        own = {"x-request-id": "order-17"}
        return [
            await one.post("/predict", content=b"xyz", headers=own),
            await one.get("/nowhere", headers=own),
            await one.get("/v2", headers=own),
            await one.get("/livez"),
        ]

    *given, fresh = with_client(FakeServable(), use)
    assert [one.headers["x-request-id"] for one in given] == ["order-17"] * 3
    assert len(fresh.headers["x-request-id"]) == 32


# --- the log ----------------------------------------------------------------------------------------------


@contextmanager
def logged(form: str = "json") -> Iterator[list[dict[str, Any]]]:
    """Fill a list with the lines that are logged inside, once it is left."""
    stream, lines = io.StringIO(), list[dict[str, Any]]()
    with written(form, stream):
        yield lines
    lines += [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_request_is_one_line_with_its_names_and_times() -> None:
    async def use(one: httpx.AsyncClient) -> None:
        headers = {"x-request-id": "order-17", "traceparent": PARENT}
        await one.post("/predict", content=b"very secret payload", headers=headers)
        await one.get("/livez")
        await one.get("/v1/models/nobody")

    with logged() as lines:
        with_client(FakeServable(), use)
    asked, refused = lines
    assert asked["time"].endswith("Z")
    named = {name: asked[name] for name in ("request_id", "trace_id", "parent_id")}
    assert named == {"request_id": "order-17", "trace_id": TRACE, "parent_id": SPAN}
    assert (asked["level"], asked["method"], asked["route"]) == ("info", "POST", "/predict")
    assert (asked["status"], asked["model"], asked["message"]) == (200, "chess", "POST /predict 200")
    assert 0 <= asked["wait_ms"] <= asked["duration_ms"]
    assert 0 <= asked["work_ms"] <= asked["duration_ms"]
    assert (refused["status"], refused["code"]) == (404, "not_found")
    assert "secret" not in json.dumps(lines)


def test_an_error_is_a_line_that_names_its_request() -> None:
    async def use(one: httpx.AsyncClient) -> None:
        await one.post("/predict", content=b"boom", headers={"x-request-id": "order-18"})

    with logged() as lines:
        with_client(FakeServable(), use)
    error, asked = lines
    assert (error["level"], error["request_id"], asked["request_id"]) == ("error", "order-18", "order-18")
    assert "ValueError" in error["traceback"]
    assert (asked["status"], asked["code"]) == (500, "internal")


def opened_gate() -> threading.Event:
    gate = threading.Event()
    gate.set()
    return gate


def broken(*_: object) -> Any:
    raise ValueError("own code is no good")


@pytest.mark.parametrize("hooks", [Hooks("own", before=broken), Hooks("own", after=broken)])
@pytest.mark.parametrize("takes_batches", [False, True])
def test_what_a_thread_of_the_model_logs_names_the_request(hooks: Hooks, *, takes_batches: bool) -> None:
    model = FakeBatches(gate=opened_gate()) if takes_batches else FakeServable()
    servable = (HookedBatches if takes_batches else Hooked)(model, hooks)

    async def use(one: httpx.AsyncClient) -> None:
        asked = (
            one.post("/predict", json={"inputs": ["eA==", "eXk="]}, headers={"x-request-id": f"order-{n}"})
            for n in range(8)
        )
        assert {response.status_code for response in await asyncio.gather(*asked)} == {200}

    with logged() as lines:
        with_client(servable, use)
    told = [line for line in lines if "own failed" in line["message"]]
    assert sorted(line["request_id"] for line in told) == sorted(2 * [f"order-{n}" for n in range(8)])


def test_an_input_that_fails_among_others_names_the_request() -> None:
    async def use(one: httpx.AsyncClient) -> None:
        body = {"inputs": ["eA==", base64.b64encode(b"trap").decode()]}
        await one.post("/predict", json=body, headers={"x-request-id": "order-19"})

    with logged() as lines:
        with_client(FakeBatches(gate=opened_gate()), use)
    failed, asked = lines
    assert failed["message"] == "one of several inputs failed"
    assert (failed["request_id"], asked["request_id"]) == ("order-19", "order-19")


def test_no_key_and_no_query_is_ever_written(tmp_path: Any) -> None:
    key = made(tmp_path / "keys.json", "phone")

    async def main() -> None:
        app = application(FakeServable(), door=keyed_door(tmp_path / "keys.json"))
        async with app.running(), client(app) as one:
            await app.proven()
            for sent in (key, "topwork_wrong"):
                await one.post("/predict?token=secret", content=b"xyz", headers={"x-api-key": sent})
                await one.post("/predict", content=b"xyz", headers={"authorization": f"Bearer {sent}"})

    with logged() as lines:
        asyncio.run(main())
    assert [one["status"] for one in lines if "status" in one] == [200, 200, 401, 401]
    text = json.dumps(lines)
    assert "secret" not in text
    assert key not in text
    assert "topwork_wrong" not in text


def test_as_text_nothing_is_set_up_and_afterwards_all_is_as_it_was() -> None:
    logger = logging.getLogger("topwork")
    before = (logger.level, logger.propagate, list(logger.handlers))
    with logged("text") as lines:
        assert (logger.level, logger.propagate, list(logger.handlers)) == before
        with_client(FakeServable(), lambda one: one.get("/v1/models"))
    with logged() as others:
        pass
    assert lines == others == []
    assert (logger.level, logger.propagate, list(logger.handlers)) == before


# --- spans ------------------------------------------------------------------------------------------------


class Collected:
    """Spans that a test reads: whoever collects traces, without OpenTelemetry."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, str, float | None, float | None]] = []
        self.trace = Trace("an-id", TRACE, SPAN)

    def begin(self, headers: Mapping[str, str]) -> Collected:
        return self

    def end(self, ended: Ended, times: Times) -> None:
        self.ended.append((ended.route, ended.status, times.wait_s, times.work_s))


def test_spans_are_told_of_the_time_in_line_and_at_work() -> None:
    collected = Collected()

    async def main() -> httpx.Response:
        app = application(FakeServable(delay_s=0.02))
        app.spans = collected
        async with app.running(), client(app) as one:
            await app.proven()
            return await one.post("/predict", content=b"xyz")

    assert asyncio.run(main()).headers["x-request-id"] == "an-id"
    ((route, status, wait_s, work_s),) = collected.ended
    assert (route, status) == ("/predict", "200")
    assert wait_s is not None
    assert work_s is not None
    assert 0 <= wait_s < 1
    assert 0.02 <= work_s < 5


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "True"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_SERVICE_NAME": "mine"}, False),
    ],
)
def test_traces_are_sent_only_where_the_environment_asks(environment: dict[str, str], expected: bool) -> None:
    assert is_wanted(environment) is expected
    if not expected:
        assert telemetry(environment) is None


def test_without_the_package_the_error_says_what_to_install() -> None:
    try:
        import opentelemetry.sdk  # noqa: F401
    except ImportError:
        with pytest.raises(MissingExtraError, match="OpenTelemetry") as raised:
            telemetry({"OTEL_TRACES_EXPORTER": "console"})
        assert "topwork[telemetry]" in str(raised.value)
    else:
        with pytest.raises(UsageError, match="'zipkin'"):
            telemetry({"OTEL_TRACES_EXPORTER": "zipkin"})
