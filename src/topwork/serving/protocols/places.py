"""Where in the OpenAPI description the questions to models stand. It knows no protocol and no task.

Models that take the same inputs share a path with ``{name}`` in it. Where they take different ones, each has a path
of its own, for a description cannot say that the body depends on the name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from topwork.serving.protocols.schemas import Object, path_parameter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from topwork.contracts import Servable

__all__ = ["Place", "name_parameter", "places"]

NAME: Final = "{name}"


@dataclass(frozen=True, slots=True)
class Place:
    """A path, the models behind it by the names of their components, and what tells its operations from others'."""

    path: str
    parts: Mapping[str, Servable]
    suffix: str = ""

    @property
    def parameters(self) -> tuple[Object, ...]:
        """The parameter of the path, if it has one."""
        return (name_parameter(self.parts),) if NAME in self.path else ()


def places(parts: Mapping[str, Servable], path: str) -> Sequence[Place]:
    """Return where ``path``, which has ``{name}`` in it, is described."""
    wires = [servable.wire for servable in parts.values()]
    if all(wire == wires[0] for wire in wires):
        return [Place(path, parts)]
    return [
        Place(path.replace(NAME, quote(servable.name, safe="")), {part: servable}, f"_{part}")
        for part, servable in parts.items()
    ]


def name_parameter(parts: Mapping[str, Servable]) -> Object:
    """Return the parameter that says which model is asked."""
    names = [servable.name for servable in parts.values()]
    return path_parameter("name", "Name of the model: its bundle's file without the suffix.", names)
