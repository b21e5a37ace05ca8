"""Pages of other origins that a browser may let ask this server (CORS); none unless the operator names them.

It knows no route and no model. No cookie is ever looked at, so what is shared is only what a page can ask for with a
key that it holds itself. Fetch standard, section 3.3: https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from topwork.errors import UsageError
from topwork.serving.http.messages import Response

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from topwork.serving.http.messages import Request

__all__ = ["Origins"]

ANY = "*"
REMEMBERED_S = 600


class Origins:
    """The origins that may ask.

    Parameters
    ----------
    allowed
        Such as ``https://example.org`` or ``http://localhost:3000``, or ``*`` for all.
    methods
        That the server answers.

    Raises
    ------
    UsageError
        One is no origin.
    """

    def __init__(self, allowed: Sequence[str], methods: Iterable[str] = ()) -> None:
        self._allowed = frozenset(map(_origin, allowed))
        self._methods = ", ".join(sorted(set(methods)))

    def preflight(self, request: Request) -> Response | None:
        """Return the answer to a browser that asks before it sends; None for any other request."""
        if request.method != "OPTIONS" or "access-control-request-method" not in request.headers:
            return None
        if self._shared_with(request) is None:
            return None
        return Response(
            204,
            "text/plain",
            b"",
            {
                "access-control-allow-methods": self._methods,
                "access-control-allow-headers": "*, authorization",
                "access-control-max-age": str(REMEMBERED_S),
            },
        )

    def share(self, request: Request, response: Response) -> Response:
        """Return a response with what lets a page of an allowed origin read it."""
        if not self._allowed:
            return response
        headers = dict(response.headers)
        if ANY not in self._allowed:
            headers["vary"] = "origin"  # what one origin may read must not be kept for another
        if (origin := self._shared_with(request)) is not None:
            headers |= {"access-control-allow-origin": origin, "access-control-expose-headers": "*"}
        return replace(response, headers=headers)

    def _shared_with(self, request: Request) -> str | None:
        if ANY in self._allowed:
            return ANY
        origin = request.headers.get("origin")
        return origin if origin in self._allowed else None


def _origin(text: str) -> str:
    if text == ANY:
        return text
    try:
        parts = urlsplit(text)
        exact = f"{parts.scheme}://{parts.netloc}".lower() == text.lower().rstrip("/") and parts.port != 0
    except ValueError:
        exact = False
    if not exact or not parts.hostname or parts.scheme not in ("http", "https") or "@" in parts.netloc:
        raise UsageError(
            f"{text[:200]!r} is no origin; expected a scheme, a host and perhaps a port.",
            next_step="Give something like https://example.org or http://localhost:3000, or * for every page.",
        )
    return text.lower().rstrip("/")
