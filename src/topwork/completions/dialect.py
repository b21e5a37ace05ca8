"""The routes of the OpenAI API over the models of a server: completions, chats and embeddings.

Models that write are told by the schema of their answers, those that embed by theirs; neither is known otherwise.
Errors look as the clients of this API read them. ``/v1/models`` is the server's own, which lists what they look for.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from topwork.completions.asks import Ask, read_chat, read_completion
from topwork.completions.embeddings import EMBEDDING, EmbeddingAsk, read_embedding, vectors_told
from topwork.completions.fields import Wrong
from topwork.completions.replies import Told, event, told_error
from topwork.completions.schemas import described
from topwork.serving.dialects import Described
from topwork.serving.http.bodies import Input, Reader
from topwork.serving.http.messages import Request, Response, json_response
from topwork.serving.http.refusals import Refusal
from topwork.serving.http.routes import Route
from topwork.serving.protocols.prediction import Conversation, body_of, converse, told

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from topwork.completions.counts import Counts, Watch
    from topwork.contracts import Answer, Json, Servable
    from topwork.serving.batching.gate import ByteBudget
    from topwork.serving.hosting import Hosted, Models
    from topwork.serving.limits import Limits

__all__ = ["speak"]

AskT = TypeVar("AskT", Ask, EmbeddingAsk)
Read: TypeAlias = Callable[[bytes, int], AskT]
"""Reads a body that may ask for so many inputs."""

_MOST_BYTES: Final = 8 * 2**20
_SLOW_BYTES: Final = 64 * 2**10
"""A body beyond that is parsed in a thread, so that nobody else waits for it."""
_STREAM: Final = {"cache-control": "no-cache", "x-accel-buffering": "no"}
_KINDS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def speak(models: Models, budget: ByteBudget, registry: CollectorRegistry) -> Completions:
    """Make the dialect; see `topwork.serving.dialects.Speak`."""
    from topwork.completions.counts import Counts

    return Completions(models, budget, Counts(registry))


@dataclass(frozen=True, slots=True)
class Completions:
    """The API over some models; see `topwork.serving.dialects.Dialect`."""

    models: Models
    budget: ByteBudget
    counts: Counts

    def routes(self, servables: Sequence[Servable]) -> tuple[Route, ...]:
        """Return the routes of what these models can do."""
        writing = (
            Route("POST", "/v1/completions", self.complete),
            Route("POST", "/v1/chat/completions", self.chat),
        )
        embedding = (Route("POST", "/v1/embeddings", self.embed),)
        return (
            *(writing if any(map(_WRITES.can, servables)) else ()),
            *(embedding if any(map(_EMBEDS.can, servables)) else ()),
        )

    def described(self, servables: Sequence[Servable], limits: Limits) -> Described:
        """Describe them."""
        writing = [one.name for one in servables if _WRITES.can(one)]
        embedding = [one.name for one in servables if _EMBEDS.can(one)]
        return described(writing, embedding, max_inputs=limits.max_inputs)

    def owns(self, request: Request) -> bool:
        """Tell whether a request is one of this API's."""
        return request.segments[:2] in (("v1", "completions"), ("v1", "chat"), ("v1", "embeddings"))

    def refused(self, refusal: Refusal) -> Response:
        """Return an error as the API has it; an input that cannot be taken is a bad request there."""
        status = 400 if refusal.status in (415, 422) else refusal.status
        return json_response(_error(refusal, status), status=status, headers=refusal.headers)

    # --- what is asked ------------------------------------------------------------------------------------

    async def complete(self, request: Request) -> Response:
        """Write texts on."""
        return await self._write(request, read_completion)

    async def chat(self, request: Request) -> Response:
        """Answer chats."""
        return await self._write(request, read_chat)

    async def embed(self, request: Request) -> Response:
        """Turn texts into vectors."""
        ask, hosted = await self._asked(request, read_embedding, _EMBEDS)
        found = await self._converse(request, hosted, lambda: ask.inputs(hosted.servable.wire))
        if found.first.error is not None:
            raise told(found.first.error)
        return json_response(vectors_told(found.first.answers, ask, found.model))

    async def _write(self, request: Request, read: Read[Ask]) -> Response:
        began_s = time.perf_counter()
        ask, hosted = await self._asked(request, read, _WRITES)
        found = await self._converse(request, hosted, lambda: tuple(order.encoded() for order in ask.orders))
        said = Told(ask, found.model, uuid.uuid4().hex, time.time())
        watch = self.counts.watch(found.model, began_s, streams=ask.streams)
        _require_good(found.first.answers)
        if ask.streams:
            return Response(200, "text/event-stream", _events(found, said, watch), _STREAM)
        async for batch in found.batches():
            if batch.error is not None:
                raise told(batch.error)
            _require_good(batch.answers)
            said.take(batch.answers)
        watch.count(*said.n_tokens)
        watch.end()
        return json_response(said.whole())

    async def _asked(self, request: Request, read: Read[AskT], able: _Able) -> tuple[AskT, Hosted]:
        """Read what is asked, and find out of whom."""
        first = self.models.named(None)
        _require_json(request)
        content = await body_of(first, request, self.budget, min(first.limits.max_body_bytes, _MOST_BYTES))
        if len(content) > _SLOW_BYTES:
            ask = await asyncio.to_thread(read, content, first.limits.max_inputs)
        else:
            ask = read(content, first.limits.max_inputs)
        return ask, self._chosen(ask.model, able)

    def _chosen(self, name: str | None, able: _Able) -> Hosted:
        if name is None:
            return next(one for one in self.models.every() if able.can(one.servable))
        hosted = self.models.named(name)
        if not able.can(hosted.servable):
            others = ", ".join(one.servable.name for one in self.models.every() if able.can(one.servable))
            raise Wrong("model", f"{name} {able.cannot}.", f"Models that do: {others}.")
        return hosted

    async def _converse(
        self, request: Request, hosted: Hosted, inputs: Callable[[], tuple[Input, ...]]
    ) -> Conversation:
        reader = Reader(lambda _: inputs(), hosted.limits.max_body_bytes)
        return await converse(hosted, request, self.budget, lambda _: reader)


