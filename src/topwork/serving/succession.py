"""A server's settings applied again while it answers: what changed is opened, proven and put in the place of the old.

Whatever goes wrong on the way leaves everything as it was. It knows no kind of model and no format of settings: both
come as functions.
"""

from __future__ import annotations

import asyncio
import logging
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from topwork.errors import TopworkError, UsageError
from topwork.serving.app import Application
from topwork.serving.batching.work import in_thread
from topwork.serving.http.access import keys_for, open_door
from topwork.serving.http.admin import annex
from topwork.serving.http.refusals import Refusal
from topwork.serving.jobs.opening import open_jobs
from topwork.serving.limits import Limits
from topwork.serving.settings.declared import ServerSettings, checked
from topwork.serving.traffic.admin import traffic_annex
from topwork.serving.traffic.directory import Candidate
from topwork.serving.traffic.newcomers import Newcomers
from topwork.serving.traffic.posts import Opener, Post, fresh_of, leaves_of, recalled, staffed
from topwork.serving.traffic.shelf import Shelf
from topwork.serving.traffic.verdicts import Verdicts
from topwork.serving.traffic.versions import Versions

if TYPE_CHECKING:
    from topwork.contracts import Json
    from topwork.serving.dialects import Speak
    from topwork.serving.hangups import Hangups
    from topwork.serving.http.door import Door
    from topwork.serving.jobs.batches import RunBatch

__all__ = ["Changes", "Opener", "Succession"]

