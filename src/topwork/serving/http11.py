"""uvicorn, held tighter: headers must arrive in time and within bounds, and a signal drains without dying.

The only module that imports uvicorn, so import it inside a function. uvicorn bounds how long an idle
connection is kept, but not how long a client may take over its headers, nor how many it sends.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.importer import import_from_string

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from topwork.serving.app import Application
    from topwork.serving.limits import Limits

__all__ = ["MAX_HEADER_BYTES", "Server", "guarded", "server"]

MAX_HEADER_BYTES = 64 * 1024
SLOW = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def guarded(protocol: type[Any], header_timeout_s: float) -> type[asyncio.Protocol]:
    """Return uvicorn's ``protocol`` with a bound on the time and size of what is no request yet."""

    class Guarded(protocol):  # type: ignore[misc]
        """Runs a timer whenever bytes are awaited that belong to no request under way."""

        _timer: asyncio.TimerHandle | None = None
        _n_stray = 0

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self._arm()

        def data_received(self, data: bytes) -> None:
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
            self._disarm()
            super().connection_lost(exc)

        def _arm(self) -> None:
            self._timer = self.loop.call_later(header_timeout_s, self._end, SLOW)

        def _disarm(self) -> None:
            self._n_stray = 0
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _end(self, goodbye: bytes) -> None:
            if not self.transport.is_closing():
                self.transport.write(goodbye)
                self.transport.close()

    return Guarded


class Server(uvicorn.Server):
    """A uvicorn server that ends by returning, so that its caller chooses the exit code.

    Attributes
    ----------
    on_drain
        Called on the event loop when it takes no more connections and begins to wait for requests under way.
    """

    on_drain: Callable[[], None] | None = None

    def take(self, limits: Limits) -> None:
        """Hold new connections, and the end, to these bounds; connections that are open keep theirs."""
        config = self.config
        config.http_protocol_class = _protocol(limits)
        config.limit_concurrency = limits.max_connections
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


def _signals() -> list[signal.Signals]:
    names = ("SIGINT", "SIGTERM", "SIGBREAK")  # the last one only on Windows
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


def server(app: Application) -> Server:
    """Build the server of an application; logging stays as the process has it."""
    limits = app.limits
    config = uvicorn.Config(
        app,
        http=_protocol(limits),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=limits.max_connections,
        timeout_keep_alive=limits.keep_alive_s,  # type: ignore[arg-type]
        timeout_graceful_shutdown=limits.drain_s,  # type: ignore[arg-type]
    )
    return Server(config)


def _protocol(limits: Limits) -> type[asyncio.Protocol]:
    return guarded(_fastest_protocol(), limits.header_timeout_s)


def _fastest_protocol() -> type[Any]:
    try:
        import httptools  # noqa: F401 - written in C; not there on every platform
    except ImportError:
        return import_from_string(HTTP_PROTOCOLS["h11"])  # type: ignore[no-any-return]
    return import_from_string(HTTP_PROTOCOLS["httptools"])  # type: ignore[no-any-return]
