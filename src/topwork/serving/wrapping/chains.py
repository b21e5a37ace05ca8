"""Several servables behind one name: each is asked of an input only where it is to be, answers stand side by side.

It knows no task: whether a link is asked depends on the JSON that links before it have answered, and what it is given
is the request's own input, or a part of such an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from topwork.contracts import Answer, Json, Reference, Servable, Wire
from topwork.errors import UsageError
from topwork.serving.batching.gathering import Gathered, gathered_of, together
from topwork.serving.http.answers import answered
from topwork.serving.http.bodies import Input, Unreadable
from topwork.serving.http.messages import dumps
from topwork.serving.wrapping.around import reference_of
from topwork.serving.wrapping.conditions import holds, require_possible

if TYPE_CHECKING:
    Said = dict[str, Answer]

__all__ = ["Chain", "Link"]

CHUNK = 16
"""Inputs that go through all links together: enough for an engine, few enough that a client's leaving ends the work."""

IN_PIECES = "Its answers come in pieces, which a chain does not pass on.\nAsk this model by itself."


@dataclass(frozen=True, slots=True)
class Link:
    """One model of a chain.

    Attributes
    ----------
    servable
        Who is asked; its name in the chain's answers is its own.
    when
        Name of a model before it, to the condition on its answer; of several all must hold. See `conditions`.
    takes
        Name of a model before it and the key of its answer that is the input here: a list of numbers, or a text. None
        for the input of the request.
    """

    servable: Servable
    when: Mapping[str, Json] = field(default_factory=dict)
    takes: tuple[str, str] | None = None

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.servable.name

    @property
    def is_certain(self) -> bool:
        """Whether it is asked of every input that can be read."""
        return not self.when and self.takes is None

    def given(self, content: bytes, said: Said) -> Input | None:
        """Return what it is asked about, given what was said before; None where it is not asked."""
        heard = {name: answer.value for name, answer in said.items()}
        if not all(holds(wanted, heard.get(name)) for name, wanted in self.when.items()):
            return None
        if self.takes is None:
            return content
        model, key = self.takes
        value = heard.get(model)
        return None if value is None else _encoded(value.get(key), self.servable.wire, f"{model}.{key}")


class Chain:
    """Models that are asked one after the other; see `topwork.contracts.Servable`.

    Raises
    ------
    UsageError
        There is no link, two have the same name, the first depends on another, one depends on what is not before it or
        can never be so, or takes another kind of input than the first.
    """

    def __init__(self, name: str, links: Sequence[Link]) -> None:
        self._name, self._links = name, tuple(links)
        _require_names(name, self._links)
        for place, link in enumerate(self._links):
            _require_fit(link, self._links[:place])

    @property
    def name(self) -> str:
        """Name of the chain in the API."""
        return self._name

    @property
    def wire(self) -> Wire:
        """How the input of the first link travels."""
        return self._links[0].servable.wire

    @property
    def answer_schema(self) -> Mapping[str, Json]:
        """Answers by the names of the models; what is not asked is not there."""
        error: Json = {"type": "string", "description": "Why this model has no answer to the input."}
        problem = _closed({"error": error})
        answers: dict[str, Json] = {
            link.name: {"anyOf": [link.servable.answer_schema, problem]} for link in self._links
        }
        return {**_closed(answers), "required": [link.name for link in self._links if link.is_certain]}

    @property
    def explanation_schema(self) -> None:
        """Return nothing: a chain does not explain itself, its models do."""
        return

    @property
    def about(self) -> Mapping[str, Json]:
        """What its models say of themselves, in order, and when each is asked."""
        return {"name": self._name, "chain": [_about(link) for link in self._links]}

    @property
    def gathered(self) -> Gathered | None:
        """Batches that its models make of several requests; None where none makes any."""
        return together(gathered_of(link.servable) for link in self._links)

    @property
    def references(self) -> Mapping[str, Reference | None]:
        """What each of its models was like at the time of its fit."""
        return {link.name: reference_of(link.servable) for link in self._links}

    def prove(self) -> None:
        """Prove every model."""
        for link in self._links:
            link.servable.prove()

    def submit(self, inputs: Sequence[bytes]) -> Iterator[Answer]:
        """Ask all links about some inputs, then about the next ones."""
        for start in range(0, len(inputs), CHUNK):
            for place, said in enumerate(self._said(inputs[start : start + CHUNK])):
                yield _joined(start + place, said)

    def explain(self, inputs: Sequence[bytes]) -> Iterator[Answer]:  # noqa: ARG002
        """Explain nothing; it is not asked to, see `explanation_schema`."""
        raise UsageError(
            f"The chain {self._name!r} has no explanations.", next_step="Ask one of its models by itself."
        )

    def close(self) -> None:
        """End what its links have running, so that nothing holds their models."""
        for link in self._links:
            if (close := getattr(link.servable, "close", None)) is not None:
                close()

    def _said(self, inputs: Sequence[bytes]) -> list[Said]:
        """Return what each link that was asked said of each input."""
        said: list[Said] = [{} for _ in inputs]
        for link in self._links:
            offered = {place: link.given(content, said[place]) for place, content in enumerate(inputs)}
            given = {place: one for place, one in offered.items() if one is not None}
            places = list(given)
            for answer in answered(link.servable, link.servable.submit, list(given.values())):
                here = said[places[answer.index]]
                is_whole = answer.last and link.name not in here
                here[link.name] = answer if is_whole else Answer(answer.index, None, IN_PIECES)
        return said


