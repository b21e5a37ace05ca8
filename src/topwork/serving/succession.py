"""A server's settings applied again while it answers: what changed is opened, proven and put in the place of the old.

Whatever goes wrong on the way leaves everything as it was. It knows no kind of model and no format of settings: both
come as functions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from topwork.errors import TopworkError, UsageError
from topwork.serving.access import keys_for, open_door
from topwork.serving.admin import annex
from topwork.serving.app import Application
from topwork.serving.hosting import Hosted
from topwork.serving.limits import Limits
from topwork.serving.marks import Mark, mark_of
from topwork.serving.refusals import Refusal
from topwork.serving.settings import ModelSettings, ServerSettings, checked
from topwork.serving.work import in_thread

if TYPE_CHECKING:
    from topwork.contracts import Json
    from topwork.serving.door import Door
    from topwork.serving.hangups import Hangups

__all__ = ["Changes", "Opener", "Succession"]

LOG = logging.getLogger("topwork.serving")
FIXED = ("host", "port")

Opener: TypeAlias = Callable[[ModelSettings, Limits], Hosted]
"""Opens a model; called in a thread of its own."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What another look at the settings changed: names of models, and whether any bound is another one."""

    opened: tuple[str, ...]
    kept: tuple[str, ...]
    removed: tuple[str, ...]
    limits: bool

    def to_json(self) -> dict[str, Json]:
        """Return it as the answer of an admin call."""
        names: dict[str, Json] = {
            "opened": list(self.opened),
            "kept": list(self.kept),
            "removed": list(self.removed),
        }
        return {**names, "limits_changed": self.limits}


@dataclass(frozen=True, slots=True)
class _Post:
    """A model with what it was opened from: its settings, which files those were, and those that it needed besides."""

    settings: ModelSettings
    mark: Mark
    mark_of_others: Mark
    hosted: Hosted

    def holds(self, settings: ModelSettings, mark: Mark) -> bool:
        """Tell whether it would be opened from the same settings and files today."""
        as_opened = (self.settings, self.mark, self.mark_of_others)
        return as_opened == (settings, mark, mark_of(self.hosted.made_of))


