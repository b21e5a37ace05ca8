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
from typing import TYPE_CHECKING, TypeAlias

from topwork.errors import TopworkError
from topwork.serving.batching.patience import Patience, Wait
from topwork.serving.batching.share import Late, Share
from topwork.serving.batching.work import Batch, Job
from topwork.serving.http.answers import answered, error_line, line, predictions
from topwork.serving.http.bodies import Reader, reader_for
from topwork.serving.http.messages import Request, Response, Times, cancelled_when_gone, json_response
from topwork.serving.http.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

    from topwork.contracts import Answer, Servable
    from topwork.serving.batching.gate import ByteBudget
    from topwork.serving.hosting import Hosted
    from topwork.serving.http.bodies import Input

    Work: TypeAlias = Job | Share

__all__ = [
    "EXPLANATIONS",
    "PREDICTIONS",
    "STREAM_TYPE",
    "TIMEOUT_HEADER",
    "Conversation",
    "Question",
    "answers",
    "body_of",
    "converse",
    "predict",
    "received",
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


@dataclass(frozen=True, slots=True)
class Conversation:
    """A request that a model has begun to answer.

    Attributes
    ----------
    first
        The first answers, and whether these are all; they may have failed.
    """

    hosted: Hosted
    first: Batch
    _work: Work
    _wait: Wait
    _question: Question

    @property
    def model(self) -> str:
        """Name of whoever answers."""
        return self.hosted.servable.name

    async def batches(self) -> AsyncIterator[Batch]:
        """Yield the first answers and all others as they come.

        Raises
        ------
        Refusal
            The deadline has passed; one of the server's holds from one piece of an answer to the next.
        """
        batch, clock = self.first, asyncio.get_running_loop().time
        yield batch
        while not batch.finished:
            if any(not answer.last for answer in batch.answers):
                self._wait.go_on(clock())
            batch = await _next(self.hosted, self._work, self._wait.until_s, self._question)
            yield batch


async def converse(
    hosted: Hosted,
    request: Request,
    budget: ByteBudget,
    reader_of: Callable[[Hosted], Reader],
    *,
    question: Question = PREDICTIONS,
    eager: bool = False,
) -> Conversation:
    """Ask a model, and return when there is something to tell.

    Parameters
    ----------
    reader_of
        What reads the body, for whoever answers.
    eager
        Whether each answer is handed on as it comes, and not only pieces of them.

    Raises
    ------
    Refusal
        It cannot be answered, and nothing of it was.
    ClientGone
        Nobody waits for the answer any more.
    """
    hosted = hosted.chosen(request)
    hosted.require_ready()
    hosted.gate.check()
    reader = reader_of(hosted)
    work, wait = await _asked(hosted, request, budget=budget, reader=reader, question=question, eager=eager)
    first = await _next(hosted, work, wait.until_s, question)
    _note(request, first, whole=not eager and first.finished)
    if first.error is not None and not first.answers:
        raise told(first.error)
    return Conversation(hosted, first, work, wait, question)


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
    streams = STREAM_TYPE in request.headers.get("accept", "")
    found = await converse(
        hosted, request, budget, partial(_reader, request=request), question=question, eager=streams
    )
    first = found.first
    if streams or not first.finished:
        return Response(200, STREAM_TYPE, _lines(found))
    if first.error is not None:
        raise told(first.error)
    return json_response({"model": found.model, question.answers: predictions(first.answers)})


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
    batch = (await converse(hosted, request, budget, lambda _: reader)).first
    if batch.error is not None:
        raise told(batch.error)
    if not batch.finished:
        raise Refusal(
            "bad_request",
            f"{hosted.servable.name} answers in pieces, which this protocol cannot carry.",
            next_step="Use POST /predict.",
        )
    return batch.answers


async def received(hosted: Hosted, request: Request, budget: ByteBudget) -> tuple[Reader, bytes]:
    """Return the whole body of a request that is not answered now, and what reads inputs out of it.

    Raises
    ------
    Refusal
        It is of no type that the model takes, too large, or too slow.
    ClientGone
        The client left before its end.
    """
    reader = _reader(hosted, request=request)
    return reader, await body_of(hosted, request, budget, reader.max_bytes)


async def body_of(hosted: Hosted, request: Request, budget: ByteBudget, max_bytes: int) -> bytes:
    """Return the whole body of a request; whoever asks a model with it afterwards finds an empty one.

    Raises
    ------
    Refusal
        It is too large, or too slow.
    ClientGone
        The client left before its end.
    """
    return await _read(hosted, request, max_bytes, budget, math.inf)


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


def _reader(hosted: Hosted, *, request: Request) -> Reader:
    return reader_for(
        request.headers.get("content-type", ""),
        hosted.servable.wire,
        max_inputs=hosted.limits.max_inputs,
        max_body_bytes=hosted.limits.max_body_bytes,
    )


async def _read(hosted: Hosted, request: Request, max_bytes: int, budget: ByteBudget, wished: float) -> bytes:
    def reserve(n_bytes: int) -> None:
        budget.take(n_bytes, hosted.gate.retry_after_s())
        request.cleanup.callback(budget.give_back, n_bytes)

    arriving = request.body.read(max_bytes, timeout_s=hosted.limits.body_timeout_s, reserve=reserve)
    if wished == math.inf:
        return await arriving
    try:
        async with asyncio.timeout_at(wished):
            return await arriving
    except TimeoutError:
        raise _late("on its way") from None


def _produce(hosted: Hosted, question: Question, reader: Reader, content: bytes) -> Iterator[Answer]:
    return answered(hosted.servable, partial(question.ask, hosted.servable), reader.read(content))


async def _asked(
    hosted: Hosted, request: Request, *, budget: ByteBudget, reader: Reader, question: Question, eager: bool
) -> tuple[Work, Wait]:
    """Read the body, and put the work in line; return it with how long it is waited for."""
    clock = asyncio.get_running_loop().time
    wished = clock() + wished_s(request.headers)
    content = await _read(hosted, request, reader.max_bytes, budget, wished)
    request.cleanup.enter_context(cancelled_when_gone(request.body))
    now_s, each_s = clock(), hosted.limits.deadline_s
    wait = Wait(Patience(each_s, each_s, wished - now_s), now_s)
    request.visit.began_s = now_s
    request.visit.read = partial(reader.read, content) if question is PREDICTIONS else None
    if hosted.crew is not None and question is PREDICTIONS:
        return await _join(hosted, request, partial(reader.read, content), wait=wait, eager=eager), wait
    produce = partial(_produce, hosted, question, reader, content)
    return await _begin(hosted, request, produce, until=wait.until_s, eager=eager), wait


async def _entered(hosted: Hosted, until: float, *, noted: bool = True) -> float:
    if hosted.gate.is_open:  # A timer that cannot run out costs as much as one that can.
        return await hosted.gate.enter(noted=noted)
    try:
        async with asyncio.timeout_at(until):
            return await hosted.gate.enter(noted=noted)
    except TimeoutError:
        raise _late("in line", hosted.gate.retry_after_s()) from None


async def _join(
    hosted: Hosted, request: Request, read: Callable[[], Sequence[Input]], *, wait: Wait, eager: bool
) -> Share:
    """Put a request among those whose inputs are computed together."""
    waited_s = await _entered(hosted, wait.until_s, noted=False)
    # From here to `share` nothing awaits, so the place that was taken cannot be lost.
    patience = wait.left(asyncio.get_running_loop().time())
    request.times.model = hosted.servable.name
    share = hosted.share(read, request.times, eager=eager, patience=patience, waited_s=waited_s)
    request.cleanup.callback(hosted.withdraw, share)
    return share


async def _begin(
    hosted: Hosted, request: Request, produce: partial[Iterator[Answer]], *, until: float, eager: bool
) -> Job:
    times, began_s = request.times, time.perf_counter()
    times.model = hosted.servable.name
    try:
        await _entered(hosted, until)
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


def _note(request: Request, batch: Batch, *, whole: bool) -> None:
    """Note that a request is answered, and with what where nothing more comes."""
    request.visit.answered(asyncio.get_running_loop().time(), batch.answers if whole else ())


async def _next(hosted: Hosted, work: Work, until: float, question: Question = PREDICTIONS) -> Batch:
    try:
        async with asyncio.timeout_at(until):
            batch = await work.next()
    except TimeoutError:
        batch = Batch((), finished=True, error=Late())
    if isinstance(batch.error, Late):  # which a thread may see before the loop does
        raise _late("at work" if work.is_begun else "in line", hosted.gate.retry_after_s()) from None
    if question is PREDICTIONS:
        hosted.watch.saw(batch.answers)
    return batch


async def _lines(found: Conversation) -> AsyncIterator[bytes]:
    try:
        async for batch in found.batches():
            for answer in batch.answers:
                yield line(answer)
            if batch.error is not None:
                yield error_line(told(batch.error))
    except Exception as error:  # late, or no JSON; nobody but us can tell the client any more
        yield error_line(told(error))


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
