"""A servable that knows what its answers were like, for the tests of what watches them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from fake_servable import LABELS, FakeServable, describe
from topwork.contracts import Answer, Json, Profile, Reference

__all__ = ["WatchedServable", "known"]

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
