"""What a server needs of an application, whatever it answers. It knows no route and no model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from topwork.serving.http.door import Door
    from topwork.serving.http.messages import Receive, Scope, Send
    from topwork.serving.limits import Limits

__all__ = ["Served"]


class Served(Protocol):
    """An ASGI application, its bounds, and who may ask it."""

    limits: Limits
    door: Door

    async def proven(self) -> None:
        """Wait until all that it answers with has passed its proof."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send_message: Send) -> None:
        """Take one connection."""
        ...