class Succession:
    """Keeps an application to its settings.

    Parameters
    ----------
    read
        Gives the settings as they are now; called in a thread of its own.
    open_model
        Opens one of their models.
    on_change
        Told of every change, on the event loop.
    hangups
        Those of the process, where each asks for another look.

    Attributes
    ----------
    settings
        Those that hold.
    app
        What answers.
    on_limits
        Told of the bounds whenever settings were applied.

    Raises
    ------
    TopworkError
        The settings, or a model, cannot be had.
    """

    def __init__(
        self,
        read: Callable[[], ServerSettings],
        open_model: Opener,
        *,
        on_change: Callable[[Changes], None] = lambda _: None,
        hangups: Hangups | None = None,
    ) -> None:
        self._read, self._open = read, open_model
        self._on_change, self.hangups = on_change, hangups
        self.on_limits: Callable[[Limits], None] = lambda _: None
        self._lock = asyncio.Lock()
        self._queued: asyncio.Task[Changes] | None = None
        self._tasks: set[asyncio.Task[Changes]] = set()
        self._ended = False
        self.settings = checked(read())
        # Before the models are opened, which takes longer.
        door = open_door(self.settings.access, self.settings.host, self.settings.limits)
        self._posts = self._staffed(self.settings, ())
        self.app = Application(
            [post.hosted for post in self._posts],
            self.settings.limits,
            door=door,
            origins=self.settings.allow_origin,
            annex=annex(self.reload),
        )

    # --- who asks ---------------------------------------------------------------------------------------

    def ask(self) -> asyncio.Task[Changes] | None:
        """Look at the settings again, now or after the look that is under way; None at the end of the server.

        However often it is asked, one look is under way and one in line; the latter sees all that was there before.
        """
        if self._ended:
            return None
        if self._queued is None:
            self._queued = asyncio.create_task(self._take_turn())
            self._tasks.add(self._queued)
            self._queued.add_done_callback(self._noted)
        return self._queued

    async def reload(self) -> dict[str, Json]:
        """Look again, and return what changed, as the answer of a call.

        Raises
        ------
        Refusal
            409, with why nothing was changed; 503 where the server ends.
        """
        if (look := self.ask()) is None:
            raise _ending()
        try:
            return (await asyncio.shield(look)).to_json()
        except asyncio.CancelledError:
            if look.cancelled():
                raise _ending() from None
            raise
        except TopworkError as error:
            raise Refusal("conflict", error.problem, next_step=error.next_step) from error

    def end(self) -> None:
        """Give up a look that is under way, and begin no other."""
        self._ended = True
        for task in self._tasks:
            task.cancel()

    def _noted(self, look: asyncio.Task[Changes]) -> None:
        self._tasks.discard(look)
        if look.cancelled():
            return
        if (error := look.exception()) is not None:
            unexpected = None if isinstance(error, TopworkError) else error
            LOG.error("The settings were not applied; all is as it was. %s", error, exc_info=unexpected)

    # --- what is done -----------------------------------------------------------------------------------

    async def _take_turn(self) -> Changes:
        async with self._lock:
            self._queued = None
            await self.app.proven()
            return await self._apply(await in_thread(self._look, "topwork-settings"))

    def _look(self) -> ServerSettings:
        settings = checked(self._read())
        _require_fixed(self.settings, settings)
        return settings

    async def _apply(self, settings: ServerSettings) -> Changes:
        before, door = self._posts, self._door(settings)
        posts = await in_thread(partial(self._staffed, settings, before), "topwork-opening")
        fresh = [post.hosted for post in posts if post not in before]
        try:
            for one in fresh:
                one.start()
            await asyncio.gather(*(one.proven() for one in fresh))
            hosted = [post.hosted for post in posts]
            self.app.adopt(hosted, settings.limits, door=door, origins=settings.allow_origin)
        except BaseException:
            for one in fresh:
                await asyncio.to_thread(one.stop)
            raise
        changes = _changes(before, posts, self.settings.limits != settings.limits)
        self.settings, self._posts = settings, posts
        self.on_limits(settings.limits)
        self._on_change(changes)
        return changes

    def _door(self, settings: ServerSettings) -> Door:
        """Return the door that there is, which remembers who came how often; another one where it is to be another."""
        given, held = (
            (keys_for(one.access, one.host), one.no_keys, one.allow_host, one.limits.wrong_keys_per_minute)
            for one in (settings, self.settings)
        )
        same = given == held
        return self.app.door if same else open_door(settings.access, settings.host, settings.limits)

    def _staffed(self, settings: ServerSettings, before: Sequence[_Post]) -> tuple[_Post, ...]:
        """Return a post for each model: the one that there is where nothing changed, else a new one."""
        posts: list[_Post] = []
        try:
            for one in settings.models:
                posts.append(self._post(one, settings.limits, before))  # noqa: PERF401 - some may be ended
        except BaseException:
            for post in posts:
                if post not in before:
                    post.hosted.stop()
            raise
        return tuple(posts)

    def _post(self, settings: ModelSettings, limits: Limits, before: Sequence[_Post]) -> _Post:
        # Before the files are opened, so that a change meanwhile is seen the next time.
        mark = mark_of(settings.paths)
        same = next((post for post in before if post.holds(settings, mark)), None)
        if same is None:
            hosted = self._open(settings, limits)
            _follow(hosted, before)
            return _Post(settings, mark, mark_of(hosted.made_of), hosted)
        return same if same.hosted.limits == limits else replace(same, hosted=same.hosted.under(limits))


def _follow(opened: Hosted, before: Sequence[_Post]) -> None:
    """Let a model begin with as many processes as the one of its name has, so that none is missing at the change."""
    for post in before:
        old = post.hosted.staff
        if old is not None and opened.staff is not None and post.hosted.servable.name == opened.servable.name:
            opened.staff.follow(old.headcount.wanted)


def _ending() -> Refusal:
    return Refusal("unavailable", "The server is ending; the settings were not applied.")


def _require_fixed(before: ServerSettings, after: ServerSettings) -> None:
    for name in FIXED:
        was, given = getattr(before, name), getattr(after, name)
        if was != given:
            raise UsageError(
                f"{name} is {given}; the server runs with {was}, which cannot change while it runs.",
                next_step=f"Put {name} back, or start the server anew.",
            )


def _changes(before: Sequence[_Post], after: Sequence[_Post], limits: bool) -> Changes:
    old = {id(post.hosted.servable) for post in before}
    named = [(post.hosted.servable.name, id(post.hosted.servable) in old) for post in after]
    there = {name for name, _ in named}
    return Changes(
        opened=tuple(name for name, was_there in named if not was_there),
        kept=tuple(name for name, was_there in named if was_there),
        removed=tuple(n for post in before if (n := post.hosted.servable.name) not in there),
        limits=limits,
    )
