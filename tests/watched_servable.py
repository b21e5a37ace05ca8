"""A servable that knows what its answers were like, for the tests of what watches them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from fake_servable import LABELS, FakeServable, describe
from topwork.contracts import Answer, Json, Profile, Reference
from topwork.serving.replicas.staffing import Headcount, Post

__all__ = ["StaffedServable", "WatchedServable", "known"]

QUANTILES = np.linspace(0, 1, 101)


def known() -> Reference:
    """Return what answers of equal shares of all labels leave, with two traits between 0 and 1."""
    traits = np.stack([QUANTILES, QUANTILES]).astype(np.float32)
    return Reference({"": Profile(600, {"label": dict.fromkeys(LABELS, 100)}, {})}, traits, (600, 600), 0.05)


@dataclass
class WatchedServable(FakeServable):
    """Answers by length; inputs that begin with ``odd`` are out of the domain, and their traits lie far away."""

    reference: Reference = field(default_factory=known)

    def _answers(self, index: int, given: bytes) -> Iterator[Answer]:
        if given.startswith((b"bad", b"boom")):
            yield from super()._answers(index, given)
            return
        is_odd = given.startswith(b"odd")
        share = len(given) % 100 / 100
        value: Mapping[str, Json] = {**describe(given), "in_domain": not is_odd}
        yield Answer(index, value, traits=(share, 9.0 if is_odd else share))


@dataclass
class StaffedServable(WatchedServable):
    """Says that it has worker processes, of which there are to be three."""

    states: Mapping[str, int] = field(default_factory=dict)
    n_line: int | None = None
    trouble: str | None = None

    @property
    def headcount(self) -> Headcount:
        return Headcount(self.states, 3, {}, 0, 0)

    def employ(self, post: Post) -> None:
        post.room(4)

    def dismiss(self, post: Post | None) -> None:
        pass

    def wake(self) -> None:
        pass

    def follow(self, n_replicas: int) -> None:
        pass
