"""Rows answered by a server: several requests at once, each tried again while that may help, answers in their order.

It knows the routes of `topwork serve` (see ``docs/serving.md``) and no file. A server that is busy says when to come
again, and is left alone until then.
"""

from __future__ import annotations

import base64
import http.client
import json
import random
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import Any, Final
from urllib.parse import quote, urlsplit

from topwork.contracts import Json, Modality
from topwork.data.streams import Row
from topwork.errors import DecodeError, TopworkError, UsageError
from topwork.inputs import modalities
from topwork.steps.answering import Outcome

__all__ = ["Patience", "RemoteAnswerer", "is_url", "open_remote"]

MOST_PER_REQUEST: Final = 16
"""Inputs of one request, where its server takes as many."""

_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same request may be answered."""

_LONGEST_WAIT_S, _LONGEST_ASKED_S = 30.0, 300.0
_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How much is asked of a server.

    Attributes
    ----------
    n_parallel
        Requests at once.
    n_tries
        How often one is sent before that is given up.
    first_wait_s
        Before the second try; doubled for each further one.
    wait
        Waits so many seconds, or until the work ends.
    """

    n_parallel: int = 4
    n_tries: int = 8
    first_wait_s: float = 0.5
    wait: Callable[[threading.Event, float], bool] = threading.Event.wait


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    headers: Mapping[str, str]
    content: bytes


class _Lost(Exception):  # noqa: N818 - it is an event
    """The server gave no reply."""


class _Connection:
    """One connection to a server, opened again when it is lost; use it from one thread."""

    def __init__(self, url: str, key: str | None) -> None:
        parts = urlsplit(url)
        self._prefix = parts.path.rstrip("/")
        self._key = {} if key is None else {"x-api-key": key}
        host, port = parts.hostname or "", parts.port
        self._http: http.client.HTTPConnection = (
            http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=ssl.create_default_context())
            if parts.scheme == "https"
            else http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
        )

    def ask(self, method: str, path: str, body: bytes | None = None) -> _Reply:
        headers = {**self._key, **({} if body is None else {"content-type": "application/json"})}
        try:
            self._http.request(method, self._prefix + path, body, headers)
            with self._http.getresponse() as response:
                found = {name.lower(): value for name, value in response.getheaders()}
                return _Reply(response.status, found, response.read())
        except (OSError, http.client.HTTPException) as error:
            self._http.close()
            raise _Lost(f"{type(error).__name__}: {error}"[:200]) from error

    def abort(self) -> None:
        """Have a thread that waits for a reply see its end; from any thread."""
        held: socket.socket | None = self._http.sock
        if held is not None:
            with suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._http.close()


def is_url(word: str) -> bool:
    """Return whether a word is the address of a server."""
    return word.startswith(("http://", "https://"))