def _joined(index: int, said: Said) -> Answer:
    """Put answers side by side; where no model has one, the input has the first one's problem."""
    if all(answer.value is None for answer in said.values()):
        return Answer(index, None, next(iter(said.values())).problem)
    return Answer(
        index,
        {
            name: {"error": answer.problem} if answer.value is None else answer.value
            for name, answer in said.items()
        },
        parts=said,
    )


def _encoded(value: Json, wire: Wire, what: str) -> Input:
    """Turn a part of an answer into an input, as it would stand in JSON."""
    if wire.in_json == "text" and isinstance(value, str):
        return value.encode("utf-8", "replace")
    if wire.in_json == "numbers" and isinstance(value, list | tuple):
        return dumps(value)
    return Unreadable(f"{what} is {type(value).__name__}, which is no {wire.noun}.")


# --- what is refused when a chain is made -----------------------------------------------------------------


def _require_names(name: str, links: Sequence[Link]) -> None:
    names = [link.name for link in links]
    if not names or len(set(names)) < len(names):
        raise UsageError(
            f"The chain {name!r} has the models {', '.join(names) or 'none'}; expected at least one, each with a name "
            "of its own.",
            next_step="Give a model another name, or leave one out.",
        )


def _require_fit(link: Link, before: Sequence[Link]) -> None:
    known = {one.name: one.servable for one in before}
    needed = [*link.when, *([link.takes[0]] if link.takes else [])]
    if missing := [name for name in needed if name not in known]:
        raise UsageError(
            f"In the chain, {link.name!r} depends on {missing[0]!r}; before it there is {', '.join(known) or 'none'}.",
            next_step="Put the model that decides before the one that waits for it.",
        )
    for name, wanted in link.when.items():
        if not isinstance(wanted, Mapping):
            raise UsageError(
                f"In the chain, {link.name!r} waits for {wanted!r} of {name!r}; expected a part of its answer.",
                next_step='Write the key as well, such as {"label": "plate"}.',
            )
        require_possible(wanted, known[name].answer_schema, where=name)
    if link.takes is not None:
        require_possible({link.takes[1]: []}, known[link.takes[0]].answer_schema, where=link.takes[0])
    _require_kind(link, before)


def _require_kind(link: Link, before: Sequence[Link]) -> None:
    own = link.servable.wire
    if link.takes is not None and own.in_json == "base64":
        raise UsageError(
            f"In the chain, {link.name!r} takes a {own.noun}, which no model's answer holds.",
            next_step="Leave `takes` out: it is given the input of the request.",
        )
    if link.takes is None and before and own != (first := before[0].servable.wire):
        raise UsageError(
            f"In the chain, {before[0].name!r} takes a {first.noun} and {link.name!r} a {own.noun}; "
            "all are given the same input.",
            next_step="Chain models of one kind of input, or say with `takes` what of an answer is the input.",
        )


def _about(link: Link) -> Mapping[str, Json]:
    return {
        "name": link.name,
        "when": link.when,
        "takes": None if link.takes is None else list(link.takes),
        "about": link.servable.about,
    }


def _closed(properties: Mapping[str, Json]) -> dict[str, Json]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
