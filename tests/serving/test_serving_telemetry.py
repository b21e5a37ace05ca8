"""Requests as spans of OpenTelemetry's own SDK; skipped where it is not installed."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from fake_servable import FakeServable, client
from topwork.errors import UsageError
from topwork.serving.app import application
from topwork.serving.http.messages import Times
from topwork.serving.watching.metrics import Seen
from topwork.serving.watching.telemetry import Telemetry, telemetry

trace = pytest.importorskip("opentelemetry.sdk.trace")
export = pytest.importorskip("opentelemetry.sdk.trace.export")
memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def spans(*contents: bytes, **headers: str) -> dict[str, Any]:
    """Return the spans of requests by their names, and the request's own last."""
    exporter, provider = memory.InMemorySpanExporter(), trace.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))

    async def main() -> None:
        app = application(FakeServable(delay_s=0.02))
        app.spans = Telemetry(provider)
        async with app.running(), client(app) as one:
            await app.proven()
            for content in contents:
                await one.post("/predict", content=content, headers=headers)

    asyncio.run(main())
    return {one.name: one for one in exporter.get_finished_spans()}


def test_a_request_is_a_span_with_its_time_in_line_and_at_work_below_it() -> None:
    found = spans(b"xyz", traceparent=f"00-{TRACE}-{SPAN}-01", **{"x-request-id": "order-17"})
    assert set(found) == {"POST /predict", "queue", "compute"}
    request = found["POST /predict"]
    assert f"{request.context.trace_id:032x}" == TRACE
    assert f"{request.parent.span_id:016x}" == SPAN
    assert dict(request.attributes) == {
        "http.request.method": "POST",
        "http.route": "/predict",
        "http.response.status_code": 200,
        "topwork.request_id": "order-17",
        "topwork.model": "chess",
    }
    for part in (found["queue"], found["compute"]):
        assert part.parent.span_id == request.context.span_id
        assert request.start_time - 1_000_000 <= part.start_time <= part.end_time
    assert found["queue"].end_time == found["compute"].start_time
    assert found["compute"].end_time - found["compute"].start_time >= 20_000_000


def test_a_failed_request_is_an_error_and_begins_its_own_trace() -> None:
    request = spans(b"boom")["POST /predict"]
    assert request.parent is None
    assert request.status.status_code.name == "ERROR"
    assert request.attributes["error.type"] == "internal"


def test_a_bad_input_is_no_error_of_the_server() -> None:
    request = spans(b"bad one")["POST /predict"]
    assert request.status.status_code.name == "UNSET"
    assert request.attributes["http.response.status_code"] == 422


@contextmanager
def collector() -> Iterator[tuple[str, list[str]]]:
    """Listen like a collector; fill a list with the paths that were posted to."""
    posted: list[str] = []

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            posted.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Taking) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", posted
        finally:
            server.shutdown()
            thread.join(10)


def test_spans_reach_the_collector_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    with collector() as (url, posted):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        found = telemetry(os.environ)
        assert found is not None
        found.begin({}).end(Seen("GET", "/livez", "200"), Times())
        found.close()
    assert posted == ["/v1/traces"]


@pytest.mark.parametrize(("exporter", "protocol"), [("zipkin", "grpc"), ("otlp", "http/json")])
def test_what_is_not_known_here_is_refused(exporter: str, protocol: str) -> None:
    with pytest.raises(UsageError, match="expected otlp or console"):
        telemetry({"OTEL_TRACES_EXPORTER": exporter, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol})
