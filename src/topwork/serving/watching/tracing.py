"""What one request is called across programs: its id, and its place in a trace as W3C's Trace Context has it.

It knows no route and no model. A client may send ``x-request-id`` and ``traceparent``; what is sent and well-formed is
taken over, anything else is made up afresh, so that nothing a client writes can break a log.

Source: https://www.w3.org/TR/trace-context/.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from topwork.serving.http.messages import Times

__all__ = ["CURRENT", "REQUEST_ID", "Ended", "Span", "Spans", "Trace", "current", "request_id_of", "trace_of"]

REQUEST_ID: Final = "x-request-id"
CURRENT: ContextVar[Trace | None] = ContextVar("topwork-trace", default=None)
"""The trace of the request that is being answered, where one is."""

_ID: Final = re.compile(r"[A-Za-z0-9._:+/=@-]{1,128}", re.ASCII)
_PARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16


@dataclass(frozen=True, slots=True)
class Trace:
    """Names of one request.

    Attributes
    ----------
    request_id
        Stands in the response and in the log.
    trace_id, span_id
        32 and 16 hexadecimal digits: the trace, and this server's part in it.
    parent_id
        The client's part; None where the trace begins here.
    """

    request_id: str
    trace_id: str
    span_id: str
    parent_id: str | None = None


class Ended(Protocol):
    """What is known of a request at its end; `topwork.serving.watching.metrics.Seen` is one."""

    method: str
    route: str
    status: str
    refused: str
    seconds: float


class Span(Protocol):
    """One request under way, as a program that collects traces sees it."""

    @property
    def trace(self) -> Trace:
        """Its names."""
        ...

    def end(self, ended: Ended, times: Times) -> None:
        """Tell how it ended, and how long it stood in line and was at work."""
        ...


class Spans(Protocol):
    """Whoever collects traces."""

    def begin(self, headers: Mapping[str, str]) -> Span:
        """Begin a span for a request with these headers."""
        ...


def request_id_of(headers: Mapping[str, str]) -> str:
    """Return the id that a client gave its request, where it can be one, else a new one."""
    given = headers.get(REQUEST_ID, "")
    return given if _ID.fullmatch(given) else secrets.token_hex(16)


def trace_of(headers: Mapping[str, str], draw: Callable[[int], str] = secrets.token_hex) -> Trace:
    """Return the names of a request, in the trace that it came with where it came with one.

    Parameters
    ----------
    draw
        Gives so many random bytes in hexadecimal.
    """
    trace_id, parent_id = _parent(headers.get("traceparent", ""))
    return Trace(request_id_of(headers), trace_id or draw(16), draw(8), parent_id)


def _parent(text: str) -> tuple[str | None, str | None]:
    """Return the ids of a trace and of the part that asked; nothing of what is malformed, as is specified."""
    found = _PARENT.fullmatch(text.strip())
    if found is None:
        return None, None
    version, trace_id, parent_id, _, rest = found.groups()
    # Version ff is forbidden; later versions than 00 may have more fields, 00 may not.
    if version == "ff" or (version == "00" and rest) or trace_id == _NO_TRACE or parent_id == _NO_SPAN:
        return None, None
    return trace_id, parent_id


@contextmanager
def current(trace: Trace) -> Iterator[None]:
    """Let everything inside know which request it is for."""
    token = CURRENT.set(trace)
    try:
        yield
    finally:
        CURRENT.reset(token)