class RemoteAnswerer:
    """A model of a server; made by `open_remote`."""

    def __init__(
        self, url: str, name: str, about: Mapping[str, Any], *, key: str | None, patience: Patience
    ) -> None:
        self._url, self._name, self._key, self._patience = url, name, key, patience
        given = about["input"]
        self._in_json: str = given["in_json"]
        self._most = min(MOST_PER_REQUEST, int(given["max_inputs"]))
        self._created = (about.get("about") or {}).get("created")
        self._modality = _modality_of(given)
        self._path = f"/v1/models/{quote(name, safe='')}/predict"
        self._stopped = threading.Event()
        self._local = threading.local()
        self._opened: list[_Connection] = []

    @property
    def mark(self) -> Mapping[str, Json]:
        """The server, its model, and when that was fitted."""
        return {"url": self._url, "model": self._name, "created": self._created}

    @property
    def modality(self) -> Modality:
        """What the inputs are, by what the server says of them."""
        return self._modality

    def answers(self, rows: Iterator[Row]) -> Iterator[Outcome]:
        """Yield what comes of each row, in their order.

        Raises
        ------
        TopworkError
            The server cannot be reached or refuses everything, also after all tries.
        """
        self._stopped.clear()
        pool = ThreadPoolExecutor(self._patience.n_parallel, thread_name_prefix="topwork-batch")
        waiting: deque[Future[list[Outcome]]] = deque()
        try:
            while several := list(islice(rows, self._most)):
                waiting.append(pool.submit(self._answered, several))
                if len(waiting) > 2 * self._patience.n_parallel:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            self._stopped.set()
            opened, self._opened = self._opened, []
            for connection in opened if waiting else ():
                connection.abort()
            pool.shutdown(cancel_futures=True)
            for connection in opened:
                connection.close()

    # --- one request ----------------------------------------------------------------------------------

    def _answered(self, rows: Sequence[Row]) -> list[Outcome]:
        """Return what comes of some rows; those that cannot be read are not sent."""
        readable: list[tuple[Row, Any]] = []
        found: dict[int, Outcome] = {}
        for row in rows:
            try:
                readable.append((row, self._in_body(row.content())))
            except DecodeError as error:
                found[row.number] = Outcome(row, None, str(error))
        found |= {one.row.number: one for one in self._sent(readable)}
        return [found[row.number] for row in rows]

    def _in_body(self, content: bytes) -> Any:
        if self._in_json == "base64":
            return base64.b64encode(content).decode("ascii")
        if self._in_json == "text":
            return content.decode("utf-8", "replace")
        try:
            return json.loads(content)
        except ValueError as error:
            raise DecodeError(f"It is no list of numbers: {error}.") from error

    def _sent(self, rows: Sequence[tuple[Row, Any]]) -> list[Outcome]:
        """Send rows, in halves where together they are too much for the server or what it stumbles over."""
        if not rows:
            return []
        body = json.dumps({"inputs": [one for _, one in rows]}).encode()
        reply = self._tried(body)
        if reply.status == 200:
            return self._read([row for row, _ in rows], reply)
        if reply.status not in (413, 422, 500):
            raise _refused(self._url, reply)
        if len(rows) > 1:
            half = len(rows) // 2
            return [*self._sent(rows[:half]), *self._sent(rows[half:])]
        return [Outcome(rows[0][0], None, _problem(reply))]

    def _read(self, rows: Sequence[Row], reply: _Reply) -> list[Outcome]:
        try:
            said = json.loads(reply.content)["predictions"]
            if len(said) != len(rows):
                raise ValueError(f"{len(said)} predictions for {len(rows)} inputs")
        except (ValueError, KeyError, TypeError) as error:
            raise TopworkError(
                f"{self._url} did not answer as topwork does: {error}.", next_step="Check the address."
            ) from error
        return [
            Outcome(row, None, str(one["error"])) if set(one) == {"error"} else Outcome(row, one)
            for row, one in zip(rows, said, strict=True)
        ]

    def _tried(self, body: bytes) -> _Reply:
        """Return the first reply that will not change, or the last one.

        Raises
        ------
        TopworkError
            There was none, or the server was busy at every try.
        """
        reply, problem = None, ""
        for turn in range(self._patience.n_tries):
            if turn:
                self._patience.wait(self._stopped, self._pause_s(turn, reply))
            if self._stopped.is_set():
                break
            try:
                reply, problem = self._connection().ask("POST", self._path, body), ""
            except _Lost as error:
                reply, problem = None, str(error)
                continue
            if reply.status not in _AGAIN or (reply.status == 500 and turn):  # it stumbles over this input
                return reply
        if reply is not None:
            raise _refused(self._url, reply)
        raise _unreachable(self._url, problem)

    def _pause_s(self, turn: int, reply: _Reply | None) -> float:
        """Return how long to wait before a try: as long as the server said, or longer each time, never all at once."""
        asked_s = _retry_after_s(reply.headers.get("retry-after", "")) if reply is not None else 0.0
        own_s = min(_LONGEST_WAIT_S, self._patience.first_wait_s * 2.0 ** (turn - 1))
        return max(asked_s, own_s * random.uniform(0.5, 1.0))  # noqa: S311 - it keeps no secret

    def _connection(self) -> _Connection:
        """Return the connection of this thread."""
        found: _Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._local.connection = _Connection(self._url, self._key)
            self._opened.append(found)
        return found


