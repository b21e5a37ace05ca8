"""The ASGI application: one callable that joins routes, models, pages and errors.

It knows no task, no modality and no server; `server` is the process around it. A handler takes a request
and returns a response or raises a refusal; nothing else leaves it, and never a stack trace.
"""

from __future__ import annotations

import asyncio
import time
import unicodedata
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from topwork.errors import UsageError
from topwork.serving.batching.gate import ByteBudget, Turns, busy
from topwork.serving.dialects import Described
from topwork.serving.extra import missing
from topwork.serving.hosting import Hosted, Models
from topwork.serving.http.door import Door
from topwork.serving.http.messages import (
    Receive,
    Request,
    Response,
    Scope,
    Send,
    json_response,
    read_request,
    send,
)
from topwork.serving.http.origins import Origins
from topwork.serving.http.pages import page
from topwork.serving.http.refusals import ClientGone, Refusal
from topwork.serving.http.routes import Annex, Route, match
from topwork.serving.http.schemes import with_keys
from topwork.serving.limits import Limits
from topwork.serving.protocols import inference, openapi, sagemaker
from topwork.serving.protocols.prediction import EXPLANATIONS, predict, told
from topwork.serving.traffic.versions import Versions, signed
from topwork.serving.watching import monitoring
from topwork.serving.watching.logs import note_end
from topwork.serving.watching.tracing import REQUEST_ID, current, trace_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from topwork.contracts import Json, Servable
    from topwork.serving.dialects import Manners, Speak
    from topwork.serving.jobs.jobs import Jobs
    from topwork.serving.watching.metrics import Metrics, Seen
    from topwork.serving.watching.tracing import Spans, Trace

__all__ = ["Application", "application"]

_RETIRING_S = 0.5
"""From one look whether a model that is left out still answers to the next."""