LOG = logging.getLogger("topwork.serving")
FIXED = ("host", "port", "log_format", "jobs", "batches_below", "allow_webhook", "webhook_secret", "verdicts")
T = TypeVar("T")


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
    run_batch
        Carries out a batch, where the settings allow some.
    dialects
        As of `topwork.serving.app.Application`.

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
        run_batch: RunBatch | None = None,
        dialects: Sequence[Speak] = (),
    ) -> None:
        self._shelf = Shelf()
        self._read, self._open = read, self._shelf.shelving(open_model)
        self._on_change, self.hangups = on_change, hangups
        self.on_limits: Callable[[Limits], None] = lambda _: None
        self._lock = asyncio.Lock()
        self._queued: asyncio.Task[Changes] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ended = False
        self.settings = checked(read())
        # Before the models are opened, which takes longer.
        door = open_door(self.settings.access, self.settings.host, self.settings.limits)
        self._verdicts = Verdicts(self.settings.verdicts)
        jobs = open_jobs(self.settings, run_batch)
        self._newcomers = Newcomers(self._open)
        self._posts = self._staffed(self.settings, ())
        self._posts += self._newcomers.opened(self.settings, _names(self._posts))
        _require_some(self.settings, self._posts)
        self.app = Application(
            [post.hosted for post in self._posts],
            self.settings.limits,
            door=door,
            origins=self.settings.allow_origin,
            annex=annex(self.reload).joined(traffic_annex(self)),
            jobs=jobs,
            dialects=dialects,
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
        with _told():
            return (await _outcome(look)).to_json()

    def traffic(self, name: str) -> dict[str, Json]:
        """Return which versions a model has, who gets how much, and what came of it.

        Raises
        ------
        Refusal
            404: there is no such model.
        """
        hosted = self.app.named(name)
        if isinstance(hosted, Versions):
            return hosted.to_json()
        whole: dict[str, Json] = {"version": hosted.version or name, "share": 1.0}
        return {"model": name, "versions": [whole], "canary": None, "shadows": []}

    async def promote(self, name: str) -> dict[str, Json]:
        """Give a model's canary all of the traffic, and return how it is shared now.

        Raises
        ------
        Refusal
            As of `traffic`; 409: it has no canary.
        """
        hosted = self.app.named(name)
        if not isinstance(hosted, Versions):
            raise _conflict(f"The model {name!r} has one version.", "Give it versions in the settings.")
        with _told():
            hosted.settle("promoted")
        return self.traffic(name)

    async def rollback(self, name: str) -> dict[str, Json]:
        """Take all of the traffic from a model's canary, or serve the version before it out of a folder.

        Raises
        ------
        Refusal
            As of `traffic`; 409: there is nothing to go back to; 503: the server ends.
        """
        hosted = self.app.named(name)
        if isinstance(hosted, Versions):
            with _told():
                hosted.settle("rolled back")
        elif self._ended:
            raise _ending()
        else:
            back = asyncio.create_task(self._go_back(name))
            self._tasks.add(back)
            back.add_done_callback(self._tasks.discard)
            with _told():
                await _outcome(back)
        return self.traffic(name)

    async def _go_back(self, name: str) -> None:
        async with self._lock:
            answering = self._found(name)
            if answering is None:
                raise _conflict(
                    f"The model {name!r} has no version before it.",
                    "Versions lie in a folder: NAME/1.topwork.",
                )
            directory = self._newcomers.directory
            directory.set_aside(answering.key)
            try:
                await self._apply(self.settings, only_found=True)
                if self._found(name) == answering:
                    raise _conflict(
                        f"There is no other version of {name!r} that can be served.",
                        "Lay the one before it into its folder, under a number of its own.",
                    )
            except BaseException:
                directory.take_back(answering.key)
                raise
            LOG.warning("%s: %s is set aside, as an operator wants it.", name, answering.path)

    def _found(self, name: str) -> Candidate | None:
        """Return the file of a folder that answers for a model."""
        return next((one.found for one in self._posts if one.found and one.found.name == name), None)

    def watch(self) -> None:
        """Look at the folder of models again and again, until the end of the server."""
        task = asyncio.create_task(self._watched())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watched(self) -> None:
        told = ""
        while True:
            await asyncio.sleep(self.settings.models_poll_s)
            try:
                async with self._lock:
                    await self._follow()
                told = ""
            except Exception as error:  # whatever it is, what answers goes on, and the next look may do
                if str(error) != told:
                    _log("The folder of models was not followed.", error)
                told = str(error)

    async def _follow(self) -> None:
        """Serve what the folder holds now, where that is something else."""
        if self.settings.models_dir is None:
            return
        wanted = await in_thread(partial(self._newcomers.wanted, self.settings), "topwork-folder")
        if self._newcomers.differs(wanted, self._posts):
            await self.app.proven()
            await self._apply(self.settings, only_found=True)

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
            _log("The settings were not applied; all is as it was.", error)

    # --- what is done -----------------------------------------------------------------------------------

    async def _take_turn(self) -> Changes:
        async with self._lock:
            self._queued = None
            await self.app.proven()
            return await self._apply(await in_thread(self._look, "topwork-settings"))

    def _look(self) -> ServerSettings:
        self._newcomers.directory.forgive()
        settings = checked(self._read())
        _require_fixed(self.settings, settings)
        return settings

    async def _apply(self, settings: ServerSettings, *, only_found: bool = False) -> Changes:
        before, door = self._posts, self._door(settings)
        posts = tuple(post for post in before if post.found is None)
        if not only_found:
            posts = await in_thread(partial(self._staffed, settings, before), "topwork-opening")
        fresh = fresh_of(posts, before)
        try:
            for one in fresh:
                one.start()
            await asyncio.gather(*(one.proven() for one in fresh))
            posts += await self._newcomers.renewed(settings, before, _names(posts))
            fresh = fresh_of(posts, before)
            _require_some(settings, posts)
            hosted = [post.hosted for post in posts]
            self.app.adopt(hosted, settings.limits, door=door, origins=settings.allow_origin)
        except BaseException:
            for one in fresh:
                await asyncio.to_thread(one.stop)
            raise
        changes = _changes(before, posts, self.settings.limits != settings.limits)
        self.settings, self._posts = settings, posts
        self._shelf.resize(settings.limits.model_memory_bytes)
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

    def _staffed(self, settings: ServerSettings, before: Sequence[Post]) -> tuple[Post, ...]:
        """Return a post for each model: the one that there is where nothing changed, else a new one."""
        return recalled(staffed(settings.models, settings.limits, before, self._open), self._verdicts)


def _log(said: str, error: BaseException) -> None:
    LOG.error("%s %s", said, error, exc_info=None if isinstance(error, TopworkError) else error)


def _names(posts: Sequence[Post]) -> set[str]:
    return {unicodedata.normalize("NFC", post.hosted.servable.name) for post in posts}


def _require_some(settings: ServerSettings, posts: Sequence[Post]) -> None:
    if not posts:
        raise UsageError(
            f"There is no model to serve: {settings.models_dir} holds none that can be.",
            next_step="Put a bundle there, such as photos.topwork or photos/1.topwork; the log says what was refused.",
        )


def _conflict(problem: str, next_step: str) -> Refusal:
    return Refusal("conflict", problem, next_step=next_step)


async def _outcome(task: asyncio.Task[T]) -> T:
    """Wait for what goes on without its caller; the end of the server may end it."""
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if task.cancelled():
            raise _ending() from None
        raise


@contextmanager
def _told() -> Iterator[None]:
    """Tell who called why something cannot be done."""
    try:
        yield
    except Refusal:
        raise
    except TopworkError as error:
        raise _conflict(error.problem, error.next_step) from error


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


def _changes(before: Sequence[Post], after: Sequence[Post], limits: bool) -> Changes:
    old = {id(one.servable): name for name, one in leaves_of(before)}
    named = [(name, id(one.servable) in old) for name, one in leaves_of(after)]
    there = {name for name, _ in named}
    return Changes(
        opened=tuple(name for name, was_there in named if not was_there),
        kept=tuple(name for name, was_there in named if was_there),
        removed=tuple(name for name in old.values() if name not in there),
        limits=limits,
    )