def open_remote(url: str, *, key: str | None = None, patience: Patience | None = None) -> RemoteAnswerer:
    """Ask a server what a model of it takes.

    Parameters
    ----------
    url
        The server's, for its first model; or with ``/v1/models/NAME`` for another one.
    key
        An API key; None sends none.

    Raises
    ------
    UsageError
        It is no such address.
    TopworkError
        The server cannot be reached, or refuses.
    """
    base, _, name = url.rstrip("/").partition("/v1/models/")
    try:
        parts = urlsplit(base)
        is_one = (
            bool(parts.hostname) and (parts.port or 0) >= 0 and not parts.query and "@" not in parts.netloc
        )
    except ValueError:
        is_one = False
    if not is_one or "/" in name:
        raise UsageError(
            f"{url!r} is no address of a server.",
            next_step="Give one such as http://127.0.0.1:8000 or http://127.0.0.1:8000/v1/models/photos.",
        )
    connection = _Connection(base, key)
    try:
        if not name:
            name = quote(str(_found(base, connection, "/v1/models")["models"][0]["name"]), safe="")
        about = _found(base, connection, f"/v1/models/{name}")
        return RemoteAnswerer(base, str(about["name"]), about, key=key, patience=patience or Patience())
    except (KeyError, TypeError, IndexError) as error:
        raise TopworkError(
            f"{base} did not answer as topwork does.", next_step="Check the address."
        ) from error
    finally:
        connection.close()


def _found(url: str, connection: _Connection, path: str) -> Any:
    try:
        reply = connection.ask("GET", path)
    except _Lost as error:
        raise _unreachable(url, str(error)) from error
    if reply.status != 200:
        raise _refused(url, reply)
    try:
        return json.loads(reply.content)
    except ValueError as error:
        raise TopworkError(
            f"{url} did not answer as topwork does.", next_step="Check the address."
        ) from error


def _modality_of(given: Mapping[str, Any]) -> Modality:
    """Return the kind of inputs that a server takes, by its word for them, else by how they travel."""
    known = modalities()
    by_noun = [one for one in known if one.wire.noun == given.get("noun")]
    by_wire = [one for one in known if one.wire.in_json == given["in_json"]]
    if not by_noun and not by_wire:
        raise TopworkError(
            f"The server's model takes {str(given.get('noun'))[:100]!r}, which this version cannot send.",
            next_step="Use a newer version of topwork.",
        )
    return (by_noun or by_wire)[0]


def _retry_after_s(said: str) -> float:
    """Return the seconds that a server asks to wait, which it may say as a date; 0 where it says nothing sensible."""
    if said.isascii() and said.isdigit():
        return min(float(said), _LONGEST_ASKED_S)
    with suppress(ValueError, TypeError, OverflowError):
        return min(max(0.0, parsedate_to_datetime(said).timestamp() - time.time()), _LONGEST_ASKED_S)
    return 0.0


def _problem(reply: _Reply) -> str:
    """Return what a server says of an error, or else its status."""
    try:
        error = json.loads(reply.content)["error"]
        return f"{error['message']} {error.get('next_step', '')}".strip()
    except (ValueError, KeyError, TypeError):
        return f"The server answered with the status {reply.status}."


def _refused(url: str, reply: _Reply) -> TopworkError:
    step = {401: "Give a key with --key-file.", 403: "Give another key with --key-file."}.get(reply.status)
    return TopworkError(
        f"{url} refuses with the status {reply.status}: {_problem(reply)}",
        next_step=step or "Try again with --resume when the server answers again.",
    )


def _unreachable(url: str, problem: str) -> TopworkError:
    return TopworkError(
        f"{url} gives no reply: {problem or 'the work was stopped'}.",
        next_step="Look whether the server runs; then go on with --resume.",
    )
