"""What is counted of texts that are written, for Prometheus: tokens, and how long the first one took.

With `topwork.serving.watching.metrics` it needs prometheus_client. It knows no request.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from topwork.contracts import Clock

__all__ = ["Counts", "Watch"]

_STEPS_S: Final = (0.02, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_STEPS_PER_S: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)


class Counts:
    """Counts in a registry.

    Parameters
    ----------
    clock
        Seconds.
    """

    def __init__(self, registry: CollectorRegistry, clock: Clock = time.perf_counter) -> None:
        self._clock = clock
        self._tokens = Counter(
            "topwork_tokens", "Tokens that were read and written.", ("model", "kind"), registry=registry
        )
        self._first = Histogram(
            "topwork_first_token_seconds",
            "From a request to the first that is told of its text, where it streams.",
            ("model",),
            buckets=_STEPS_S,
            registry=registry,
        )
        self._pace = Histogram(
            "topwork_tokens_per_second",
            "Tokens that were written for a request, by the seconds that it took.",
            ("model",),
            buckets=_STEPS_PER_S,
            registry=registry,
        )

    def watch(self, model: str, began_s: float, *, streams: bool) -> Watch:
        """Note that a request has its first tokens, and return what counts on."""
        if streams:
            self._first.labels(model).observe(self._clock() - began_s)
        return Watch(self, model, began_s)

    def add(self, model: str, kind: str, n: int) -> None:
        """Count tokens that were ``read`` or ``written``."""
        self._tokens.labels(model, kind).inc(n)

    def end(self, model: str, began_s: float, n_written: int) -> None:
        """Note how fast a request's tokens came."""
        self._pace.labels(model).observe(n_written / max(1e-9, self._clock() - began_s))


@dataclass(slots=True)
class Watch:
    """Counts the tokens of one request."""

    counts: Counts
    model: str
    began_s: float
    n_read: int = 0
    n_written: int = 0

    def count(self, n_read: int, n_written: int) -> None:
        """Take how many there are so far."""
        self.counts.add(self.model, "read", n_read - self.n_read)
        self.counts.add(self.model, "written", n_written - self.n_written)
        self.n_read, self.n_written = n_read, n_written

    def end(self) -> None:
        """Take that there are no more."""
        self.counts.end(self.model, self.began_s, self.n_written)
