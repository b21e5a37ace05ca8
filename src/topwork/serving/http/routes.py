"""Which paths there are and who answers them. It knows no model and no body."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Literal, TypeAlias

from topwork.serving.http.messages import Request, Response
from topwork.serving.http.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from topwork.contracts import Json

__all__ = ["Annex", "Handler", "Route", "Scope", "match"]

Handler: TypeAlias = Callable[..., Awaitable[Response]]
"""Is given the request, and the text of each ``{…}`` segment of its path in order."""

Scope: TypeAlias = Literal["open", "predict", "admin", "metrics", "own"]
"""What a key must be good for; what is ``open`` asks for none.

What is ``own`` shows each key what is its own, and an operator's everything: it asks for ``predict`` or ``admin``, and
where no keys are asked for it is this machine's alone.
"""


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path; a segment in braces stands for any text but nothing. ``scope`` is who may use it."""

    method: str
    path: str
    handler: Handler
    scope: Scope = "predict"

    def arguments(self, segments: Sequence[str]) -> tuple[str, ...] | None:
        """Return what stands for the braces, or None where the path is another one."""
        pattern = _pattern(self.path)
        if len(pattern) != len(segments):
            return None
        found: list[str] = []
        for want, got in zip(pattern, segments, strict=True):
            if got and want.startswith("{"):
                found.append(got)
            elif want != got:
                return None
        return tuple(found)


@cache
def _pattern(path: str) -> tuple[str, ...]:
    """Split the path of a route; every request is held against every route, so this is done once."""
    return tuple(path.split("/")[1:])


@dataclass(frozen=True, slots=True)
class Annex:
    """Routes beside those of the models, and their paths as OpenAPI describes them."""

    routes: tuple[Route, ...] = ()
    paths: Mapping[str, Json] = field(default_factory=dict)

    def joined(self, other: Annex) -> Annex:
        """Return these and others."""
        return Annex((*self.routes, *other.routes), {**self.paths, **other.paths})


def match(routes: Sequence[Route], request: Request) -> tuple[Route, tuple[str, ...]]:
    """Return the route of a request and its arguments; HEAD goes where GET goes.

    Raises
    ------
    Refusal
        404 with the known paths, or 405 with the allowed methods.
    """
    segments = (
        request.segments[:-1] if len(request.segments) > 1 and not request.segments[-1] else request.segments
    )
    method = "GET" if request.method == "HEAD" else request.method
    if (route := _plain(routes, method, segments)) is not None:
        return route, ()
    here = [(route, found) for route in routes if (found := route.arguments(segments)) is not None]
    for route, found in here:
        if route.method == method:
            return route, found
    if here:
        raise _not_allowed(request, {route.method for route, _ in here})
    known = ", ".join(dict.fromkeys(route.path for route in routes))
    raise Refusal(
        "not_found", f"There is nothing at {request.path[:200]!r}.", next_step=f"Known paths: {known}."
    )


def _plain(routes: Sequence[Route], method: str, segments: Sequence[str]) -> Route | None:
    """Return the route whose path is just this, without any braces: most requests, and far quicker than all others."""
    path = "/" + "/".join(segments)
    if "{" in path or path.count("/") != len(segments):  # A segment may hold an encoded slash.
        return None
    return next((one for one in routes if one.path == path and one.method == method), None)


def _not_allowed(request: Request, methods: set[str]) -> Refusal:
    allowed = ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
    return Refusal(
        "method_not_allowed",
        f"{request.path[:200]!r} does not answer {request.method[:20]}.",
        next_step=f"Use {allowed}.",
        headers={"allow": allowed},
    )
