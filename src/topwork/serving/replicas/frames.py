"""What a server and a worker process say to each other: frames over a socket, and what stands in them.

It knows no model and no process. Nothing that comes in is ever run or unpickled: inputs are bytes, the rest is JSON,
and whatever is neither ends the conversation.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

from topwork import errors
from topwork.contracts import Answer, Json, Reference, Servable, Wire
from topwork.errors import TopworkError, UsageError
from topwork.serving.batching.gathering import Gathered, gathered_of
from topwork.serving.http.messages import dumps
from topwork.serving.replicas.references import reference_from_json, reference_to_json
from topwork.serving.wrapping.around import reference_of

__all__ = [
    "Channel",
    "Description",
    "Fault",
    "Frame",
    "Garbled",
    "Gone",
    "Kind",
    "Opened",
    "Order",
    "Pulse",
    "decode_answer",
    "decode_ask",
    "decode_error",
    "encode_answer",
    "encode_ask",
    "encode_error",
]

HEADER: Final = struct.Struct("!2sBQI")
MARK: Final = b"tw"
MOST_BYTES: Final = 2**30
CHUNK_BYTES: Final = 2**20
ASK: Final = struct.Struct("!BI")
LENGTH: Final = struct.Struct("!I")
ANSWER: Final = frozenset(one.name for one in fields(Answer))
PART: Final = ("problem", "last", "traits")
"""What of a part of an answer travels; what it says stands in the value of the whole."""


class Kind(IntEnum):
    """What a frame is."""

    OPEN = 1
    ASK = 2
    MORE = 3
    CANCEL = 4
    DESCRIBED = 5
    READY = 6
    FAILED = 7
    ANSWER = 8
    DONE = 9
    FAULT = 10
    BEAT = 11
    LOG = 12


@dataclass(frozen=True, slots=True)
class Frame:
    """One message; ``number`` is that of the request that it belongs to, 0 for none."""

    kind: Kind
    number: int
    content: bytes


class Garbled(Exception):  # noqa: N818 - an event of a conversation, not a fault of ours
    """What came is no frame, or no content of its kind."""


class Gone(Exception):  # noqa: N818 - as above
    """The other side no longer listens."""


class Fault(Exception):  # noqa: N818 - as above
    """An unexpected error in another process, told with where it arose there."""


class Channel:
    """One end of a conversation; any thread may send, one receives.

    Parameters
    ----------
    connection
        A connected stream socket, which is this object's from now on.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._sending = threading.Lock()

    def send(self, kind: Kind, number: int = 0, pieces: Sequence[bytes] = ()) -> None:
        """Send a frame whose content is some pieces, one behind the other; waits while the other side is slow.

        Raises
        ------
        Gone
            The other side has ended.
        UsageError
            The content is longer than a frame may be.
        """
        if (n_bytes := sum(map(len, pieces))) > MOST_BYTES:
            raise UsageError(
                f"A message has {n_bytes:,} bytes; a worker process is sent at most {MOST_BYTES:,}.",
                next_step="Lower max_body, or send less at once.",
            )
        header = HEADER.pack(MARK, kind, number, n_bytes)
        try:
            with self._sending:
                self._socket.sendall(header + pieces[0] if pieces else header)
                for piece in pieces[1:]:
                    self._socket.sendall(piece)
        except OSError as error:
            raise Gone from error

    def receive(self) -> Frame | None:
        """Wait for a frame; None where the other side has ended, be it in the middle of one.

        Raises
        ------
        Garbled
            Something else came.
        """
        header = self._exactly(HEADER.size)
        if not header:
            return None
        mark, kind, number, n_bytes = HEADER.unpack(header)
        if mark != MARK or kind not in Kind.__members__.values() or n_bytes > MOST_BYTES:
            raise Garbled(f"this is no frame: {header!r}")
        content = self._exactly(n_bytes) if n_bytes else b""
        if n_bytes and not content:
            return None
        return Frame(Kind(kind), number, content)

    def finish(self) -> None:
        """Say that nothing more will be sent; what is still sent to us is heard."""
        with suppress(OSError):  # the other side was first
            self._socket.shutdown(socket.SHUT_WR)

    def hang_up(self) -> None:
        """End the conversation: both sides find its end, also who waits for a frame or for room to send one."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the socket back, once nobody sends or receives any more."""
        with self._sending:
            self._socket.close()

    def _exactly(self, n_bytes: int) -> bytes:
        """Return that many bytes, or none where the other side ended before; what is announced is not believed yet."""
        found = bytearray()
        while len(found) < n_bytes:
            try:
                piece = self._socket.recv(min(n_bytes - len(found), CHUNK_BYTES))
            except OSError:
                piece = b""
            if not piece:
                return b""
            found += piece
        return bytes(found)


