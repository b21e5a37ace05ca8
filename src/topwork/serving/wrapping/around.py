"""What a servable says of itself where it has that from elsewhere: from one that it stands around, or a description.

It answers nothing; whoever is around a model says how.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from topwork.contracts import Face, Json, Reference, Servable, Wire

__all__ = ["Around", "Faced", "reference_of"]


class Faced(ABC):
    """A servable that says of itself what its face says; see `topwork.contracts.Servable`."""

    @property
    @abstractmethod
    def _face(self) -> Face: ...

    @property
    def name(self) -> str:
        """The model's name."""
        return self._face.name

    @property
    def wire(self) -> Wire:
        """How an input of the model travels."""
        return self._face.wire

    @property
    def answer_schema(self) -> Mapping[str, Json]:
        """JSON Schema of its answers."""
        return self._face.answer_schema

    @property
    def explanation_schema(self) -> Mapping[str, Json] | None:
        """JSON Schema of its explanations."""
        return self._face.explanation_schema

    @property
    def about(self) -> Mapping[str, Json]:
        """What the model says of itself."""
        return self._face.about

    @property
    def reference(self) -> Reference | None:
        """What its inputs and answers are held against."""
        return reference_of(self._face)


class Around(Faced):
    """A servable around another one: what it does not change is the other's."""

    def __init__(self, servable: Servable) -> None:
        self._servable = servable

    @property
    def _face(self) -> Face:
        return self._servable


def reference_of(servable: Face) -> Reference | None:
    """Return what a servable's inputs and answers are held against; None where it offers nothing."""
    found: Reference | None = getattr(servable, "reference", None)
    return found
