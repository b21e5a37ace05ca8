"""A model as a server sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from topwork.contracts.inputs import Wire
from topwork.contracts.values import Json

__all__ = ["Answer", "Servable"]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, or one piece of a streamed answer, for the input at ``index`` of a request.

    Exactly one of ``value`` and ``problem`` is set; ``last`` is False where more pieces follow.
    """

    index: int
    value: Mapping[str, Json] | None
    problem: str | None = None
    last: bool = True


@runtime_checkable
class Servable(Protocol):
    """A model as a server sees it: bytes in, JSON out, whatever the task and the modality."""

    @property
    def name(self) -> str:
        """Name in the API; the stem of the bundle's file."""
        ...

    @property
    def wire(self) -> Wire:
        """How an input travels."""
        ...

    @property
    def answer_schema(self) -> Mapping[str, Json]:
        """JSON Schema of the ``value`` of an answer."""
        ...

    @property
    def explanation_schema(self) -> Mapping[str, Json] | None:
        """JSON Schema of the ``value`` of an explanation; None for a model that cannot say what drives its answers."""
        ...

    @property
    def about(self) -> Mapping[str, Json]:
        """What a person may want to know: trunk, task, labels, test score, engine, when it was fitted."""
        ...

    def prove(self) -> None:
        """Replay the golden examples and warm up.

        Raises
        ------
        ProofError
            The answers differ from those at the time of the fit.
        """
        ...

    def submit(self, inputs: Sequence[bytes]) -> Iterator[Answer]:
        """Answer encoded inputs; a bad one gets a problem, the others their answer. Safe from several threads."""
        ...

    def explain(self, inputs: Sequence[bytes]) -> Iterator[Answer]:
        """Tell what of each encoded input drove the answer; asked only where there is an `explanation_schema`."""
        ...
