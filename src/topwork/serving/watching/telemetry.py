"""Traces for a collector of OpenTelemetry, where the environment asks for them by ``OTEL_…``; else nothing is imported.

The only module that imports opentelemetry. It knows no model: a request becomes a span, its time in line and at work
two more below it. Which collector, sampling and names the SDK reads from the environment itself.

Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from topwork import __version__
from topwork.errors import MissingExtraError, UsageError
from topwork.serving.watching.tracing import Trace, request_id_of

if TYPE_CHECKING:
    from topwork.serving.http.messages import Times
    from topwork.serving.watching.tracing import Ended

__all__ = ["RequestSpan", "Telemetry", "is_wanted", "telemetry"]

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_EXPORTER: Final = "OTEL_TRACES_EXPORTER"
_NS: Final = 1_000_000_000


def is_wanted(environment: Mapping[str, str]) -> bool:
    """Tell whether the environment names a collector or an exporter, and does not turn it off."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environment.get(_EXPORTER, "").strip().lower()
    return exporter not in ("", "none") or (not exporter and any(environment.get(one) for one in _ENDPOINTS))


def telemetry(environment: Mapping[str, str]) -> Telemetry | None:
    """Return what sends traces as the environment asks; None where it does not.

    Raises
    ------
    MissingExtraError
        OpenTelemetry is not installed.
    UsageError
        The exporter or the protocol is none that is known here.
    """
    if not is_wanted(environment):
        return None
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = _exporter(environment)
    except ImportError as error:
        raise MissingExtraError(
            f"The environment asks for OpenTelemetry, and a package is not installed: {error}.",
            next_step='Run: pip install "topwork[telemetry]", or set OTEL_SDK_DISABLED=true.',
        ) from error
    named = {"service.name": environment.get("OTEL_SERVICE_NAME", "topwork"), "service.version": __version__}
    provider = TracerProvider(resource=Resource.create(named))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Telemetry(provider)


def _exporter(environment: Mapping[str, str]) -> Any:
    kind = environment.get(_EXPORTER, "").strip().lower() or "otlp"
    protocol = next((environment[one] for one in _PROTOCOLS if environment.get(one)), "http/protobuf")
    if kind == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter()
    if kind != "otlp" or protocol not in ("http/protobuf", "grpc"):
        raise UsageError(
            f"The environment asks for traces by {kind!r} over {protocol!r}; expected otlp or console, and "
            "http/protobuf or grpc.",
            next_step=f"Set {_EXPORTER} to otlp, and {_PROTOCOLS[1]} to http/protobuf.",
        )
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as Exporter
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Exporter
    return Exporter()


class Telemetry:
    """Makes a span of each request; see `topwork.serving.watching.tracing.Spans`.

    Parameters
    ----------
    provider
        A ``TracerProvider`` of OpenTelemetry's SDK.
    clock_ns
        Nanoseconds since 1970.
    """

    def __init__(self, provider: Any, clock_ns: Callable[[], int] = time.time_ns) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider, self._clock_ns = provider, clock_ns
        self._tracer = provider.get_tracer("topwork", __version__)
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, headers: Mapping[str, str]) -> RequestSpan:
        """Begin a span, below that of the client where it sent one."""
        from opentelemetry.trace import SpanKind, get_current_span

        context = self._propagator.extract(dict(headers))
        parent = get_current_span(context).get_span_context()
        began_ns = self._clock_ns()
        span = self._tracer.start_span("HTTP", context=context, kind=SpanKind.SERVER, start_time=began_ns)
        own = span.get_span_context()
        trace = Trace(
            request_id_of(headers),
            f"{own.trace_id:032x}",
            f"{own.span_id:016x}",
            f"{parent.span_id:016x}" if parent.is_valid else None,
        )
        return RequestSpan(self._tracer, span, trace, self._clock_ns)

    def close(self) -> None:
        """Send what is still here."""
        self._provider.shutdown()


class RequestSpan:
    """The span of one request; see `topwork.serving.watching.tracing.Span`."""

    def __init__(self, tracer: Any, span: Any, trace: Trace, clock_ns: Callable[[], int]) -> None:
        self._tracer, self._span, self._clock_ns = tracer, span, clock_ns
        self.trace = trace

    def end(self, ended: Ended, times: Times) -> None:
        """End it, by the conventions for HTTP servers; a status of 500 or above is an error."""
        from opentelemetry.trace import Status, StatusCode

        now_ns = self._clock_ns()
        self._span.update_name(f"{ended.method} {ended.route}")
        self._span.set_attribute("http.request.method", ended.method)
        self._span.set_attribute("http.route", ended.route)
        self._span.set_attribute("topwork.request_id", self.trace.request_id)
        if times.model:
            self._span.set_attribute("topwork.model", times.model)
        if ended.status.isdigit():
            self._span.set_attribute("http.response.status_code", int(ended.status))
        if ended.refused:
            self._span.set_attribute("error.type", ended.refused)
        if ended.status >= "500":
            self._span.set_status(Status(StatusCode.ERROR))
        self._below(times, now_ns)
        self._span.end(end_time=now_ns)

    def _below(self, times: Times, now_ns: int) -> None:
        """Put the time in line and at work below it, ending when the work did."""
        if times.wait_s is None or times.entered_s is None:
            return
        entered_ns = now_ns - round((time.perf_counter() - times.entered_s) * _NS)
        self._part("queue", entered_ns - round(times.wait_s * _NS), entered_ns)
        if times.work_s is not None:
            self._part("compute", entered_ns, entered_ns + round(times.work_s * _NS))

    def _part(self, name: str, began_ns: int, ended_ns: int) -> None:
        from opentelemetry.trace import set_span_in_context

        context = set_span_in_context(self._span)
        self._tracer.start_span(name, context=context, start_time=began_ns).end(end_time=ended_ns)
