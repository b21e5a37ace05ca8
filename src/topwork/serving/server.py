"""The process around an application: a socket, a proof, a drain, an exit.

It knows no route and no model. It prints nothing: `run` tells its caller when the server is ready.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

from topwork.errors import UsageError
from topwork.serving.extra import missing
from topwork.serving.http.access import require_safe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from topwork.serving.http.http11 import Server
    from topwork.serving.http.served import Served
    from topwork.serving.succession import Succession

__all__ = ["listen", "run", "url_of"]

LOOPBACK = "127.0.0.1"
BACKLOG = 2048


def run(
    app: Served,
    host: str = LOOPBACK,
    *,
    port: int = 8000,
    on_ready: Callable[[str], None] = lambda _: None,
    on_listening: Callable[[str], None] = lambda _: None,
    succession: Succession | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then let the requests under way finish, and return.

    Parameters
    ----------
    app
        What answers.
    host
        Address to listen on; the default cannot be reached from another machine.
    port
        0 takes a free one.
    on_ready, on_listening
        Called with the server's URL once every model has passed its proof, and before that as soon as
        the port is open (``/livez`` and ``/readyz`` answer from then on).
    succession
        What puts other models in the place of those of ``app``: told when the server drains, and of a SIGHUP where it
        wants to be.

    Raises
    ------
    UsageError
        The address or the port cannot be had, or others could reach it and the application asks for no keys.
    MissingExtraError
        The packages for serving are not installed.
    ProofError
        A model did not pass its proof; the server has ended.
    """
    make_server = _server_maker()
    require_safe(app.door, host)
    with listen(host, port) as listener:
        server = make_server(app)
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            attended = nullcontext() if succession is None else _attended(succession, server)
            runner.run(_serve(app, server, listener, attended, on_ready=on_ready, on_listening=on_listening))


@contextmanager
def _attended(succession: Succession, server: Server) -> Iterator[None]:
    """Let settings be applied again to a server that has started, until it drains."""
    succession.on_limits, server.on_drain = server.take, succession.end
    succession.watch()
    hangups = succession.hangups
    with hangups.told_to(succession.ask) if hangups is not None else nullcontext():
        try:
            yield
        finally:
            succession.end()


def _server_maker() -> Callable[[Served], Server]:
    try:
        import python_multipart  # noqa: F401 - is needed by the first form, and missed here

        from topwork.serving.http.http11 import server
    except ImportError as error:
        raise missing(error) from error
    return server


async def _serve(
    app: Served,
    server: Server,
    listener: socket.socket,
    attended: AbstractContextManager[None],
    *,
    on_ready: Callable[[str], None],
    on_listening: Callable[[str], None],
) -> None:
    url = url_of(listener)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if server.started:
        on_listening(url)
    proving = asyncio.create_task(_announce(app, server, on_ready, url))
    with attended if server.started else nullcontext():
        await serving
    proving.cancel()
    with suppress(asyncio.CancelledError):
        await proving


async def _announce(app: Served, server: Server, on_ready: Callable[[str], None], url: str) -> None:
    try:
        await app.proven()
        on_ready(url)
    except BaseException:
        server.should_exit = True
        raise


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket.

    Raises
    ------
    UsageError
        No such address here, no right to the port, or somebody else has it.
    """
    if not 0 <= port <= 65535:
        raise UsageError(
            f"The port is {port}; it must lie between 0 and 65535.", next_step="0 takes a free one."
        )
    opened: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        opened = socket.socket(family, kind, protocol)
        if os.name == "posix":
            # Lets a server start again at once. On Windows the same option would share the port.
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
        opened.setblocking(False)
    except (OSError, UnicodeError) as error:
        if opened is not None:
            opened.close()
        raise _no_socket(error, host, port) from error
    return opened


def _no_socket(error: OSError | UnicodeError, host: str, port: int) -> UsageError:
    if isinstance(error, (socket.gaierror, UnicodeError)) or error.errno == errno.EADDRNOTAVAIL:
        return UsageError(
            f"{host!r} is not an address of this machine.",
            next_step="Use 127.0.0.1 for this machine alone, or 0.0.0.0 for every network it is on.",
        )
    reasons = {errno.EADDRINUSE: "is in use already", errno.EACCES: "is reserved for the administrator"}
    reason = reasons.get(error.errno or 0, error.strerror or str(error))
    return UsageError(
        f"Cannot listen on port {port} of {host}: the port {reason}.",
        next_step="Choose another port, or 0 for any free one.",
    )


def url_of(listener: socket.socket) -> str:
    """Return the URL under which a browser on this machine reaches a listening socket."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - it is compared, not listened on
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
