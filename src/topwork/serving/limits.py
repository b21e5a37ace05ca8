"""Every bound of a server in one place. It knows no servable and no HTTP."""

from __future__ import annotations

from dataclasses import dataclass, fields

from topwork.errors import UsageError

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a server takes on before it refuses.

    Attributes
    ----------
    max_body_bytes
        Largest request body.
    max_inputs
        Most inputs in one request.
    max_buffered_bytes
        Most bytes of all bodies together that are held in memory; beyond it new bodies get a 429.
    max_concurrent
        Requests that are worked on at once, each in a thread of its own.
    max_waiting
        Requests that may wait for such a thread; the next one gets a 429.
    max_connections
        Open connections; on one more a request gets a 429, save for health checks and pages.
    header_timeout_s, body_timeout_s
        Until a request's headers, and after them its body, must have arrived.
    deadline_s
        From then on, waiting and work together, until the answer must be complete; a client may ask for less.
    keep_alive_s
        How long a connection stays open between two requests.
    drain_s
        How long requests under way may go on after the server was told to stop.
    wrong_keys_per_minute
        Wrong API keys from one address that get a 401; the next gets a 429.
    """

    max_body_bytes: int = 32 * 2**20
    max_inputs: int = 64
    max_buffered_bytes: int = 256 * 2**20
    max_concurrent: int = 2
    max_waiting: int = 64
    max_connections: int = 2048
    header_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    deadline_s: float = 30.0
    keep_alive_s: float = 15.0
    drain_s: float = 30.0
    wrong_keys_per_minute: int = 30

    def __post_init__(self) -> None:
        for bound in fields(self):
            value = getattr(self, bound.name)
            least = 0 if bound.name == "max_waiting" else None
            if not (value > 0 or value == least):
                raise UsageError(
                    f"The limit {bound.name} is {value}; it must be greater than zero.",
                    next_step="Leave it out to get the default.",
                )
