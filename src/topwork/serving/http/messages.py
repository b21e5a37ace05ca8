"""One request in, one response out, over ASGI; the body is read within bounds.

It knows no route and no servable. A response is a value; `send` is the only function that writes.
"""

from __future__ import annotations

import asyncio
import json
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote, unquote

from topwork.serving.http.refusals import ClientGone, Refusal
from topwork.serving.http.visits import Visit

if TYPE_CHECKING:
    from topwork.contracts import Json

__all__ = [
    "SURPLUS",
    "UNWATCHED_S",
    "Body",
    "Message",
    "Receive",
    "Request",
    "Response",
    "Scope",
    "Send",
    "Times",
    "cancelled_when_gone",
    "dumps",
    "json_response",
    "read_request",
    "send",
]

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

LINGER_S = 2.0
LINGER_BYTES = 64 * 2**20
STALL_S = 30.0
"""How long a client may leave a piece of a stream unread."""

UNWATCHED_S = 0.005
"""From the end of a body, until it is looked whether its client has gone."""

NO_CONTENT = 204
"""A response that says nothing may not say how much that is: RFC 9110, section 8.6."""

SURPLUS = "topwork.surplus"
"""In the ASGI state of a connection over a limit: over which, in a sentence."""

SAFE_HEADERS = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))


class Body:
    """The body of one request, which may be read once, in part, or not at all.

    Parameters
    ----------
    receive
        The ASGI channel.
    declared
        Bytes by ``content-length``; None where the client did not say.
    expected
        False where the headers rule out a body.
    """

    def __init__(self, receive: Receive, *, declared: int | None, expected: bool) -> None:
        self._receive = receive
        self.declared = declared
        self.finished = not expected

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield what arrives until the end of the body.

        Raises
        ------
        ClientGone
            The connection was closed before the end.
        """
        while not self.finished:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.finished = True
                raise ClientGone
            self.finished = not message.get("more_body", False)
            if chunk := message.get("body", b""):
                yield chunk

    async def read(self, max_bytes: int, *, timeout_s: float, reserve: Callable[[int], None]) -> bytes:
        """Return the whole body; ``reserve`` is told of every chunk before it is kept.

        Raises
        ------
        Refusal
            It is larger than ``max_bytes``, or did not arrive within ``timeout_s``.
        """
        if self.declared is not None and self.declared > max_bytes:
            raise too_large(f"{self.declared:,} bytes", max_bytes)
        parts, size = [], 0
        try:
            async with asyncio.timeout(timeout_s):
                async for chunk in self.chunks():
                    size += len(chunk)
                    if size > max_bytes:
                        raise too_large(f"more than {max_bytes:,} bytes", max_bytes)
                    reserve(len(chunk))
                    parts.append(chunk)
        except TimeoutError:
            raise Refusal(
                "body_timeout",
                f"The request body did not arrive within {timeout_s:g} s.",
                next_step="Send a smaller input, or use a faster connection.",
            ) from None
        return b"".join(parts)

    async def discard(self, *, timeout_s: float = LINGER_S, max_bytes: int = LINGER_BYTES) -> None:
        """Throw away a little of what still arrives.

        A socket that is closed with unread bytes in it resets the connection, and the client may never
        see the error that it was sent.
        """
        with suppress(TimeoutError, ClientGone):
            async with asyncio.timeout(timeout_s):
                async for chunk in self.chunks():
                    max_bytes -= len(chunk)
                    if max_bytes < 0:
                        return

    async def gone(self) -> None:
        """Return when the client has closed the connection; call it after the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


