"""The answers of any model as tensors of the Open Inference Protocol, by their JSON Schema alone.

Every model has the output ``answer``: each answer as JSON in an element of BYTES, so that nothing of it is lost. What
in the schema is always there, stands under fixed names and is a single value has an output of its own besides, such as
``label`` or ``value``; of a model with several targets the names are joined, ``species.label``. What may be null, lists
and tables stand in ``answer`` only. It knows no task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from topwork.serving.messages import dumps
from topwork.serving.refusals import Refusal
from topwork.serving.tensors import Tensor

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
    """One output of a model: where in an answer its values stand; the empty path is the answer itself."""

    name: str
    datatype: str
    path: tuple[str, ...]


def outputs_of(schema: Mapping[str, Json]) -> tuple[Output, ...]:
    """Return the outputs of a model whose answers have ``schema``; names differ."""
    found = {WHOLE: Output(WHOLE, "BYTES", ())}
    for output in _single_values(schema, ()):
        # A target may be called "answer", or a name hold a dot: then who came first has the name.
        found.setdefault(output.name, output)
    return tuple(found.values())


def _single_values(schema: Mapping[str, Json], path: tuple[str, ...]) -> Iterator[Output]:
    properties = schema.get("properties")
    required = schema.get("required")
    if not isinstance(properties, Mapping) or not isinstance(required, (list, tuple)):
        return
    for name, inner in properties.items():
        if name not in required or not isinstance(inner, Mapping):
            continue
        kind, here = inner.get("type"), (*path, name)
        if kind == "object":
            yield from _single_values(inner, here)
        elif isinstance(kind, str) and kind in DATATYPES:
            yield Output(".".join(here), DATATYPES[kind], here)


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
    """Return one output over all answers, shape ``[n]``."""
    found = [_value(output, value) for value in values]
    return Tensor(output.name, output.datatype, (len(found),), found)


def _value(output: Output, answer: Json) -> Json:
    for name in output.path:
        answer = answer[name]  # type: ignore[index, call-overload]  # the schema says that it is there
    if not output.path:
        return dumps(answer).decode("utf-8")
    return float(answer) if output.datatype == "FP64" else answer  # type: ignore[arg-type]
