"""The log of a server as JSON, a line for each event, and a line for each request that has ended.

It knows no model. A line names its request by the ids of `tracing`; of the request itself it holds method, route,
status and times. Nothing of a body, of a header or of a key is ever written by this module; the traceback of an
unexpected error is, and its text is that of the code that failed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TextIO

from topwork.serving.watching.tracing import CURRENT

if TYPE_CHECKING:
    from topwork.serving.http.messages import Times
    from topwork.serving.watching.tracing import Ended, Trace

__all__ = ["FIELDS", "FORMATS", "JsonLines", "led_to", "note_end", "written"]

FORMATS: Final = ("text", "json")
ACCESS: Final = logging.getLogger("topwork.access")
FIELDS: Final = "topwork_fields"
"""Attribute of a record that holds further fields of its line."""
_LEVELS: Final = {"topwork": logging.INFO, "uvicorn": logging.WARNING}
_QUIET: Final = frozenset(
    {
        "/livez",
        "/readyz",
        "/ping",
        "/metrics",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/{name}/ready",
    }
)
"""What probes and collectors ask all day long; it is written down where it fails."""


class JsonLines(logging.Formatter):
    """Writes a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        said: dict[str, Any] = {
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_named(CURRENT.get()),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        elif record.exc_text:  # as another process told it
            said["traceback"] = record.exc_text
        return json.dumps(said, ensure_ascii=True)


def _named(trace: Trace | None) -> dict[str, str]:
    if trace is None:
        return {}
    named = {"request_id": trace.request_id, "trace_id": trace.trace_id, "span_id": trace.span_id}
    return named if trace.parent_id is None else {**named, "parent_id": trace.parent_id}


def note_end(ended: Ended, times: Times) -> None:
    """Write a line for a request that has ended, where such lines are wanted."""
    if not ACCESS.isEnabledFor(logging.INFO) or (ended.route in _QUIET and ended.status < "400"):
        return
    fields = {
        "method": ended.method,
        "route": ended.route,
        "status": int(ended.status) if ended.status.isdigit() else ended.status,
        "duration_ms": _ms(ended.seconds),
        **({"code": ended.refused} if ended.refused else {}),
        **({"model": times.model} if times.model else {}),
        **({} if times.wait_s is None else {"wait_ms": _ms(times.wait_s)}),
        **({} if times.work_s is None else {"work_ms": _ms(times.work_s)}),
    }
    ACCESS.info("%s %s %s", ended.method, ended.route, ended.status, extra={FIELDS: fields})


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 3)


@contextmanager
def written(form: str, stream: TextIO) -> Iterator[None]:
    """Write what topwork and its HTTP server log inside as JSON to a stream; as ``text`` leave the process as it is."""
    if form != "json":
        yield
        return
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    with ExitStack() as kept:
        for name, level in _LEVELS.items():
            kept.enter_context(led_to(handler, logging.getLogger(name), level))
        yield


@contextmanager
def led_to(handler: logging.Handler, logger: logging.Logger, level: int) -> Iterator[None]:
    """Have a handler alone write what a logger is told inside, from a level on."""
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]
