"""The answers of any model as tensors of the Open Inference Protocol, by their JSON Schema alone.

Every model has the output ``answer``: each answer as JSON in an element of BYTES, so that nothing of it is lost. What
in the schema is always there and is a single value, or a list of a fixed number of numbers, has an output of its own
besides, such as ``label``, ``value`` or ``embedding``; of a model with several targets the names are joined,
``species.label``. What may be null, other lists and tables stand in ``answer`` only. It knows no task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from topwork.serving.http.messages import dumps
from topwork.serving.http.refusals import Refusal
from topwork.serving.protocols.tensors import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from topwork.contracts import Answer, Json

__all__ = ["WHOLE", "Output", "outputs_of", "tensor_of", "values_of"]

WHOLE: Final = "answer"
DATATYPES: Final[Mapping[str, str]] = MappingProxyType(
    {"string": "BYTES", "boolean": "BOOL", "integer": "INT64", "number": "FP64"}
)


@dataclass(frozen=True, slots=True)
class Output:
    """One output of a model.

    Attributes
    ----------
    path
        Where in an answer its value stands; the empty path is the answer itself.
    width
        How many numbers there are for each input; None where there is a single value, which has no dimension.
    """

    name: str
    datatype: str
    path: tuple[str, ...]
    width: int | None = None

    def shape(self, n: int) -> tuple[int, ...]:
        """Return the shape of the output over ``n`` inputs."""
        return (n,) if self.width is None else (n, self.width)


def outputs_of(schema: Mapping[str, Json]) -> tuple[Output, ...]:
    """Return the outputs of a model whose answers have ``schema``; names differ."""
    found = {WHOLE: Output(WHOLE, "BYTES", ())}
    for output in _values(schema, ()):
        # A target may be called "answer", or a name hold a dot: then who came first has the name.
        found.setdefault(output.name, output)
    return tuple(found.values())


def _values(schema: Mapping[str, Json], path: tuple[str, ...]) -> Iterator[Output]:
    properties = schema.get("properties")
    required = schema.get("required")
    if not isinstance(properties, Mapping) or not isinstance(required, (list, tuple)):
        return
    for name, inner in properties.items():
        if name not in required or not isinstance(inner, Mapping):
            continue
        here = (*path, name)
        if inner.get("type") == "object":
            yield from _values(inner, here)
        elif (kind := _datatype(inner)) is not None:
            yield Output(".".join(here), kind, here)
        elif (row := _row(inner)) is not None:
            yield Output(".".join(here), row[0], here, row[1])


def _datatype(schema: Mapping[str, Json]) -> str | None:
    kind = schema.get("type")
    return DATATYPES.get(kind) if isinstance(kind, str) else None


def _row(schema: Mapping[str, Json]) -> tuple[str, int] | None:
    """Return the datatype and the number of what a list holds, where that is always the same, and numbers."""
    items, least = schema.get("items"), schema.get("minItems")
    if schema.get("type") != "array" or not isinstance(items, Mapping) or least != schema.get("maxItems"):
        return None
    datatype = _datatype(items)
    if datatype not in ("INT64", "FP64") or not isinstance(least, int) or least < 1:
        return None
    return datatype, least


def values_of(answers: Sequence[Answer]) -> list[Mapping[str, Json]]:
    """Return the values of complete answers in the order of the inputs.

    Raises
    ------
    Refusal
        An input was bad. A tensor has no place for "no answer", so there is none for the others either.
    """
    ordered = sorted(answers, key=lambda answer: answer.index)
    bad = [answer for answer in ordered if answer.problem is not None]
    if bad:
        told = [f"Input {one.index}: {' '.join((one.problem or '').split())}" for one in bad]
        raise Refusal(
            "bad_input",
            " ".join(told),
            next_step="Leave such inputs out; POST /predict answers the others all the same."
            if len(answers) > 1
            else "",
        )
    return [answer.value or {} for answer in ordered]


def tensor_of(output: Output, values: Sequence[Mapping[str, Json]]) -> Tensor:
    """Return one output over all answers."""
    found = [_value(output, value) for value in values]
    flat = found if output.width is None else [one for row in found for one in row]  # type: ignore[union-attr]
    typed = [float(one) for one in flat] if output.datatype == "FP64" else flat  # type: ignore[arg-type]
    return Tensor(output.name, output.datatype, output.shape(len(values)), typed)


def _value(output: Output, answer: Json) -> Json:
    for name in output.path:
        answer = answer[name]  # type: ignore[index, call-overload]  # the schema says that it is there
    return answer if output.path else dumps(answer).decode("utf-8")
