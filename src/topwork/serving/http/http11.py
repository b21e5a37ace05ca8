"""uvicorn, held tighter: headers must arrive in time and within bounds, and a signal drains without dying.

The only module that imports uvicorn, so import it inside a function. uvicorn bounds how long an idle
connection is kept, but not how long a client may take over its headers, nor how many it sends; and it counts
connections only when a request comes, so that idle ones could take every file handle.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.importer import import_from_string

from topwork.serving.http.crowds import Crowd
from topwork.serving.http.messages import SURPLUS

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from topwork.serving.http.served import Served
    from topwork.serving.limits import Limits

__all__ = [
    "MAX_HEADER_BYTES",
    "SURPLUS_CONNECTIONS",
    "SURPLUS_PER_CLIENT",
    "Guard",
    "Server",
    "guarded",
    "room_for",
    "server",
]

MAX_HEADER_BYTES = 64 * 1024
SLOW = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


SURPLUS_CONNECTIONS = 64
"""Connections over the limit on which a client is still told so; further ones are closed at once."""
SURPLUS_PER_CLIENT = 8
"""The same of one client that has more than it may."""
SURPLUS_TIMEOUT_S = 1.0
"""Time for the headers on such a connection, so that idle ones do not keep health checks out."""
SPARE_FILES = 192
"""Files that the process needs besides its connections."""
FULL = "Every connection that this server takes is in use."
CROWDED = "This address has as many connections open as the server takes of one."
GOODBYE_S = 30.0
"""How long a client may leave its last answer unread before its connection is cut."""


class Guard(asyncio.Protocol):
    """What is put before a protocol of uvicorn: a timer that runs whenever bytes are awaited that are no request yet.

    Attributes
    ----------
    header_timeout_s
        Until a request's headers must have arrived.
    max_connections
        Those beyond are told so on their first request; see `SURPLUS_CONNECTIONS`.
    crowd
        Counts those of each client; what is beyond its bound is told so as well, see `SURPLUS_PER_CLIENT`.
    goodbye_s
        How long a client may leave its last answer unread before its connection is cut.
    """

    header_timeout_s: float
    max_connections: int
    crowd: Crowd
    goodbye_s: float

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    connections: set[object]
    app_state: dict[str, Any]
    client: tuple[str, int] | None
    cycle: Any
    _address = ""
    _timer: asyncio.TimerHandle | None = None
    _cut: asyncio.TimerHandle | None = None
    _n_stray = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, unless there are far too many who do."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        surplus = len(self.connections) - self.max_connections
        of_one = self.crowd.enter(self._address)
        if surplus > 0 or of_one > 0:
            self.app_state = {**self.app_state, SURPLUS: FULL if surplus > 0 else CROWDED}
            self.header_timeout_s = min(self.header_timeout_s, SURPLUS_TIMEOUT_S)
        if surplus > SURPLUS_CONNECTIONS or of_one > SURPLUS_PER_CLIENT:
            transport.abort()
        else:
            self._arm()

    def data_received(self, data: bytes) -> None:
        """Count what belongs to no request under way."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._disarm()
            return
        self._n_stray += len(data)
        if self._n_stray > MAX_HEADER_BYTES:
            self._end(LONG)
        elif self._timer is None:
            self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """End every timer."""
        self.crowd.leave(self._address)
        self._disarm()
        if self._cut is not None:
            self._cut.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Uvicorn's: an answer was written, and perhaps the connection closed."""
        super().on_response_complete()  # type: ignore[misc]
        if self.transport.is_closing():
            self._cut_later()

    def timeout_keep_alive_handler(self) -> None:
        """Uvicorn's: nothing more came."""
        super().timeout_keep_alive_handler()  # type: ignore[misc]
        self._cut_later()

    def _arm(self) -> None:
        self._timer = self.loop.call_later(self.header_timeout_s, self._end, SLOW)

    def _disarm(self) -> None:
        self._n_stray = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self, goodbye: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(goodbye)
            self.transport.close()
            self._cut_later()

    def _cut_later(self) -> None:
        # A closed connection stays until everything is sent, and a client that reads nothing could stay for ever.
        if self._cut is None:
            self._cut = self.loop.call_later(self.goodbye_s, self.transport.abort)


def guarded(
    protocol: type[Any],
    header_timeout_s: float,
    *,
    max_connections: int = sys.maxsize,
    crowd: Crowd | None = None,
    goodbye_s: float = GOODBYE_S,
) -> type[Guard]:
    """Return uvicorn's ``protocol`` behind a `Guard`; the bounds are as of that."""
    bounds = {
        "header_timeout_s": header_timeout_s,
        "max_connections": max_connections,
        "crowd": Crowd(sys.maxsize) if crowd is None else crowd,
        "goodbye_s": goodbye_s,
    }
    return type("Guarded", (Guard, protocol), bounds)


class Server(uvicorn.Server):
    """A uvicorn server that ends by returning, so that its caller chooses the exit code.

    Attributes
    ----------
    on_drain
        Called on the event loop when it takes no more connections and begins to wait for requests under way.
    """

    on_drain: Callable[[], None] | None = None

    def __init__(self, config: uvicorn.Config, crowd: Crowd) -> None:
        super().__init__(config)
        self._crowd = crowd

    def take(self, limits: Limits) -> None:
        """Hold new connections, and the end, to these bounds; connections that are open keep theirs."""
        config = self.config
        self._crowd.most = limits.max_connections_per_address
        config.http_protocol_class = _protocol(limits, self._crowd)
        config.timeout_keep_alive = limits.keep_alive_s  # type: ignore[assignment]
        config.timeout_graceful_shutdown = limits.drain_s  # type: ignore[assignment]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain."""
        if self.on_drain is not None:
            self.on_drain()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Turn SIGTERM and SIGINT into a drain; unlike the original, do not raise them again after it."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in _signals()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def room_for(n_connections: int) -> int:
    """Let the process have as many connections open, and return how many of them the system allows."""
    try:
        import resource
    except ImportError:  # Windows counts them otherwise
        return n_connections
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = n_connections + SURPLUS_CONNECTIONS + SPARE_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return n_connections
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max(1, n_connections - (wanted - allowed))


def _signals() -> list[signal.Signals]:
    names = ("SIGINT", "SIGTERM", "SIGBREAK")  # the last one only on Windows
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


def server(app: Served) -> Server:
    """Build the server of an application; logging stays as the process has it."""
    limits = app.limits
    crowd = Crowd(limits.max_connections_per_address)
    config = uvicorn.Config(
        app,
        http=_protocol(limits, crowd),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=limits.keep_alive_s,  # type: ignore[arg-type]
        timeout_graceful_shutdown=limits.drain_s,  # type: ignore[arg-type]
    )
    return Server(config, crowd)


def _protocol(limits: Limits, crowd: Crowd) -> type[asyncio.Protocol]:
    n_connections = room_for(limits.max_connections)
    return guarded(_fastest_protocol(), limits.header_timeout_s, max_connections=n_connections, crowd=crowd)


def _fastest_protocol() -> type[Any]:
    try:
        import httptools  # noqa: F401 - written in C; not there on every platform
    except ImportError:
        return import_from_string(HTTP_PROTOCOLS["h11"])  # type: ignore[no-any-return]
    return import_from_string(HTTP_PROTOCOLS["httptools"])  # type: ignore[no-any-return]
