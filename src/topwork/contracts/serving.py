"""A model as a server sees it."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from topwork.contracts.inputs import Wire
from topwork.contracts.values import Array, Json

__all__ = ["Answer", "Batchable", "Face", "Intake", "NobodyElse", "Profile", "Reference", "Servable"]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, or one piece of a streamed answer, for the input at ``index`` of a request.

    Exactly one of ``value`` and ``problem`` is set; ``last`` is False where more pieces follow. ``traits`` are numbers
    that say where the input stands among others, in the order of `Reference.traits`; a server watches them, no client
    sees them. ``parts`` are the answers that it was joined of, by the models that gave them; they are watched as well.
    """

    index: int
    value: Mapping[str, Json] | None
    problem: str | None = None
    last: bool = True
    traits: tuple[float, ...] = ()
    parts: Mapping[str, Answer] | None = field(default=None, compare=False)  # what they say stands in `value`


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """What the answers of one target were like on rows that the model was not fitted on.

    Attributes
    ----------
    n
        How many answers.
    counts
        A word of the answer, such as ``label``, to how many answers gave each label.
    spreads
        A word, such as ``value``, to the percentiles of its numbers, ``float32 [101]``.
    """

    n: int
    counts: Mapping[str, Mapping[str, int]]
    spreads: Mapping[str, Array]


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What inputs and answers were like when the model was fitted: what a server holds those of today against.

    A servable may offer it as ``reference``; one that does not is not watched. One whose answers have ``parts`` may
    offer those of its parts as ``references``, by their names.

    Attributes
    ----------
    profiles
        By target; the empty name for a model whose answers are those of its only target.
    traits
        Percentiles of each of `Answer.traits`, ``float32 [t, 101]``.
    n_rows
        How many rows each of these was taken over.
    out_of_domain
        Share of inputs like the training data that are called out of domain all the same; None where none are called
        so.
    """

    profiles: Mapping[str, Profile]
    traits: Array
    n_rows: tuple[int, ...]
    out_of_domain: float | None


@runtime_checkable
class Face(Protocol):
    """What a model says of itself."""

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


@runtime_checkable
class Servable(Face, Protocol):
    """A model as a server sees it: bytes in, JSON out, whatever the task and the modality."""

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


class Intake(Protocol):
    """Whom a batch that is being computed may ask who else has come, and who has gone."""

    def admit(self) -> Sequence[Any]:
        """Take in prepared inputs that have come meanwhile, as many as there is room for, and return them.

        They have the same key, and take the next numbers. What was answered before goes out to the clients.
        """
        ...

    def gone(self) -> Collection[int]:
        """Return the numbers of inputs that nobody waits for any more; these need no further answer."""
        ...


class NobodyElse:
    """An `Intake` of a batch that nobody joins and nobody leaves."""

    def admit(self) -> Sequence[Any]:
        """Return nothing."""
        return ()

    def gone(self) -> Collection[int]:
        """Return nothing."""
        return ()


@runtime_checkable
class Batchable(Protocol):
    """What a `Servable` offers besides `submit`, where inputs of several requests can be computed together.

    Its answers are those of `submit`. All of it is safe from several threads. One that offers ``n_together``, a number,
    is given as many inputs at once; of others it is found out how many are worth it.
    """

    def samples(self) -> Sequence[Any]:
        """Return prepared inputs that stand for those to come, at least one: batches are timed with them."""
        ...

    def rehearse(self) -> None:
        """Answer one of those in this thread, from its encoded form on: a thread takes longer over its first one."""
        ...

    def prepare(self, encoded: bytes) -> Any:
        """Decode one input, beside what is being computed.

        Raises
        ------
        DecodeError
            It cannot be read; the text is the answer's ``problem``.
        """
        ...

    def key(self, prepared: Any) -> Hashable:
        """Return what prepared inputs have in common that can be computed together, such as their shape."""
        ...

    def compute(self, prepared: Sequence[Any], intake: Intake) -> Iterator[Answer]:
        """Answer inputs of one key together; the ``index`` of an answer is the number of its input, in their order.

        What takes many steps may ask the intake after each, and so take newcomers into a batch that runs. Where it
        raises, inputs without an answer are tried again in smaller batches; one that fails alone has failed.
        """
        ...

    def finish(self, answer: Answer) -> Answer:
        """Return an answer as the client is to get it; what takes long of an answer, once the engine is free again."""
        ...
