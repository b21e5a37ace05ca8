"""How the requests for one model are shared among its versions, and the trial of a new one. It knows no servable.

Where a request falls is a point between 0 and 1: with a key the same point whenever the key comes, so that a client
stays with a version as long as the shares are the same. A version under trial has the first piece of the line, so that
who got it goes on to get it while the others are shared out anew.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, Final, Literal

from topwork.errors import UsageError
from topwork.serving.traffic.canaries import Rules, Tally, Verdict, decided
from topwork.serving.watching.durations import Durations

if TYPE_CHECKING:
    from topwork.contracts import Clock, Json

__all__ = ["ROUTE_KEY", "Canary", "Ended", "Lane", "Phase", "Traffic", "chosen", "point_of"]

ROUTE_KEY: Final = "x-route-key"
LOG = logging.getLogger("topwork.serving")
BITS: Final = 53
"""Of a number between 0 and 1, as many as a double has."""

Phase = Literal["trial", "promoted", "rolled back"]


@dataclass(frozen=True, slots=True)
class Lane:
    """A version and what it weighs among the others."""

    version: str
    weight: float


@dataclass(frozen=True, slots=True)
class Canary:
    """A version under trial: which share of all requests it has, and when the trial ends."""

    version: str
    share: float
    rules: Rules


@dataclass(frozen=True, slots=True)
class Ended:
    """How the trial of a canary ended, why, and when; the time has a zone."""

    phase: Phase
    reason: str
    at: datetime


def point_of(key: str, salt: str) -> float:
    """Return where between 0 and 1 a key falls: always the same point, and another one with another salt."""
    content = f"{salt}\n{key}".encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(content, digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> (64 - BITS)) / 2.0**BITS


def chosen(point: float, shares: Mapping[str, float]) -> str:
    """Return the version on whose piece of the line from 0 to 1 a point falls; shares add up to 1."""
    end = 0.0
    for version, share in shares.items():
        end += share
        if point < end:
            return version
    # Rounding may leave a gap before 1.
    return [version for version in shares if shares[version] > 0][-1]


class Traffic:
    """The traffic of one model. Use it from one event loop.

    Parameters
    ----------
    model
        Its name.
    lanes
        Versions that answer, with what each weighs.
    canary
        A further one that is on trial.
    random
        Where requests without a key fall.
    clock
        Seconds.
    now
        The time of the day, with its zone.

    Attributes
    ----------
    phase
        Of the trial; None where there is none.
    verdict
        Why the trial goes on, or how it ended.
    ended
        How it ended; None as long as it goes on.
    on_end
        Told whenever it ends, also by hand; None where nobody wants to know.
    counts
        Requests of each version that were answered, and that failed.
    durations
        How long each version took.

    Raises
    ------
    UsageError
        No version has a weight.
    """

    def __init__(
        self,
        model: str,
        lanes: Sequence[Lane],
        canary: Canary | None = None,
        *,
        random: Callable[[], float] | None = None,
        clock: Clock = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if not any(lane.weight > 0 for lane in lanes):
            raise UsageError(
                f"No version of {model} has a weight.",
                next_step="Give one a weight of 1; a canary or a shadow alone is no model.",
            )
        self.model, self._lanes, self.canary = model, tuple(lanes), canary
        self._draw = random or Random().random  # noqa: S311 - it keeps no secret
        self._clock, self._began_s, self._now = clock, clock(), now
        self.phase: Phase | None = "trial" if canary else None
        self.verdict = Verdict("wait", "Nothing was counted yet.")
        self.ended: Ended | None = None
        self.on_end: Callable[[Ended], None] | None = None
        self._old, self._new, self._next_look = Tally(), Tally(), 1
        names = [*(lane.version for lane in lanes), *([canary.version] if canary else [])]
        self.counts = {name: {"answered": 0, "failed": 0} for name in names}
        self.durations = {name: Durations() for name in names}

    @property
    def shares(self) -> dict[str, float]:
        """Which share of the requests each version has; a canary's comes first."""
        canary = self.canary
        first = 0.0 if canary is None else {"trial": canary.share, "promoted": 1.0}.get(self.phase or "", 0.0)
        whole = sum(lane.weight for lane in self._lanes)
        rest = {lane.version: (1 - first) * lane.weight / whole for lane in self._lanes}
        return rest if canary is None else {canary.version: first, **rest}

    @property
    def lead(self) -> str:
        """Which version has the largest share; of several with the same, the first."""
        shares = self.shares
        old = [lane.version for lane in self._lanes]
        return max([*old, *shares], key=lambda name: shares[name])

    def route(self, key: str | None) -> str:
        """Return the version that is to answer a request, given the key that it came with."""
        return chosen(self._draw() if key is None else point_of(key, self.model), self.shares)

    def note(self, version: str, *, failed: bool, seconds: float | None) -> bool:
        """Count a request that has ended, and return whether that ended the trial."""
        self.counts[version]["failed" if failed else "answered"] += 1
        if seconds is not None:
            self.durations[version].add(seconds)
        if self.phase != "trial" or self.canary is None:
            return False
        is_new = version == self.canary.version
        (self._new if is_new else self._old).add(failed=failed, seconds=seconds)
        return is_new and self._looked(self.canary)

    def _looked(self, canary: Canary) -> bool:
        """Look at the counts, after each of the first requests and then after every twentieth part more."""
        if self._new.n < self._next_look:
            return False
        self._next_look = self._new.n + max(1, self._new.n // 20)
        self.verdict = decided(canary.rules, self._old, self._new, self._clock() - self._began_s)
        if self.verdict.word == "wait":
            return False
        self._end("promoted" if self.verdict.word == "promote" else "rolled back", self.verdict.reason)
        return True

    def settle(self, phase: Phase) -> None:
        """End the trial by hand.

        Raises
        ------
        UsageError
            There is none.
        """
        if self.canary is None:
            raise UsageError(
                f"{self.model} has no canary.", next_step="Give one of its versions a canary's share."
            )
        self._end(phase, "An operator said so.")

    def resume(self, ended: Ended) -> None:
        """Hold to how the trial ended before, without telling anybody again."""
        assert self.canary is not None
        self.phase, self.ended = ended.phase, ended
        self.verdict = Verdict("promote" if ended.phase == "promoted" else "roll back", ended.reason)

    def _end(self, phase: Phase, reason: str) -> None:
        assert self.canary is not None
        ended = Ended(phase, reason, self._now())
        self.resume(ended)
        LOG.warning("%s: the canary %s was %s. %s", self.model, self.canary.version, phase, reason)
        if self.on_end is not None:
            self.on_end(ended)

    def to_json(self) -> dict[str, Json]:
        """Return what an operator may want to know."""
        shares = self.shares
        versions: list[Json] = [
            {"version": name, "share": shares[name], **self.counts[name]} for name in shares
        ]
        told: dict[str, Json] = {"model": self.model, "versions": versions, "canary": None}
        if self.canary is not None:
            told["canary"] = {
                "version": self.canary.version,
                "phase": self.phase,
                "verdict": self.verdict.word,
                "reason": self.verdict.reason,
                "decided": None if self.ended is None else self.ended.at.isoformat(timespec="seconds"),
            }
        return told