@dataclass(frozen=True, slots=True)
class _Able:
    """Something that a model can do or not: by what the answers of those that can are made of."""

    keys: tuple[str, ...]
    cannot: str

    def can(self, servable: Servable) -> bool:
        required = servable.answer_schema.get("required")
        return isinstance(required, list | tuple) and tuple(required) == self.keys


_WRITES: Final = _Able(("text", "ending", "n_prompt_tokens", "n_tokens", "tokens"), "writes no texts")
_EMBEDS: Final = _Able((EMBEDDING,), "gives no embeddings of texts")


async def _events(found: Conversation, said: Told, watch: Watch) -> AsyncIterator[bytes]:
    try:
        async for batch in found.batches():
            _require_good(batch.answers)
            for piece in said.pieces(batch.answers):
                yield piece
            watch.count(*said.n_tokens)
            if batch.error is not None:
                raise batch.error
        watch.end()
        for piece in said.last():
            yield piece
    except Exception as error:  # what was sent cannot be taken back
        refusal = told(error)
        yield event(_error(refusal, refusal.status))


def _require_good(answers: Sequence[Answer]) -> None:
    """Refuse the whole request for an order that cannot be carried out: this API knows no answer in parts."""
    for answer in answers:
        if answer.problem is not None:
            raise Wrong(None, " ".join(answer.problem.split()))


def _require_json(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in ("", "application/json"):
        raise Wrong(None, f"The content type is {media_type[:100]!r}; expected application/json.")


def _error(refusal: Refusal, status: int) -> dict[str, Json]:
    message = f"{refusal.problem} {refusal.next_step}".rstrip()
    param = refusal.param if isinstance(refusal, Wrong) else None
    code = "model_not_found" if refusal.code == "not_found" else refusal.code
    return told_error(message, kind=_KINDS.get(status, "server_error"), param=param, code=code)