# --- what is in a frame -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Order:
    """How a worker process gets its model.

    Attributes
    ----------
    factory
        ``module:function``; called with ``arguments`` it gives an `Opened`.
    arguments
        Whatever the factory understands.
    folders
        Where Python looks for modules.
    n_threads
        Requests that it answers at once; None for as many as it can well work on.
    beat_s
        How often the process says that it is alive.
    max_batch, deadline_s
        Most inputs of a batch of several requests, None for what is measured; within which a request is to be answered.
    """

    factory: str
    arguments: bytes
    folders: tuple[str, ...] = ()
    n_threads: int | None = None
    beat_s: float = 1.0
    max_batch: int | None = None
    deadline_s: float = 30.0

    def encode(self) -> list[bytes]:
        """Return the content of a frame."""
        told = {name: one for name, one in asdict(self).items() if name != "arguments"}
        head = dumps(told)
        return [LENGTH.pack(len(head)), head, self.arguments]

    @classmethod
    def decode(cls, content: bytes) -> Order:
        """Read what `encode` wrote."""
        (n_head,) = LENGTH.unpack_from(content)
        head = _object(content[LENGTH.size : LENGTH.size + n_head])
        head["folders"] = tuple(head["folders"])
        return cls(arguments=content[LENGTH.size + n_head :], **head)


@dataclass(frozen=True, slots=True)
class Opened:
    """What a factory gives: a servable, how many requests it can well work on at once, and files that it needed."""

    servable: Servable
    n_at_once: int
    made_of: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Description:
    """What a servable says of itself.

    Attributes
    ----------
    n_at_once, n_seats
        Requests that it can well work on at once; those that are to be at it, so that it can.
    made_of
        Files and folders besides those of its settings that it was made of.
    reference, parts
        What inputs and answers are held against, as of `references`, and those of the parts of answers by their names;
        None where it knows nothing of that.
    """

    name: str
    wire: Wire
    answer_schema: dict[str, Any]
    explanation_schema: dict[str, Any] | None
    about: dict[str, Any]
    n_at_once: int
    n_seats: int
    made_of: tuple[str, ...]
    reference: dict[str, Any] | None
    parts: dict[str, Any]

    @classmethod
    def of(cls, opened: Opened) -> Description:
        """Describe what was opened, in plain JSON."""
        servable, gathered = opened.servable, gathered_of(opened.servable)
        parts: Mapping[str, Reference | None] = getattr(servable, "references", {})
        told = {
            "answer_schema": servable.answer_schema,
            "explanation_schema": servable.explanation_schema,
            "about": servable.about,
            "reference": _told(reference_of(servable)),
            "parts": {name: _told(one) for name, one in parts.items()},
        }
        return cls(
            servable.name,
            servable.wire,
            n_at_once=opened.n_at_once if gathered is None else gathered.n_at_once,
            n_seats=opened.n_at_once if gathered is None else gathered.n_seats,
            made_of=tuple(map(str, opened.made_of)),
            **_object(dumps(told)),
        )

    def encode(self) -> list[bytes]:
        """Return the content of a frame."""
        return [dumps(asdict(self))]

    @classmethod
    def decode(cls, content: bytes) -> Description:
        """Read what `encode` wrote.

        Raises
        ------
        Garbled
            It is something else.
        """
        found = _object(content)
        try:
            wire = found.pop("wire")
            media_types, made_of = tuple(wire.pop("media_types")), tuple(found.pop("made_of"))
            for one in (found["reference"], *found["parts"].values()):
                if one is not None:
                    reference_from_json(one)
            return cls(wire=Wire(media_types=media_types, **wire), made_of=made_of, **found)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise Garbled(f"this describes no model: {content[:200]!r}") from error


@dataclass(frozen=True, slots=True)
class Pulse:
    """What a process says while it is alive.

    Attributes
    ----------
    in_line
        Numbers of the questions for which nothing is being done, as others are before them.
    gathered
        Batches that it makes of several requests; None where it makes none.
    """

    in_line: tuple[int, ...] = ()
    gathered: Gathered | None = None

    def encode(self) -> list[bytes]:
        """Return the content of a frame; none where there is nothing to say."""
        if self == Pulse():
            return []
        made, batches = self.gathered, None
        if made is not None:
            sizes: list[Json] = [[size, n] for size, n in made.sizes.items()]
            batches = [made.largest, made.n_at_once, *sizes]
        return [dumps([self.in_line, batches])]

    @classmethod
    def decode(cls, content: bytes) -> Pulse:
        """Read what `encode` wrote.

        Raises
        ------
        Garbled
            It is something else.
        """
        if not content:
            return cls()
        try:
            in_line, batches = json.loads(content)
            if batches is None:
                return cls(tuple(map(int, in_line)))
            largest, n_at_once, *sizes = batches
            made = Gathered(int(largest), int(n_at_once), {int(size): int(n) for size, n in sizes})
            return cls(tuple(map(int, in_line)), made)
        except (ValueError, TypeError, RecursionError) as error:
            raise Garbled(f"this is no sign of life: {content[:200]!r}") from error


def _told(reference: Reference | None) -> Json:
    return None if reference is None else reference_to_json(reference)


def encode_ask(inputs: Sequence[bytes], *, explains: bool) -> list[bytes]:
    """Return the content of a question: inputs as they are, behind their lengths."""
    lengths = struct.pack(f"!{len(inputs)}I", *map(len, inputs))
    return [ASK.pack(explains, len(inputs)) + lengths, *inputs]


def decode_ask(content: bytes) -> tuple[list[bytes], bool]:
    """Return the inputs of a question, and whether an explanation is asked for."""
    explains, n_inputs = ASK.unpack_from(content)
    lengths = struct.unpack_from(f"!{n_inputs}I", content, ASK.size)
    at = ASK.size + struct.calcsize(f"!{n_inputs}I")
    inputs = []
    for n_bytes in lengths:
        inputs.append(content[at : at + n_bytes])
        at += n_bytes
    return inputs, bool(explains)


def encode_answer(answer: Answer) -> list[bytes]:
    """Return the content of an answer; TypeError and ValueError say that its value is no JSON."""
    told: dict[str, Any] = {name: getattr(answer, name) for name in ANSWER}
    if answer.parts is not None:
        told["parts"] = {
            name: {one: getattr(part, one) for one in PART} for name, part in answer.parts.items()
        }
    return [dumps(told)]


def decode_answer(content: bytes) -> Answer:
    """Read what `encode_answer` wrote.

    Raises
    ------
    Garbled
        It is something else.
    """
    found = _object(content)
    if set(found) != ANSWER or not isinstance(found["index"], int):
        raise Garbled(f"this is no answer: {content[:200]!r}")
    given: dict[str, Any] = {
        name: tuple(one) if isinstance(one, list) else one for name, one in found.items()
    }
    try:
        return Answer(**{**given, "parts": found["parts"] and _parts(found)})
    except (KeyError, TypeError, AttributeError) as error:
        raise Garbled(f"this is no answer: {content[:200]!r}") from error


def _parts(found: Mapping[str, Any]) -> dict[str, Answer]:
    """Return the parts of an answer that have a problem, or something that they say."""
    said = {name: (found["value"] or {}).get(name) for name in found["parts"]}
    return {
        name: Answer(
            found["index"],
            None if part["problem"] is not None else said[name],
            part["problem"],
            part["last"],
            tuple(part["traits"]),
        )
        for name, part in found["parts"].items()
        if part["problem"] is not None or said[name] is not None
    }


def encode_error(error: BaseException) -> list[bytes]:
    """Return the content of an error: what it says, and where it arose unless it is one of ours."""
    told: dict[str, Json] = {"kind": type(error).__name__}
    if isinstance(error, TopworkError):
        return [dumps({**told, "problem": error.problem, "next_step": error.next_step})]
    return [dumps({**told, "details": "".join(traceback.format_exception(error))})]


def decode_error(content: bytes) -> Exception:
    """Return the error that was told: one of ours as it was, any other as a `Fault`.

    Raises
    ------
    Garbled
        It is none.
    """
    found = _object(content)
    if "problem" not in found:
        return Fault(f"in a worker process:\n{found.get('details', found)}")
    kind = getattr(errors, str(found.get("kind")), None)
    ours = kind if isinstance(kind, type) and issubclass(kind, TopworkError) else TopworkError
    return ours(str(found["problem"]), next_step=str(found.get("next_step", "")))


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Garbled(f"this is no JSON: {content[:200]!r}") from error
    if not isinstance(found, dict):
        raise Garbled(f"this is no JSON object: {content[:200]!r}")
    return found
