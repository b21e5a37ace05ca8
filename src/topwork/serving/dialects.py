"""Protocols that are spoken beside the server's own, each with its paths and its errors. It knows none of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prometheus_client import CollectorRegistry

    from topwork.contracts import Json, Servable
    from topwork.serving.batching.gate import ByteBudget
    from topwork.serving.hosting import Models
    from topwork.serving.http.messages import Request, Response
    from topwork.serving.http.refusals import Refusal
    from topwork.serving.http.routes import Route
    from topwork.serving.limits import Limits

__all__ = ["Described", "Dialect", "Manners", "Speak"]


class Manners(Protocol):
    """How a protocol tells of errors."""

    def owns(self, request: Request) -> bool:
        """Tell whether a request is one of this protocol."""
        ...

    def refused(self, refusal: Refusal) -> Response:
        """Return an error as the protocol has it."""
        ...


@dataclass(frozen=True, slots=True)
class Described:
    """What OpenAPI is to say of a protocol: its paths, and the schemas that these name."""

    paths: Mapping[str, Json] = field(default_factory=dict)
    schemas: Mapping[str, Json] = field(default_factory=dict)


class Dialect(Manners, Protocol):
    """A protocol over the models of an application."""

    def routes(self, servables: Sequence[Servable]) -> tuple[Route, ...]:
        """Return its routes for some models; none where it has nothing to say of them."""
        ...

    def described(self, servables: Sequence[Servable], limits: Limits) -> Described:
        """Describe those routes."""
        ...


Speak: TypeAlias = "Callable[[Models, ByteBudget, CollectorRegistry], Dialect]"
"""Makes a dialect over models, with the room for bodies, and where it may count what it does."""
