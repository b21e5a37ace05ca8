"""A client that asks when its time has come, whether or not earlier answers are there. It knows no benchmark.

Just as much of HTTP/1.1 as a server of topwork speaks: a status, and a body of a stated length.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["LOST", "Asked", "Line", "arrive", "ask_on", "post"]

LOST = 0
"""In place of a status: there was no answer."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: when it was to be sent, the status of its answer, and how long that took from then on."""

    at_s: float
    status: int
    took_s: float


def post(port: int, body: bytes, media_type: str, *, path: str = "/predict") -> bytes:
    """Return a whole request."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: {media_type}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


class Line:
    """A connection that is kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.is_open, self.was_used = True, False

    @classmethod
    async def dial(cls, port: int) -> Line:
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, request: bytes) -> int:
        """Send a request, read the whole answer, and return its status.

        Raises
        ------
        OSError, EOFError
            The server closed the connection.
        """
        try:
            self._writer.write(request)
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            await self._reader.readexactly(int(length[1]) if length else 0)
        except BaseException:
            self.close()
            raise
        self.was_used = True
        if _CLOSES.search(head):
            self.close()
        return int(head[9:12])

    def close(self) -> None:
        """Hang up."""
        self.is_open = False
        self._writer.close()


class _Switchboard:
    """The connections that are free; where there is none another is made."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[Line] = []

    async def ask(self, request: bytes) -> int:
        """Ask, once more on another connection where one that had been idle turns out to be closed."""
        while True:
            line = self._free.pop() if self._free else await Line.dial(self._port)
            try:
                status = await line.ask(request)
            except (OSError, EOFError):
                if line.was_used:
                    continue
                raise
            if line.is_open:
                self._free.append(line)
            return status

    def close(self) -> None:
        for line in self._free:
            line.close()


async def arrive(
    port: int, request: bytes, arrivals_s: Sequence[float], *, patience_s: float = 60.0
) -> list[Asked]:
    """Send a request at each of some times from now on, and return what came of each.

    A time of an answer counts from when its request was to be sent, so that a client that is late hides nothing.
    """
    loop, board = asyncio.get_running_loop(), _Switchboard(port)
    began_s = loop.time()

    async def one(at_s: float) -> Asked:
        try:
            async with asyncio.timeout(patience_s):
                status = await board.ask(request)
        except (OSError, EOFError, TimeoutError):
            status = LOST
        return Asked(at_s, status, loop.time() - began_s - at_s)

    under_way = []
    for at_s in arrivals_s:
        if (wait_s := began_s + at_s - loop.time()) > 0:
            await asyncio.sleep(wait_s)
        under_way.append(asyncio.create_task(one(at_s)))
    found = await asyncio.gather(*under_way)
    board.close()
    return found


async def ask_on(port: int, request: bytes, *, n_clients: int, n_each: int) -> list[Asked]:
    """Ask with some clients of which each asks again as soon as it is answered."""
    loop = asyncio.get_running_loop()

    async def client() -> list[Asked]:
        line, found = await Line.dial(port), []
        for _ in range(n_each):
            at_s = loop.time()
            status = await line.ask(request)
            found.append(Asked(at_s, status, loop.time() - at_s))
        line.close()
        return found

    return [one for each in await asyncio.gather(*(client() for _ in range(n_clients))) for one in each]
