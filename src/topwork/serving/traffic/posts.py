"""Which models stand at which posts: what each was opened from, and which need not be opened again.

It knows no server and no request; how a model is opened comes as a function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from topwork.serving.hosting import Hosted
from topwork.serving.limits import Limits
from topwork.serving.settings.declared import ModelSettings, VersionSettings
from topwork.serving.traffic.canaries import Rules
from topwork.serving.traffic.directory import Candidate
from topwork.serving.traffic.marks import Mark, mark_of
from topwork.serving.traffic.shadows import Shadow
from topwork.serving.traffic.shares import Canary, Lane, Traffic
from topwork.serving.traffic.verdicts import Verdicts, config_of
from topwork.serving.traffic.versions import Versions

__all__ = ["Opener", "Post", "fresh_of", "leaves_of", "posted", "recalled", "staffed"]

Opener: TypeAlias = Callable[[ModelSettings, Limits], Hosted]
"""Opens a model; called in a thread of its own."""


@dataclass(frozen=True, slots=True)
class Post:
    """A model with what it was opened from: its settings, and which files these were.

    Attributes
    ----------
    members
        Its versions, where it has several.
    found
        As what it was found in a folder; None where the settings name it.
    mark_of_others
        Which files those were that it needed besides.
    """

    settings: ModelSettings
    mark: Mark
    hosted: Hosted
    members: tuple[Post, ...] = ()
    found: Candidate | None = None
    mark_of_others: Mark = ()

    def holds(self, settings: ModelSettings, mark: Mark) -> bool:
        """Tell whether it would be opened from the same settings and files today."""
        others = mark_of(self.hosted.made_of)
        return (self.settings, self.mark, self.mark_of_others) == (settings, mark, others)


def leaves_of(posts: Iterable[Post]) -> list[tuple[str, Hosted]]:
    """Return every single servable with its name, each version of a model for itself."""
    return [leaf for post in posts for leaf in post.hosted.leaves()]


def fresh_of(posts: Iterable[Post], before: Iterable[Post]) -> list[Hosted]:
    """Return the single servables of posts that were not there before."""
    there = [one for _, one in leaves_of(before)]
    return [one for _, one in leaves_of(posts) if one not in there]


def staffed(
    models: Sequence[ModelSettings], limits: Limits, before: Sequence[Post], open_model: Opener
) -> tuple[Post, ...]:
    """Return a post for each model, as of `posted`; where one cannot be had, those that were opened are ended.

    Raises
    ------
    TopworkError
        One cannot be opened.
    """
    posts: list[Post] = []
    with _ended_on_error(posts, before):
        for one in models:
            posts.append(posted(one, limits, before, open_model))  # noqa: PERF401 - some may be ended
    return tuple(posts)


def recalled(posts: Sequence[Post], verdicts: Verdicts) -> tuple[Post, ...]:
    """Return posts whose canaries hold to how their trials ended, and whose ends are kept from now on."""
    for post in posts:
        canary = next((one for one in post.settings.versions if one.canary is not None), None)
        hosted = post.hosted
        if canary is None or not isinstance(hosted, Versions) or hosted.traffic.on_end is not None:
            continue
        place = (str(post.settings.name), canary.title, config_of(canary))
        hosted.follow(verdicts.of(*place), partial(verdicts.keep, *place))
    return tuple(posts)


@contextmanager
def _ended_on_error(posts: Sequence[Post], before: Sequence[Post]) -> Iterator[None]:
    """End what is new of some posts where something fails inside."""
    try:
        yield
    except BaseException:
        there = (*before, *(member for post in before for member in post.members))
        for one in fresh_of(posts, there):
            one.stop()
        raise


def posted(settings: ModelSettings, limits: Limits, before: Sequence[Post], open_model: Opener) -> Post:
    """Return a post for a model: the one that there is where nothing changed, else a new one.

    Raises
    ------
    TopworkError
        It cannot be opened.
    """
    # Before the files are opened, so that a change meanwhile is seen the next time.
    mark = mark_of(settings.paths)
    if settings.versions:
        return _of_versions(settings, mark, limits, before, open_model)
    there = (*before, *(member for post in before for member in post.members))
    same = next((post for post in there if post.holds(settings, mark)), None)
    if same is None:
        opened = open_model(settings, limits)
        _follow(opened, there)
        return Post(settings, mark, opened, mark_of_others=mark_of(opened.made_of))
    if same.hosted.limits == limits:
        return same
    return Post(settings, mark, same.hosted.under(limits), mark_of_others=same.mark_of_others)


def _follow(opened: Hosted, before: Sequence[Post]) -> None:
    """Let a model begin with as many processes as the one of its name has, so that none is missing at the change."""
    for post in before:
        old = post.hosted.staff
        if old is not None and opened.staff is not None and post.hosted.servable.name == opened.servable.name:
            opened.staff.follow(old.headcount.wanted)


def _of_versions(
    settings: ModelSettings, mark: Mark, limits: Limits, before: Sequence[Post], open_model: Opener
) -> Post:
    """Return a post of several versions; what was counted of them stays where they are the same."""
    name = str(settings.name)
    members = staffed([one.as_model(name) for one in settings.versions], limits, before, open_model)
    with _ended_on_error(members, before):
        return _joined(settings, mark, members, before)


def _joined(settings: ModelSettings, mark: Mark, members: tuple[Post, ...], before: Sequence[Post]) -> Post:
    same = next((post for post in before if (post.settings, post.mark) == (settings, mark)), None)
    if same is not None and [one.hosted for one in same.members] == [one.hosted for one in members]:
        return same
    hosted = {one.title: post.hosted for one, post in zip(settings.versions, members, strict=True)}
    if same is not None and isinstance(same.hosted, Versions):
        return Post(settings, mark, Versions(hosted, same.hosted.traffic, same.hosted.shadows), members)
    name = str(settings.name)
    shadows = {
        one.title: Shadow(hosted[one.title].servable, one.agrees_within)
        for one in settings.versions
        if one.shadow
    }
    return Post(settings, mark, Versions(hosted, _traffic(name, settings.versions), shadows), members)


def _traffic(name: str, versions: Sequence[VersionSettings]) -> Traffic:
    live = [one for one in versions if not one.shadow and one.canary is None]
    lanes = [Lane(one.title, one.weight) for one in live]
    return Traffic(name, lanes, next((_canary(one) for one in versions if one.canary is not None), None))


def _canary(one: VersionSettings) -> Canary:
    rules = Rules(one.promote_after, one.watch_s or 0.0, one.most_errors, one.most_slower)
    return Canary(one.title, one.canary or 0.0, rules)
