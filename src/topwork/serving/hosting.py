"""One servable with what it needs to be hosted: proof, gate and threads. It knows no path."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Literal, Protocol

from topwork.errors import TopworkError
from topwork.serving.gate import Gate
from topwork.serving.refusals import Refusal
from topwork.serving.work import Workers, in_thread

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from topwork.contracts import Servable
    from topwork.serving.limits import Limits

__all__ = ["Hosted", "Models", "State"]

State = Literal["starting", "ready", "failed"]
LOG = logging.getLogger("topwork.serving")


class Hosted:
    """A servable behind a gate. It answers nothing before its proof has passed.

    Parameters
    ----------
    n_at_once
        Inputs that the servable can well work on at once; how many do where the limits do not say.
    made_of
        Files and folders besides those of its settings that it was made of.
    """

    def __init__(
        self, servable: Servable, limits: Limits, n_at_once: int = 2, *, made_of: Sequence[Path] = ()
    ) -> None:
        self.servable = servable
        self.limits = limits
        self.made_of = tuple(made_of)
        self._n_at_once = n_at_once
        n_threads = limits.max_concurrent or n_at_once
        self.gate = Gate(n_threads, limits.max_waiting)
        self.workers = Workers(n_threads, f"topwork-{servable.name}")
        self._proof: asyncio.Task[None] | None = None

    def under(self, limits: Limits) -> Hosted:
        """Return the same servable within other limits, with the proof that it has; it is yet to be started."""
        other = Hosted(self.servable, limits, self._n_at_once, made_of=self.made_of)
        other._proof = self._proof
        return other

    def start(self) -> None:
        """Start the threads, and the proof in the background where there is none yet."""
        self.workers.start()
        if self._proof is not None:
            return
        self._proof = asyncio.create_task(
            in_thread(self.servable.prove, f"topwork-proof-{self.servable.name}")
        )
        self._proof.add_done_callback(self._log_failure)

    async def proven(self) -> None:
        """Wait for the proof, and raise what it raised."""
        assert self._proof is not None, "start() comes first"
        await asyncio.shield(self._proof)

    def stop(self) -> None:
        """Let the threads end; what hangs is left behind."""
        if self._proof is not None:
            self._proof.cancel()
        if not self.workers.stop(timeout_s=1.0):
            LOG.warning("%s was still computing when it was stopped", self.servable.name)

    @property
    def state(self) -> State:
        """Whether it may answer."""
        if self._proof is None or not self._proof.done():
            return "starting"
        return "ready" if self.failure() is None else "failed"

    def failure(self) -> BaseException | None:
        """Return why the proof failed, if it did."""
        if self._proof is None or not self._proof.done():
            return None
        if self._proof.cancelled():
            return TopworkError("the server is ending")
        return self._proof.exception()

    def require_ready(self) -> None:
        """Refuse until the proof has passed.

        Raises
        ------
        Refusal
            503, with the reason.
        """
        if self.state == "starting":
            raise Refusal(
                "not_ready",
                f"{self.servable.name} is still replaying its golden examples and warming up.",
                next_step="Try again in a moment; GET /readyz tells when.",
                headers={"retry-after": "1"},
            )
        if (failure := self.failure()) is not None:
            raise Refusal(
                "not_ready",
                f"{self.servable.name} did not pass its proof: {_reason(failure)}",
                next_step="The operator of this server has to look at its bundle.",
            )

    def _log_failure(self, proof: asyncio.Task[None]) -> None:
        if not proof.cancelled() and (failure := proof.exception()) is not None:
            LOG.error(
                "%s did not pass its proof: %s", self.servable.name, failure, exc_info=_unexpected(failure)
            )


class Models(Protocol):
    """What a protocol sees of an application: the models that it hosts at this moment."""

    def named(self, name: str | None) -> Hosted:
        """Return the model called so; the first one without a name.

        Raises
        ------
        Refusal
            404: there is none.
        """
        ...

    def every(self) -> Sequence[Hosted]:
        """Return all of them, at least one."""
        ...


def _reason(failure: BaseException) -> str:
    """Return what a client may know; the text of an unexpected error stays in the log."""
    return (
        failure.problem if isinstance(failure, TopworkError) else "an unexpected error, see the server's log."
    )


def _unexpected(failure: BaseException) -> BaseException | None:
    return None if isinstance(failure, TopworkError) else failure
