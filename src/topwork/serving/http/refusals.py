"""What a client is told when it is turned away: a status, a code, a sentence and the next step.

It knows no servable and sends nothing. Every error body has the same shape, so that one piece of client
code handles them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from topwork.errors import TopworkError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from topwork.contracts import Json

__all__ = ["STATUSES", "ClientGone", "Refusal"]

STATUSES: Mapping[str, int] = {
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "body_timeout": 408,
    "conflict": 409,
    "too_large": 413,
    "unsupported_media_type": 415,
    "misdirected": 421,
    "bad_input": 422,
    "busy": 429,
    "rate_limited": 429,
    "internal": 500,
    "not_ready": 503,
    "unavailable": 503,
    "deadline_exceeded": 503,
}
"""Error code to HTTP status; the codes are part of the API."""


class Refusal(TopworkError):  # noqa: N818 - it is an answer, too
    """A request that gets an error instead of an answer.

    Parameters
    ----------
    code
        One of `STATUSES`.
    problem, next_step
        As for every `TopworkError`.
    headers
        Further response headers, such as ``retry-after``.
    """

    def __init__(
        self, code: str, problem: str, *, next_step: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(problem, next_step=next_step)
        self.code = code
        self.status = STATUSES[code]
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Json]:
        """Return the JSON that the client reads."""
        return {"error": {"code": self.code, "message": self.problem, "next_step": self.next_step}}


class ClientGone(Exception):  # noqa: N818 - an event, not a fault
    """The client closed the connection; there is nobody left to tell anything."""
