"""A servable around another one: what it does not change is the other's.

It answers nothing; whoever is around a model says how.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from topwork.contracts import Json, Reference, Servable, Wire

__all__ = ["Around", "reference_of"]


class Around:
    """What a servable says of itself, passed on; see `topwork.contracts.Servable`."""

    def __init__(self, servable: Servable) -> None:
        self._servable = servable

    @property
    def name(self) -> str:
        """The model's name."""
        return self._servable.name

    @property
    def wire(self) -> Wire:
        """How an input of the model travels."""
        return self._servable.wire

    @property
    def answer_schema(self) -> Mapping[str, Json]:
        """JSON Schema of its answers."""
        return self._servable.answer_schema

    @property
    def explanation_schema(self) -> Mapping[str, Json] | None:
        """JSON Schema of its explanations."""
        return self._servable.explanation_schema

    @property
    def about(self) -> Mapping[str, Json]:
        """What the model says of itself."""
        return self._servable.about

    @property
    def reference(self) -> Reference | None:
        """What its inputs and answers are held against."""
        return reference_of(self._servable)


def reference_of(servable: Servable) -> Reference | None:
    """Return what a servable's inputs and answers are held against; None where it offers nothing."""
    found: Reference | None = getattr(servable, "reference", None)
    return found
