"""Building blocks of the OpenAPI description. It knows no route and no servable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from topwork.contracts import Json

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from topwork.contracts import Servable

__all__ = [
    "MEANINGS",
    "RETRY_AFTER",
    "TIMEOUT",
    "Object",
    "any_of",
    "asking",
    "closed",
    "errors",
    "operation",
    "path_parameter",
    "ref",
    "response",
]

Object: TypeAlias = dict[str, Json]

MEANINGS: Final[Mapping[int, str]] = {
    400: "The body is not what its content type says.",
    404: "There is no such path or model.",
    408: "The body took too long to arrive.",
    413: "The body is too large.",
    415: "The content type is none that is taken.",
    422: "The body was read, but is no input for this model.",
    429: "Too much to do; `Retry-After` says when to come again.",
    500: "A mistake of the server; the details are in its log.",
    503: "Not ready yet, or not finished in time.",
}
"""Status of an error to what it says; all of them may answer a prediction."""

RETRY_AFTER: Final[Object] = {
    "Retry-After": {
        "description": "Seconds after which to come again.",
        "schema": {"type": "integer", "minimum": 1},
    }
}


TIMEOUT: Final[Object] = {
    "name": "X-Timeout-Ms",
    "in": "header",
    "description": (
        "Milliseconds within which the answer is wanted; work that has not begun by then never begins, "
        "and the status is 503. The server's own deadline holds as well."
    ),
    "schema": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
}
"""The parameter of everything that asks a model."""

ROUTE: Final[Object] = {
    "name": "X-Route-Key",
    "in": "header",
    "description": (
        "Requests with the same key get the same version of the model as long as its versions' shares are the same; "
        "those without one are dealt by chance."
    ),
    "schema": {"type": "string"},
}
"""The parameter of what asks a model that has several versions."""


def asking(parts: Mapping[str, Servable], split: Collection[str]) -> list[Json]:
    """Return the parameters of what asks one of some models, given the names of those that have several versions."""
    is_split = any(one.name in split for one in parts.values())
    return [TIMEOUT, ROUTE] if is_split else [TIMEOUT]


def operation(name: str, summary: str, answer: Json, statuses: Sequence[int]) -> Object:
    """Return an operation that answers with JSON of the schema ``answer``, or with an error."""
    responses: Object = {"200": response("It is so.", answer), **errors(statuses)}
    return {"operationId": name, "summary": summary, "responses": responses}


def errors(statuses: Sequence[int], schema: str = "Error") -> Object:
    """Return the responses of these statuses; all have the same schema."""
    found: Object = {}
    for status in statuses:
        found[str(status)] = response(MEANINGS[status], ref(schema))
        if status in (429, 503):
            found[str(status)] = {**response(MEANINGS[status], ref(schema)), "headers": RETRY_AFTER}
    return found


def response(description: str, schema: Json) -> Object:
    """Return a response of JSON."""
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def path_parameter(name: str, description: str, values: Sequence[str]) -> Object:
    """Return a segment of a path that is one of ``values``."""
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string", "enum": list(values)},
    }


def ref(name: str) -> Object:
    """Return a reference to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def any_of(schemas: Sequence[Json]) -> Json:
    """Return the schema of what fits one of several."""
    return schemas[0] if len(schemas) == 1 else {"anyOf": list(schemas)}


def closed(properties: Mapping[str, Json], optional: Sequence[str] = ()) -> Object:
    """Return the schema of an object with these properties and no other, all of them but those ``optional``."""
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }
