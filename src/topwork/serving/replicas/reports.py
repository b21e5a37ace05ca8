"""What a worker process logs, told to the server: there it is written as the server's own lines are, with its request.

It knows no model and no socket. What a process tells is believed as far as it is made as a line is; a line that is too
long is cut.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Final

from topwork.serving.http.messages import dumps
from topwork.serving.watching.logs import FIELDS, led_to
from topwork.serving.watching.tracing import CURRENT, Trace

__all__ = ["NUMBER", "Line", "forwarded", "noted"]

NUMBER: ContextVar[int] = ContextVar("topwork-question", default=0)
"""The question that a thread of a worker process answers; 0 for none."""

_ROOT: Final = "topwork"
_LONGEST: Final = 20_000
"""Letters of a message, and of a traceback."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a log; ``details`` is a traceback, or empty."""

    logger: str
    level: int
    message: str
    details: str = ""

    def encode(self) -> list[bytes]:
        """Return the content of a frame."""
        return [dumps(asdict(self))]

    @classmethod
    def decode(cls, content: bytes) -> Line:
        """Read what `encode` wrote.

        Raises
        ------
        ValueError
            It is something else.
        """
        try:
            line = cls(**json.loads(content))
        except (TypeError, RecursionError) as error:
            raise ValueError(f"this is no line of a log: {content[:200]!r}") from error
        is_one = isinstance(line.level, int) and all(
            isinstance(one, str) for one in (line.logger, line.message, line.details)
        )
        if not is_one or line.logger.split(".")[0] != _ROOT:
            raise ValueError(f"this is no line of a log: {content[:200]!r}")
        return line


class _Teller(logging.Handler):
    """Hands lines on; ``tell`` gets the number of the question that a line belongs to."""

    def __init__(self, tell: Callable[[int, Line], None]) -> None:
        super().__init__(logging.INFO)
        self._tell = tell
        self._format = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a record on."""
        try:
            details = self._format.formatException(record.exc_info) if record.exc_info else ""
            message = record.getMessage()[:_LONGEST]
            self._tell(NUMBER.get(), Line(record.name, record.levelno, message, details[-_LONGEST:]))
        except Exception:  # a line that cannot be told costs no answer
            self.handleError(record)


@contextmanager
def forwarded(tell: Callable[[int, Line], None]) -> Iterator[None]:
    """Hand on what topwork logs inside, in place of writing it."""
    with led_to(_Teller(tell), logging.getLogger(_ROOT), logging.INFO):
        yield


def noted(line: Line, trace: Trace | None, pid: int) -> None:
    """Write a line of a worker process as one of the server, with the names of the request that it belongs to."""
    logger = logging.getLogger(line.logger)
    if not logger.isEnabledFor(line.level):
        return
    record = logger.makeRecord(
        line.logger,
        line.level,
        "(worker process)",
        0,
        line.message,
        (),
        None,
        extra={FIELDS: {"process": pid}},
    )
    record.exc_text = line.details or None
    before = CURRENT.set(trace)
    try:
        logger.handle(record)
    finally:
        CURRENT.reset(before)
