"""Whether inputs are in languages that the trunk was trained on. It knows no language: the modality tells them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from topwork.contracts import Array
from topwork.errors import DecodeError
from topwork.steps.order import Order

__all__ = ["foreign"]

_MOST_ASKED = 500
_WORTH_SAYING = 0.02
"""Share of the inputs from which on a language is named; single foreign texts are found among all others."""


def foreign(order: Order, rows: Array) -> str | None:
    """Return a caution where some of these rows are in languages that the trunk does not know; None where none is.

    A trunk that does not say what it was trained on knows every language. What cannot be told does not count.
    """
    known = order.trunk.card.languages
    if not known:
        return None
    found = order.modality.languages(_some(order, rows))
    strange = {name: share for name, share in found.items() if share >= _WORTH_SAYING and name not in known}
    strange.pop("und", None)
    if not strange:
        return None
    told = ", ".join(f"{name} {share:.0%}" for name, share in strange.items())
    return (
        f"Some inputs look to be in languages that the trunk {order.trunk.card.name} was not trained on ({told}); it "
        f"knows {', '.join(known)}. Take a trunk for these languages with --trunk hf/OWNER/NAME."
    )


def _some(order: Order, rows: Array) -> Iterator[bytes]:
    for row in rows[:: max(1, len(rows) // _MOST_ASKED)]:
        with suppress(DecodeError):
            yield order.dataset.read(int(row))
