"""Every bound of a server in one place. It knows no servable and no HTTP."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated

from topwork.errors import UsageError
from topwork.serving.settings.kinds import Count, Duration, Number, Size

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a server takes on before it refuses; each field says what it bounds."""

    max_body_bytes: Annotated[int, Size("Largest request body.")] = 32 * 2**20
    max_inputs: Annotated[int, Count("Most inputs in one request.")] = 64
    max_buffered_bytes: Annotated[
        int, Size("Most bytes of all bodies together that are held in memory; beyond it a 429.")
    ] = 256 * 2**20
    max_decoded_bytes: Annotated[
        int, Size("Most memory that decoding one input may take, such as a picture's pixels; more is a 422.")
    ] = 512 * 2**20
    max_decoding_bytes: Annotated[
        int, Size("The same of all inputs that are being decoded at once; beyond it the next one waits.")
    ] = 2**30
    max_concurrent: Annotated[
        int | None,
        Count(
            "Requests at work at once, of each model; by default as many as keep its engine busy.", most=1024
        ),
    ] = None
    max_batch: Annotated[
        int | None,
        Count("Most inputs in one batch of a model; by default what is measured at the start.", most=1024),
    ] = None
    max_waiting: Annotated[int, Count("Requests in line for a model; the next one gets a 429.", least=0)] = 64
    max_connections: Annotated[
        int, Count("Open connections; on one more a request gets a 429, save for health checks and pages.")
    ] = 2048
    max_connections_per_address: Annotated[
        int | None,
        Count(
            "Of these, open connections from one address, of IPv6 from one /64; by default 512 from another machine, "
            "and any number from this one."
        ),
    ] = None
    header_timeout_s: Annotated[float, Duration("Until a request's headers must have arrived.")] = 10.0
    body_timeout_s: Annotated[float, Duration("From then on, until its body must have arrived.")] = 60.0
    deadline_s: Annotated[
        float,
        Duration(
            "From then on, waiting and work together, until the answer must be complete; one in pieces, until the next."
        ),
    ] = 30.0
    keep_alive_s: Annotated[float, Duration("How long a connection stays open between two requests.")] = 15.0
    drain_s: Annotated[float, Duration("How long requests may go on after the server was told to stop.")] = (
        30.0
    )
    wrong_keys_per_minute: Annotated[
        int, Count("Wrong API keys from one address that get a 401; the next gets a 429.")
    ] = 30
    max_jobs: Annotated[int, Count("Jobs that are kept, whether over or not; the next one gets a 429.")] = (
        1000
    )
    max_stored_bytes: Annotated[
        int, Size("Most bytes of all jobs together, inputs and answers; beyond it a 429.")
    ] = 2**30
    max_key_share: Annotated[
        float,
        Number(
            "Share of max_jobs and of max_stored that the jobs of one API key may take; beyond it a 429.",
            0.001,
            1.0,
        ),
    ] = 0.5
    keep_jobs_s: Annotated[
        float, Duration("How long a job is kept after its end, and how long one may wait for its turn.")
    ] = 3600.0
    webhook_retry_s: Annotated[
        float, Duration("How long after the end of a job somebody who does not answer is told of it again.")
    ] = 900.0
    drift_window: Annotated[
        int, Count("Answers of a model that are looked at together for drift.", least=50, most=100_000)
    ] = 500
    model_memory_bytes: Annotated[
        int | None,
        Size("Most memory of all open models together; the one used least recently is closed for another."),
    ] = None

    def __post_init__(self) -> None:
        for bound in fields(self):
            value = getattr(self, bound.name)
            least = 0 if bound.name == "max_waiting" else None
            if value is not None and not (value > 0 or value == least):
                raise UsageError(
                    f"The limit {bound.name} is {value}; it must be greater than zero.",
                    next_step="Leave it out to get the default.",
                )