@dataclass(slots=True)
class Times:
    """How long a request stood in line and was at work, as far as it got; noted by who answers it.

    Attributes
    ----------
    model
        Who was asked; empty where no model was.
    wait_s, work_s
        Seconds in line, and of the thread that worked.
    entered_s
        Reading of ``time.perf_counter`` when it left the line.
    """

    model: str = ""
    wait_s: float | None = None
    work_s: float | None = None
    entered_s: float | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes
    ----------
    segments
        The path, split at its slashes and then decoded, so that a name may hold an encoded slash.
    headers
        By lower-case name; of a repeated header the first.
    client
        Address that the connection comes from; empty where it has none.
    surplus
        Why its connection is one too many, in a sentence; empty where it is none. It is closed after the answer.
    owner
        Prefix of the key that it was let in with; empty where it has none.
    is_admin
        Whether that key is good for an operator's calls.
    query
        What stands behind the question mark of its address, as it came.
    cleanup
        Is closed when the exchange is over, whatever its end.
    times
        What is noted of it on the way.
    visit
        What is noted of it on its way.
    """

    method: str
    segments: tuple[str, ...]
    headers: Mapping[str, str]
    body: Body
    client: str = ""
    surplus: str = ""
    owner: str = ""
    is_admin: bool = False
    query: str = ""
    cleanup: ExitStack = field(default_factory=ExitStack)
    times: Times = field(default_factory=Times)
    visit: Visit = field(default_factory=Visit)

    @property
    def path(self) -> str:
        """The path as a person reads it."""
        return "/" + "/".join(self.segments)


@dataclass(frozen=True, slots=True)
class Response:
    """What is sent back; ``body`` is the bytes, or pieces of them as they come."""

    status: int
    media_type: str
    body: bytes | AsyncIterator[bytes]
    headers: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def cancelled_when_gone(body: Body) -> Iterator[None]:
    """Stop what the current task does inside as soon as the client closes the connection.

    It is looked for after `UNWATCHED_S`: most answers are there sooner, and a look costs a task.

    Raises
    ------
    ClientGone
        It did.
    """
    task = asyncio.current_task()
    assert task is not None
    watches: list[asyncio.Future[None]] = []
    inside = True

    def stop(ended: asyncio.Future[None]) -> None:
        if inside and not ended.cancelled():
            task.cancel()

    def look() -> None:
        watches.append(asyncio.ensure_future(body.gone()))
        watches[0].add_done_callback(stop)

    timer = task.get_loop().call_later(UNWATCHED_S, look)
    try:
        yield
    except asyncio.CancelledError:
        if any(one.done() and not one.cancelled() for one in watches) and task.uncancel() == 0:
            raise ClientGone from None
        raise
    finally:
        inside = False
        timer.cancel()
        for one in watches:
            one.cancel()


def read_request(scope: Scope, receive: Receive) -> Request:
    """Turn an ASGI scope into a request; nothing of the body is read yet."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    length = headers.get("content-length", "")
    declared = int(length) if length.isascii() and length.isdigit() and len(length) < 19 else None
    expected = "transfer-encoding" in headers or (declared != 0 and bool(length))
    return Request(
        method=scope["method"],
        segments=_segments(scope),
        headers=headers,
        body=Body(receive, declared=declared, expected=expected),
        client=(scope.get("client") or ("",))[0],
        surplus=scope.get("state", {}).get(SURPLUS, ""),
        query=scope.get("query_string", b"").decode("latin-1"),
    )


def _segments(scope: Scope) -> tuple[str, ...]:
    raw = scope.get("raw_path") or quote(scope["path"]).encode("ascii")
    parts = raw.decode("latin-1").split("?")[0].split("/")[1:]
    # A name typed on one system and stored by another may differ only in how its accents are composed.
    return tuple(unicodedata.normalize("NFC", unquote(part, errors="replace")) for part in parts)


def too_large(received: str, max_bytes: int) -> Refusal:
    """Say that a body is over the limit."""
    return Refusal(
        "too_large",
        f"The request body has {received}; this server takes at most {max_bytes:,}.",
        next_step="Send fewer or smaller inputs.",
    )


def dumps(value: Json) -> bytes:
    """Write JSON as every client reads it: UTF-8, no NaN, and no half of a character from a file's name."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def json_response(value: Json, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return ``value`` as a response."""
    return Response(status, "application/json", dumps(value), headers or {})


async def send(request: Request, response: Response, channel: Send) -> None:
    """Write the response; where the request's body is unread, close the connection after it, gently."""
    close = not request.body.finished or bool(request.surplus)
    await channel(_start(response, close=close))
    if request.method == "HEAD":
        await channel({"type": "http.response.body", "body": b""})
    elif isinstance(response.body, bytes):
        await channel({"type": "http.response.body", "body": response.body, "more_body": close})
        if close:
            # The client has its whole answer by now; only the connection is still open.
            await request.body.discard()
            await channel({"type": "http.response.body", "body": b""})
    else:
        async for piece in response.body:
            await _send_piece(piece, channel)
        await channel({"type": "http.response.body", "body": b""})


async def _send_piece(piece: bytes, channel: Send) -> None:
    try:
        async with asyncio.timeout(STALL_S):
            await channel({"type": "http.response.body", "body": piece, "more_body": True})
    except TimeoutError:
        raise ClientGone from None


def _start(response: Response, *, close: bool) -> Message:
    headers = [(b"content-type", response.media_type.encode("ascii")), *SAFE_HEADERS]
    if isinstance(response.body, bytes) and response.status != NO_CONTENT:
        headers.append((b"content-length", str(len(response.body)).encode("ascii")))
    if close:
        headers.append((b"connection", b"close"))
    headers += [(name.encode("ascii"), value.encode("latin-1")) for name, value in response.headers.items()]
    return {"type": "http.response.start", "status": response.status, "headers": headers}
