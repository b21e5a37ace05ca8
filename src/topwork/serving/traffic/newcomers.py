"""Models out of a folder: each is opened and proven by itself, and a bad one costs no other its place.

Of several files of a model the best that passes its proof answers; where none does, what answered before goes on. It
knows no request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from topwork.errors import UsageError
from topwork.serving.batching.work import in_thread
from topwork.serving.settings.declared import ModelSettings, ServerSettings, require_below
from topwork.serving.traffic.directory import Candidate, Directory
from topwork.serving.traffic.posts import Opener, Post, fresh_of, posted

if TYPE_CHECKING:
    from topwork.serving.hosting import Hosted

__all__ = ["Newcomers", "Wanted"]

Wanted: TypeAlias = Mapping[str, tuple[Candidate, ...]]


class Newcomers:
    """Keeps the posts of a folder's models.

    Parameters
    ----------
    open_model
        Opens one of them.
    directory
        What was seen of the folder.
    """

    def __init__(self, open_model: Opener, directory: Directory | None = None) -> None:
        self._open = open_model
        self.directory = directory or Directory()

    def wanted(self, settings: ServerSettings) -> Wanted:
        """Return which files may be opened for which models.

        Raises
        ------
        UsageError
            There is no such folder.
        """
        if settings.models_dir is None:
            return {}
        return self.directory.look(settings.models_dir, settings.models_poll_s)

    def differs(self, wanted: Wanted, posts: Sequence[Post]) -> bool:
        """Tell whether other files are wanted than those that answer."""
        configured = {post.hosted.servable.name for post in posts if post.found is None}
        serving = {post.found.name: post.found for post in posts if post.found is not None}
        if any(name not in wanted for name in serving):
            return True
        return any(
            (better := self._better(wanted[name], serving.get(name))) and better[0] != serving.get(name)
            for name in wanted
            if name not in configured
        )

    def _better(self, candidates: Sequence[Candidate], old: Candidate | None) -> Sequence[Candidate]:
        """Return the files that come before the one that answers, and it; all where it has to go."""
        if old is None or not self.directory.stays(old):
            return candidates
        return [one for one in candidates if one.rank <= old.rank]

    # --- at the start -------------------------------------------------------------------------------------

    def opened(self, settings: ServerSettings, taken: Collection[str]) -> tuple[Post, ...]:
        """Return a post for each model of the folder, proven; names that are ``taken`` are not looked for."""
        found = self._untaken(self.wanted(settings), taken)
        posts = (self._first(candidates, settings) for candidates in found.values())
        return tuple(post for post in posts if post is not None)

    def _first(self, candidates: Sequence[Candidate], settings: ServerSettings) -> Post | None:
        for one in candidates:
            try:
                return self._proven(one, settings)
            except Exception as error:  # a bad file may be bad in any way
                self.directory.refuse(one, error)
        return None

    def _proven(self, one: Candidate, settings: ServerSettings) -> Post:
        post = self._posted(one, settings, ())
        try:
            post.hosted.prove()
        except BaseException:
            post.hosted.stop()
            raise
        return post

    def _posted(self, one: Candidate, settings: ServerSettings, before: Sequence[Post]) -> Post:
        require_below(one.path, settings.below)
        post = posted(ModelSettings(one.path, one.name), settings.limits, before, self._open)
        if one.version is not None:
            post.hosted.version = str(one.version)
        return replace(post, found=one)

    def _untaken(self, wanted: Wanted, taken: Collection[str]) -> Wanted:
        for name in wanted:
            for one in wanted[name] if name in taken else ():
                taken_by = f"The settings have a model called {name!r}."
                self.directory.refuse(one, UsageError(taken_by, next_step="Give one of them another name."))
        return {name: wanted[name] for name in wanted if name not in taken}

    # --- while it answers ---------------------------------------------------------------------------------

    async def renewed(
        self, settings: ServerSettings, before: Sequence[Post], taken: Collection[str]
    ) -> tuple[Post, ...]:
        """Return a post for each model of the folder as it is now; what is new is started and proven.

        Raises
        ------
        UsageError
            There is no such folder.
        """
        wanted = await in_thread(partial(self.wanted, settings), "topwork-folder")
        posts: list[Post] = []
        try:
            for name, candidates in self._untaken(wanted, taken).items():
                old = next((post for post in before if post.found and post.found.name == name), None)
                better = self._better(candidates, old.found if old else None)
                post = await self._best(better, settings, before)
                if post is None and old is not None:
                    post = await self._kept(old, settings)
                if post is not None:
                    posts.append(post)
        except BaseException:
            await self._leave(posts, before)
            raise
        return tuple(posts)

    async def _best(
        self, candidates: Sequence[Candidate], settings: ServerSettings, before: Sequence[Post]
    ) -> Post | None:
        for one in candidates:
            try:
                return await self._begun(one, settings, before)
            except Exception as error:  # a bad file may be bad in any way
                self.directory.refuse(one, error)
        return None

    async def _begun(self, one: Candidate, settings: ServerSettings, before: Sequence[Post]) -> Post:
        post = await in_thread(partial(self._posted, one, settings, before), "topwork-opening")
        await _started(fresh_of([post], before))
        return post

    async def _kept(self, old: Post, settings: ServerSettings) -> Post:
        """Return what answered before, whose file may be gone, within the limits that hold now."""
        if old.hosted.limits == settings.limits:
            return old
        under = replace(old, hosted=old.hosted.under(settings.limits))
        await _started([under.hosted])
        return under

    async def _leave(self, posts: Sequence[Post], before: Sequence[Post]) -> None:
        await asyncio.gather(*(asyncio.to_thread(one.stop) for one in fresh_of(posts, before)))


async def _started(fresh: Sequence[Hosted]) -> None:
    """Start models and wait for their proof; stop them where one does not pass."""
    try:
        for one in fresh:
            one.start()
        await asyncio.gather(*(one.proven() for one in fresh))
    except BaseException:
        await asyncio.gather(*(asyncio.to_thread(one.stop) for one in fresh))
        raise
