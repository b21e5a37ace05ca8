"""One prediction, from the request to its response: read, wait, work, answer.

It knows no path, no task and no modality. Whatever happens on the way, the place in the gate is given back
only when the thread is free again, so that work nobody waits for any more still counts as work.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from topwork.errors import TopworkError
from topwork.serving.answers import answered, error_line, line, predictions
from topwork.serving.bodies import Reader, reader_for
from topwork.serving.messages import Request, Response, Times, cancelled_when_gone, json_response
from topwork.serving.refusals import Refusal
from topwork.serving.work import Batch, Job

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

    from topwork.contracts import Answer, Servable
    from topwork.serving.gate import ByteBudget
    from topwork.serving.hosting import Hosted

__all__ = [
    "EXPLANATIONS",
    "PREDICTIONS",
    "STREAM_TYPE",
    "TIMEOUT_HEADER",
    "Question",
    "answers",
    "predict",
    "told",
    "wished_s",
]

TIMEOUT_HEADER = "x-timeout-ms"
MILLISECONDS = re.compile("0*[1-9][0-9]{0,8}", re.ASCII)
STREAM_TYPE = "application/x-ndjson"
LOG = logging.getLogger("topwork.serving")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a model: under which name the answers come, and how it is asked."""

    answers: str
    ask: Callable[[Servable, Sequence[bytes]], Iterator[Answer]]


PREDICTIONS = Question("predictions", lambda servable, inputs: servable.submit(inputs))
EXPLANATIONS = Question("explanations", lambda servable, inputs: servable.explain(inputs))


async def predict(
    hosted: Hosted, request: Request, budget: ByteBudget, question: Question = PREDICTIONS
) -> Response:
    """Answer one request with JSON, or with a line per answer where it streams.

    Raises
    ------
    Refusal
        It cannot be answered; nothing was sent yet.
    ClientGone
        Nobody waits for the answer any more.
    """
    hosted.require_ready()
    hosted.gate.check()
    streams = STREAM_TYPE in request.headers.get("accept", "")
    reader = _reader(hosted, request)
    job, until = await _asked(hosted, request, budget=budget, reader=reader, question=question, eager=streams)
    first = await _next(job, until)
    if first.error is not None and not first.answers:
        raise told(first.error)
    if streams or not first.finished:
        return Response(200, STREAM_TYPE, _lines(job, first, until))
    if first.error is not None:
        raise told(first.error)
    return json_response({"model": hosted.servable.name, question.answers: predictions(first.answers)})


async def answers(
    hosted: Hosted, request: Request, budget: ByteBudget, *, reader: Reader
) -> tuple[Answer, ...]:
    """Return the complete answers to one request, for a protocol that knows no streams.

    Raises
    ------
    Refusal
        It cannot be answered, or the model answers in pieces.
    ClientGone
        Nobody waits for the answer any more.
    """
    hosted.require_ready()
    hosted.gate.check()
    job, until = await _asked(
        hosted, request, budget=budget, reader=reader, question=PREDICTIONS, eager=False
    )
    batch = await _next(job, until)
    if batch.error is not None:
        raise told(batch.error)
    if not batch.finished:
        raise Refusal(
            "bad_request",
            f"{hosted.servable.name} answers in pieces, which this protocol cannot carry.",
            next_step="Use POST /predict.",
        )
    return batch.answers


def wished_s(headers: Mapping[str, str]) -> float:
    """Return within how many seconds a client wants its answer; infinite where it does not say.

    Raises
    ------
    Refusal
        What it says is no number of milliseconds.
    """
    said = headers.get(TIMEOUT_HEADER)
    if said is None:
        return math.inf
    if not MILLISECONDS.fullmatch(said):
        raise Refusal(
            "bad_request",
            f"The header {TIMEOUT_HEADER} is {said[:50]!r}; expected milliseconds, a whole number from 1 on.",
            next_step="Leave it out, and the deadline of the server holds.",
        )
    return int(said) / 1000


