"""The game behind HTTP: a page, games by their ids, and a turn as lines of JSON while it is written.

Only this machine reaches it, only its own page may ask it to do something, and a client that leaves ends what is being
written for it. It knows no rule of the game.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from topwork.errors import DataError, TopworkError, UsageError
from topwork.play.events import Event, Left, Notice, as_json
from topwork.play.starts import GENRES, drawn_start, own_start
from topwork.play.story import Story
from topwork.serving.http.door import Door
from topwork.serving.http.messages import (
    Receive,
    Request,
    Response,
    Scope,
    Send,
    dumps,
    json_response,
    read_request,
    send,
)
from topwork.serving.http.pages import page
from topwork.serving.http.refusals import ClientGone, Refusal
from topwork.serving.http.routes import Route, match
from topwork.serving.limits import Limits
from topwork.serving.protocols.prediction import STREAM_TYPE, told

if TYPE_CHECKING:
    from topwork.contracts import Json
    from topwork.play.game import Game

__all__ = ["LIMITS", "Site"]

LOG = logging.getLogger("topwork.play")
LIMITS: Final = Limits(
    max_body_bytes=64 * 1024, max_connections=256, body_timeout_s=10.0, drain_s=2.0, keep_alive_s=5.0
)
_MOST_GAMES: Final = 16
_ID: Final = re.compile(r"[A-Za-z0-9_-]{16}")
_FROM_HERE: Final = ("same-origin", "none")


@dataclass(slots=True)
class _Seat:
    """A game that is open, and who may move in it: one at a time."""

    game: Game
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Site:
    """An ASGI application over games.

    Parameters
    ----------
    seat
        Makes a game of the name under which it is saved, and a story.
    draw
        Gives a seed for each new story.
    first
        Gives the story that a new game has where its page does not choose one; others have its settings.
    asks
        Whether a page asks its player how the story is to begin, before there is one.
    most_games
        Games open at once; of more, the one that was used least recently is closed. Its story stays where it is saved.
    """

    def __init__(
        self,
        seat: Callable[[str, Story], Game],
        *,
        draw: Callable[[], int],
        first: Callable[[], Story],
        asks: bool = True,
        most_games: int = _MOST_GAMES,
    ) -> None:
        self._seat, self._draw, self._first = seat, draw, first
        self._asks, self._most = asks, most_games
        self._seats: OrderedDict[str, _Seat] = OrderedDict()
        self._page = page("play")
        self.limits, self.door = LIMITS, Door(None, local_only=True)
        self.routes = (
            Route("GET", "/", self._index, "open"),
            Route("GET", "/readyz", self._ready, "open"),
            Route("GET", "/genres", self._genres),
            Route("POST", "/games", self._begin),
            Route("GET", "/games/{id}", self._show),
            Route("POST", "/games/{id}/moves", self._move),
        )

    async def proven(self) -> None:
        """Return at once: a model has proven itself when it was opened."""

    # --- ASGI -------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send_message: Send) -> None:
        """Take one connection, as ASGI has it."""
        if scope["type"] == "http":
            request = read_request(scope, receive)
            with suppress(ClientGone), request.cleanup:
                await send(request, await self._respond(request), send_message)
        elif scope["type"] == "lifespan":
            for step in ("startup", "shutdown"):
                await receive()
                await send_message({"type": f"lifespan.{step}.complete"})
        elif scope["type"] == "websocket":
            await send_message({"type": "websocket.close", "code": 1003})

    async def _respond(self, request: Request) -> Response:
        try:
            self.door.require_host(request)
            route, arguments = match(self.routes, request)
            self.door.admit(request, route.scope)
            if request.surplus and route.scope != "open":
                raise Refusal("busy", request.surplus, next_step="Close a page, or try again later.")
            if route.method == "POST":
                _require_own(request)
            return await route.handler(request, *arguments)
        except ClientGone:
            raise
        except Exception as error:
            refusal = _refusal(error)
            return json_response(refusal.body(), status=refusal.status, headers=refusal.headers)

    # --- handlers ---------------------------------------------------------------------------------

    async def _index(self, _: Request) -> Response:
        return self._page

    async def _ready(self, _: Request) -> Response:
        return json_response({"status": "ready"})

    async def _genres(self, _: Request) -> Response:
        found: list[Json] = [{"name": name, "title": genre.title} for name, genre in GENRES.items()]
        return json_response({"genres": found, "asks": self._asks})

    async def _begin(self, request: Request) -> Response:
        body = await _read(request)
        story = self._story(_text(body, "genre"), _text(body, "prompt"))
        key = secrets.token_urlsafe(12)
        self._take(key, self._seat(_name(key), story))
        return json_response(_state(key, self._seats[key].game), status=201)

    def _story(self, genre: str, prompt: str) -> Story:
        if not genre and not prompt:
            return self._first()
        seed = self._draw()
        start = own_start(prompt) if prompt else drawn_start(genre, seed)
        return Story(start, seed, settings=self._first().settings)

    async def _show(self, _: Request, key: str) -> Response:
        seat = self._found(key)
        async with seat.turn:  # what is being written is over soon: who wrote it has left
            return json_response(_state(key, seat.game))

    async def _move(self, request: Request, key: str) -> Response:
        body = await _read(request)
        kind, words = _text(body, "kind"), _text(body, "text")
        seat = self._found(key)
        if seat.turn.locked():
            raise Refusal(
                "conflict",
                "Another turn of this game is still being written.",
                next_step="Wait until it is over.",
            )
        await seat.turn.acquire()
        is_line = kind == "line" or words.lstrip().startswith("/")
        events = seat.game.take(words) if is_line else seat.game.play(kind, words)
        return Response(200, STREAM_TYPE, _lines(_Writing(events, seat.turn), request))

    # --- games ------------------------------------------------------------------------------------

    def _found(self, key: str) -> _Seat:
        """Return an open game; one that was closed is opened again from where it is saved."""
        if key in self._seats:
            self._seats.move_to_end(key)
            return self._seats[key]
        if _ID.fullmatch(key):
            game = self._seat(_name(key), self._first())
            with suppress(UsageError):  # there is none of that name
                game.story = game.saves.read(_name(key))
                return self._take(key, game)
        raise Refusal("not_found", "There is no such game here.", next_step="Begin a new one.")

    def _take(self, key: str, game: Game) -> _Seat:
        idle = [name for name, seat in self._seats.items() if not seat.turn.locked()]
        if len(self._seats) >= self._most:
            if not idle:
                raise Refusal(
                    "busy", "Every game here is in the middle of a turn.", next_step="Try again soon."
                )
            del self._seats[idle[0]]
        self._seats[key] = _Seat(game)
        return self._seats[key]


class _Writing:
    """Events of a turn, made by a thread of their own, for a loop to wait for.

    Parameters
    ----------
    events
        What happens; closed in the thread when it is over, or nobody waits any more.
    turn
        Is let go of after that.
    """

    def __init__(self, events: Generator[Event], turn: asyncio.Lock) -> None:
        self._events, self._turn = events, turn
        self._loop = asyncio.get_running_loop()
        self._left = threading.Event()
        self.told: asyncio.Queue[Event | None] = asyncio.Queue()
        threading.Thread(target=self._run, name="topwork-play", daemon=True).start()

    def leave(self) -> None:
        """Wait no more: the thread writes nothing further, and what it has stays."""
        self._left.set()

    def _run(self) -> None:
        try:
            for event in self._events:
                self._put(event)
                if self._left.is_set():
                    break
        except Exception:
            LOG.exception("a turn failed")
            self._put(Notice("The game made a mistake; what happened is in its log."))
        finally:
            self._events.close()
            with suppress(RuntimeError):  # the loop has ended before
                self._loop.call_soon_threadsafe(self._turn.release)
            self._put(None)

    def _put(self, event: Event | None) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.told.put_nowait, event)


async def _lines(writing: _Writing, request: Request) -> AsyncIterator[bytes]:
    """Give events as they come, a line of JSON each, until the client leaves."""
    gone = asyncio.ensure_future(request.body.gone())
    try:
        while True:
            one = asyncio.ensure_future(writing.told.get())
            await asyncio.wait({one, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not one.done():
                one.cancel()
                raise ClientGone
            if (event := one.result()) is None:
                return
            if not isinstance(event, Left):  # a page is left by closing it
                yield dumps(as_json(event)) + b"\n"
    finally:
        gone.cancel()
        writing.leave()


# --- small parts ------------------------------------------------------------------------------------------


def _name(key: str) -> str:
    return f"web-{key}"


def _state(key: str, game: Game) -> dict[str, Json]:
    """Return what a page shows of a game."""
    story = game.story
    turns: list[Json] = [
        {"kind": one.kind, "action": one.action, "result": one.result} for one in story.turns
    ]
    remembered: list[Json] = list(story.remembered)
    return {
        "id": key,
        "model": game.narrator.name,
        "genre": story.start.genre,
        "context": story.start.context,
        "opening": story.start.opening,
        "remembered": remembered,
        "turns": turns,
    }


def _require_own(request: Request) -> None:
    """Refuse what a page of another origin sends: browsers say where a page is from, and ask before they send JSON."""
    headers = request.headers
    origin, host = headers.get("origin"), headers.get("host", "")
    if (origin is not None and origin != f"http://{host}") or (
        headers.get("sec-fetch-site", "none") not in _FROM_HERE
    ):
        raise Refusal(
            "forbidden", "Only the page of this server may ask for that.", next_step="Open that page."
        )
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(
            "unsupported_media_type",
            f"The body is {headers.get('content-type', 'of no type')[:60]!r}; expected application/json.",
        )


async def _read(request: Request) -> Mapping[str, Any]:
    content = await request.body.read(
        LIMITS.max_body_bytes, timeout_s=LIMITS.body_timeout_s, reserve=lambda _: None
    )
    try:
        found = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Refusal(
            "bad_request", "The body is no JSON object.", next_step='Send something like {"text": ""}.'
        )
    return found


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key, "")
    if not isinstance(value, str):
        raise Refusal("bad_request", f"{key!r} is {value!r:.40}; expected a text.")
    return value


def _refusal(error: Exception) -> Refusal:
    """Return what a page is told: what its player can do something about is no fault of the server."""
    if isinstance(error, (UsageError, DataError)) and not isinstance(error, Refusal):
        assert isinstance(error, TopworkError)
        return Refusal("bad_input", error.problem, next_step=error.next_step)
    return told(error)