class Application:
    """An ASGI application over some hosted servables; the first is the one that ``/predict`` asks.

    Parameters
    ----------
    hosted
        At least one; their names differ.
    limits
        The bounds that all share.
    door
        Who may ask; by default everybody, but only where this machine alone can reach the server.
    origins
        Pages of other origins that browsers may let ask; none by default.
    annex
        Further routes.
    jobs
        Requests that are answered later; None takes none.
    dialects
        Protocols that are spoken besides.

    Attributes
    ----------
    spans
        Who collects traces, if anybody does.
    """

    def __init__(
        self,
        hosted: Sequence[Hosted],
        limits: Limits,
        *,
        door: Door | None = None,
        origins: Sequence[str] = (),
        annex: Annex | None = None,
        jobs: Jobs | None = None,
        dialects: Sequence[Speak] = (),
    ) -> None:
        self._annex, self._jobs = annex or Annex(), jobs
        self._budget = ByteBudget(limits.max_buffered_bytes)
        self._metrics = _metrics(self, self._budget, jobs)
        self._dialects = tuple(speak(self, self._budget, self._metrics.registry) for speak in dialects)
        self._manners: tuple[Manners, ...] = (inference, *self._dialects)
        self._created_s = int(time.time())
        self._pages = {name: page(name) for name in ("index", "docs")}
        self._turns = Turns()
        self.spans: Spans | None = None
        self._retiring: set[asyncio.Task[None]] = set()
        self._take(hosted, limits, door or Door(None, local_only=True), origins)

    def _take(self, hosted: Sequence[Hosted], limits: Limits, door: Door, origins: Sequence[str]) -> None:
        models = {unicodedata.normalize("NFC", one.servable.name): one for one in hosted}
        if not hosted or len(models) < len(hosted):
            raise UsageError(
                f"Got {len(hosted)} models with {len(models)} different names; expected at least one, "
                "each with a name of its own.",
                next_step="Rename a bundle's file, or give its model a name in the settings.",
            )
        routes = self._all_routes(hosted)
        offer = self._jobs.offer if self._jobs is not None else None
        split = [one.servable.name for one in hosted if isinstance(one, Versions)]
        servables = [one.servable for one in hosted]
        spoken = [dialect.described(servables, limits) for dialect in self._dialects]
        described = openapi.document(
            servables, limits, [Described(self._annex.paths), *spoken], jobs=offer, split=split
        )
        described = with_keys(described, routes) if door.keyring is not None else described
        shared = Origins(origins, ("HEAD", *(route.method for route in routes)))
        # Nothing below can fail, and nothing awaits: either all of it is new, or all as it was.
        self.limits, self.models, self.routes, self.door = limits, models, routes, door
        self._openapi, self._origins = json_response(described), shared
        self._budget.resize(limits.max_buffered_bytes)

    def _all_routes(self, hosted: Sequence[Hosted]) -> tuple[Route, ...]:
        explained = (
            Route("POST", "/explain", self._explain),
            Route("POST", "/v1/models/{name}/explain", self._explain),
        )
        servables = [one.servable for one in hosted]
        explains = [one.explanation_schema is not None for one in servables]
        return (
            *(explained[0 if explains[0] else 1 :] if any(explains) else ()),
            Route("POST", "/predict", self._predict),
            Route("GET", "/v1/models", self._list),
            Route("GET", "/v1/models/{name}", self._about),
            Route("POST", "/v1/models/{name}/predict", self._predict),
            Route("GET", "/livez", self._livez, "open"),
            Route("GET", "/readyz", self._readyz, "open"),
            *monitoring.routes(self),
            *self._metrics.routes(),
            *inference.routes(self, self._budget),
            *sagemaker.routes(self, self._budget),
            *(route for dialect in self._dialects for route in dialect.routes(servables)),
            *(self._jobs.routes(self, self._budget) if self._jobs is not None else ()),
            Route("GET", "/openapi.json", self._describe, "open"),
            Route("GET", "/docs", self._docs, "open"),
            Route("GET", "/", self._index, "open"),
            *self._annex.routes,
        )

    # --- its life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Start threads and proofs; needs a running event loop."""
        for hosted in self.models.values():
            hosted.start()
        if self._jobs is not None:
            self._jobs.start()

    async def proven(self) -> None:
        """Wait until every model has passed its proof.

        Raises
        ------
        ProofError
            One did not.
        """
        await asyncio.gather(*(hosted.proven() for hosted in self.models.values()))

    def adopt(
        self, hosted: Sequence[Hosted], limits: Limits, *, door: Door, origins: Sequence[str] = ()
    ) -> None:
        """Answer with these models, within these bounds, to these clients from now on; models are started and proven.

        A request that is under way ends with the model that it began with. Models that are left out are stopped when no
        request can need them any more.

        Raises
        ------
        UsageError
            There is no model, two share a name, or an origin is none; everything is as it was.
        """
        before, patience_s = self._leaves(), self.limits.body_timeout_s + self.limits.deadline_s
        self._take(hosted, limits, door, origins)
        left = self._leaves()
        if not (gone := [one for one in before if one not in left]):
            return
        retiring = asyncio.create_task(self._retire(gone, self._turns.next(), patience_s))
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)

    def _leaves(self) -> list[Hosted]:
        """Return every servable, each version of a model for itself."""
        return [one for hosted in self.models.values() for _, one in hosted.leaves()]

    def _is_quiet(self) -> bool:
        return all(hosted.is_quiet() for hosted in self.models.values())

    async def _retire(self, gone: Sequence[Hosted], turn: int, patience_s: float) -> None:
        """Stop models once all have left who came before they were left out.

        After a body and a deadline all have, save those whose answers come in pieces still, and those who read slowly.
        """
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    await self._turns.left(turn)
            while not all(hosted.is_quiet() for hosted in gone):
                await asyncio.sleep(_RETIRING_S)
        finally:
            await asyncio.gather(*(asyncio.to_thread(hosted.stop) for hosted in gone))

    async def stop(self) -> None:
        """End the threads; requests under way have had their time."""
        if self._jobs is not None:
            await self._jobs.stop()
        for retiring in self._retiring:
            retiring.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        await asyncio.gather(*(asyncio.to_thread(hosted.stop) for hosted in self.models.values()))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start, and stop at the end: what a server's lifespan does, for tests and for embedding."""
        self.start()
        try:
            yield
        finally:
            await self.stop()

    # --- ASGI -------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send_message: Send) -> None:
        """Take one connection, as ASGI has it."""
        if scope["type"] == "http":
            await self._exchange(read_request(scope, receive), send_message)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send_message)
        elif scope["type"] == "websocket":
            await send_message({"type": "websocket.close", "code": 1003})

    async def _lifespan(self, receive: Receive, send_message: Send) -> None:
        await receive()
        self.start()
        await send_message({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send_message({"type": "lifespan.shutdown.complete"})

    async def _exchange(self, request: Request, send_message: Send) -> None:
        with self._followed(request) as (trace, seen):
            try:
                with request.cleanup, self._turns.inside():
                    request.visit.is_quiet = self._is_quiet
                    answer = signed(await self._respond(request, seen), request.visit)
                    response = self._origins.share(request, answer)
                    request.visit.status = response.status
                    named = {**response.headers, REQUEST_ID: trace.request_id}
                    await send(request, replace(response, headers=named), send_message)
                    seen.status = str(response.status)
            except ClientGone:
                return

    @contextmanager
    def _followed(self, request: Request) -> Iterator[tuple[Trace, Seen]]:
        """Count a request, let the log know which one it is, and tell of its end."""
        span = None if self.spans is None else self.spans.begin(request.headers)
        trace = trace_of(request.headers) if span is None else span.trace

        def note(seen: Seen) -> None:
            note_end(seen, request.times)
            if span is not None:
                span.end(seen, request.times)

        with current(trace), self._metrics.watching(note) as seen:
            yield trace, seen

    async def _respond(self, request: Request, seen: Seen) -> Response:
        try:
            self.door.require_host(request)
            if (answer := self._origins.preflight(request)) is not None:
                return answer
            route, arguments = match(self.routes, request)
            seen.method, seen.route = route.method, route.path
            if request.surplus and route.scope != "open":
                raise self._full(request.surplus)
            key = self.door.admit(request, route.scope)
            known = (
                request if key is None else replace(request, owner=key.prefix, is_admin="admin" in key.scopes)
            )
            return await route.handler(known, *arguments)
        except ClientGone:
            raise
        except Exception as error:
            refusal = told(error)
            seen.refused = refusal.code
            for manners in self._manners:
                if manners.owns(request):
                    return manners.refused(refusal)
            return json_response(refusal.body(), status=refusal.status, headers=refusal.headers)

    def _full(self, problem: str) -> Refusal:
        return busy(problem, max(hosted.gate.retry_after_s() for hosted in self.models.values()))

    # --- its models, as protocols see them -----------------------------------------------------------

    def named(self, name: str | None) -> Hosted:
        """Return the model called so; the first one without a name.

        Raises
        ------
        Refusal
            404: there is none.
        """
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise Refusal(
                "not_found",
                f"There is no model {name[:200]!r}.",
                next_step=f"Models here: {', '.join(self.models)}.",
            )
        return self.models[name]

    def every(self) -> Sequence[Hosted]:
        """Return all models."""
        return tuple(self.models.values())

    # --- handlers ---------------------------------------------------------------------------------

    async def _predict(self, request: Request, name: str | None = None) -> Response:
        return await predict(self.named(name), request, self._budget)

    async def _explain(self, request: Request, name: str | None = None) -> Response:
        hosted = self.named(name)
        if hosted.servable.explanation_schema is None:
            raise Refusal(
                "not_found",
                f"The model {hosted.servable.name!r} cannot say what drives its answers.",
                next_step="Its report shows where it looks; models for texts explain themselves here too.",
            )
        return await predict(hosted, request, self._budget, EXPLANATIONS)

    async def _list(self, _: Request) -> Response:
        models: list[Json] = [self._summary(hosted) for hosted in self.models.values()]
        return json_response({"object": "list", "data": models, "models": models})

    def _summary(self, hosted: Hosted) -> dict[str, Json]:
        """Return what lists say of a model; half of it is for clients of the OpenAI API."""
        name = hosted.servable.name
        listed: dict[str, Json] = {
            "id": name,
            "object": "model",
            "created": self._created_s,
            "owned_by": "topwork",
        }
        return {"name": name, "state": hosted.state, **listed}

    async def _about(self, _: Request, name: str) -> Response:
        hosted = self.named(name)
        servable = hosted.servable
        return json_response(
            {
                **self._summary(hosted),
                "about": servable.about,
                "input": openapi.wire_json(servable.wire, self.limits),
                "answer_schema": servable.answer_schema,
                "explanation_schema": servable.explanation_schema,
            }
        )

    async def _livez(self, _: Request) -> Response:
        return json_response({"status": "alive"})

    async def _readyz(self, _: Request) -> Response:
        for hosted in self.models.values():
            hosted.require_ready()
        return json_response({"status": "ready"})

    async def _describe(self, _: Request) -> Response:
        return self._openapi

    async def _docs(self, _: Request) -> Response:
        return self._pages["docs"]

    async def _index(self, _: Request) -> Response:
        return self._pages["index"]


def _metrics(models: Models, budget: ByteBudget, jobs: Jobs | None) -> Metrics:
    try:
        from topwork.serving.watching.metrics import Metrics
    except ImportError as error:
        raise missing(error) from error
    return Metrics(models, budget, jobs=jobs)


def application(
    servable: Servable, limits: Limits | None = None, *, door: Door | None = None, origins: Sequence[str] = ()
) -> Application:
    """Build the application for one servable; the rest is as of `Application`."""
    bounds = limits or Limits()
    return Application([Hosted(servable, bounds)], bounds, door=door, origins=origins)