def _reader(hosted: Hosted, request: Request) -> Reader:
    return reader_for(
        request.headers.get("content-type", ""),
        hosted.servable.wire,
        max_inputs=hosted.limits.max_inputs,
        max_body_bytes=hosted.limits.max_body_bytes,
    )


async def _read(hosted: Hosted, request: Request, reader: Reader, budget: ByteBudget, wished: float) -> bytes:
    def reserve(n_bytes: int) -> None:
        budget.take(n_bytes, hosted.gate.retry_after_s())
        request.cleanup.callback(budget.give_back, n_bytes)

    bound_s = hosted.limits.body_timeout_s
    try:
        async with asyncio.timeout_at(wished if wished < math.inf else None):
            return await request.body.read(reader.max_bytes, timeout_s=bound_s, reserve=reserve)
    except TimeoutError:
        raise _late("on its way") from None


def _produce(hosted: Hosted, question: Question, reader: Reader, content: bytes) -> Iterator[Answer]:
    found = answered(hosted.servable, partial(question.ask, hosted.servable), reader.read(content))
    return hosted.watch.seen(found) if question is PREDICTIONS else found


async def _asked(
    hosted: Hosted, request: Request, *, budget: ByteBudget, reader: Reader, question: Question, eager: bool
) -> tuple[Job, float]:
    """Read the body, and put the work in line; return it with its deadline."""
    clock = asyncio.get_running_loop().time
    wished = clock() + wished_s(request.headers)
    content = await _read(hosted, request, reader, budget, wished)
    request.cleanup.enter_context(cancelled_when_gone(request.body))
    until = min(wished, clock() + hosted.limits.deadline_s)
    produce = partial(_produce, hosted, question, reader, content)
    return await _begin(hosted, request, produce, until=until, eager=eager), until


async def _begin(
    hosted: Hosted, request: Request, produce: partial[Iterator[Answer]], *, until: float, eager: bool
) -> Job:
    times = request.times
    began_s, times.model = time.perf_counter(), hosted.servable.name
    try:
        async with asyncio.timeout_at(until):
            await hosted.gate.enter()
    except TimeoutError:
        raise _late("in line", hosted.gate.retry_after_s()) from None
    finally:
        times.entered_s = time.perf_counter()
        times.wait_s = times.entered_s - began_s
    # From here to `submit` nothing awaits, so the place that was taken cannot be lost.
    job = Job(produce, eager=eager, on_done=partial(_left, hosted, times))
    request.cleanup.callback(job.cancel)
    hosted.workers.submit(job)
    return job


def _left(hosted: Hosted, times: Times, service_s: float) -> None:
    times.work_s = service_s
    hosted.gate.leave(service_s)


async def _next(job: Job, until: float) -> Batch:
    try:
        async with asyncio.timeout_at(until):
            return await job.next()
    except TimeoutError:
        raise _late("at work") from None


async def _lines(job: Job, batch: Batch, until: float) -> AsyncIterator[bytes]:
    while True:
        for answer in batch.answers:
            try:
                piece = line(answer)
            except Exception as error:  # it is no JSON; nobody but us can tell the client any more
                yield error_line(told(error))
                return
            yield piece
        if batch.error is not None:
            yield error_line(told(batch.error))
        if batch.finished:
            return
        try:
            batch = await _next(job, until)
        except Refusal as late:
            yield error_line(late)
            return


def _late(where: str, retry_after_s: int = 1) -> Refusal:
    return Refusal(
        "deadline_exceeded",
        f"The answer was not complete at the deadline; the request was still {where}.",
        next_step="Send fewer inputs, or try again when there is less to do.",
        headers={"retry-after": str(retry_after_s)},
    )


def told(error: Exception) -> Refusal:
    """Turn any error into what a client may know of it; the rest goes to the log."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, TopworkError):
        LOG.error("a request failed: %s", error)
        return Refusal("unavailable", error.problem, next_step=error.next_step)
    LOG.error("a request failed", exc_info=error)
    return Refusal(
        "internal",
        "The server made a mistake; what happened is in its log.",
        next_step="Tell the operator of this server the time of the request.",
    )
