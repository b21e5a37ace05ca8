"""The OpenAPI 3.1 description, made from each servable's wire and answer schema. It knows no task."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from topwork import __version__
from topwork.contracts import Json, Servable, Wire
from topwork.serving.refusals import STATUSES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from topwork.serving.limits import Limits

__all__ = ["document", "wire_json"]

Object = dict[str, Json]

MEANINGS = {
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


@dataclass(frozen=True, slots=True)
class _Words:
    """How one kind of question is described, and what its schemas are called."""

    summary: str
    given: str
    answer: str
    answers: str
    line: str


_PREDICT = _Words(
    "Ask the model about one or several inputs.",
    "A prediction for each input, in order.",
    "Answer",
    "Predictions",
    "Line",
)
_EXPLAIN = _Words(
    "Ask the model what in one or several inputs drives its answer.",
    "An explanation for each input, in order: its pieces, and how much each spoke for the answer or against it.",
    "Explanation",
    "Explanations",
    "ExplanationLine",
)
ABOUT_ERRORS = (404, 500)
PREDICT_ERRORS = tuple(MEANINGS)


def wire_json(wire: Wire, limits: Limits) -> Object:
    """Return how an input travels, for a page or a client."""
    return {
        "noun": wire.noun,
        "widget": wire.widget,
        "media_types": list(wire.media_types),
        "in_json": wire.in_json,
        "max_bytes": min(wire.max_bytes, limits.max_body_bytes),
        "max_inputs": limits.max_inputs,
    }


def document(
    servables: Sequence[Servable], limits: Limits, further: Mapping[str, Json] | None = None
) -> Object:
    """Return the whole document; the first servable is the one of ``/predict``, ``further`` are paths of others."""
    names = [servable.name for servable in servables]
    parts = {_part(servable.name, index): servable for index, servable in enumerate(servables)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"topwork: {', '.join(names)}",
            "version": __version__,
            "summary": "Models behind HTTP.",
        },
        "servers": [{"url": "./"}],
        "paths": {**_paths(parts, limits), **(further or {})},
        "components": {"schemas": _schemas(parts)},
    }


def _part(name: str, index: int) -> str:
    """Return a key that a component may have: the name where it can be, else with its number."""
    clean = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    return clean if clean == name else f"{clean}_{index}"


def _paths(parts: Mapping[str, Servable], limits: Limits) -> Object:
    first = next(iter(parts))
    paths: Object = {"/predict": {"post": _predict({first: parts[first]}, limits, "predict")}}
    paths["/v1/models"] = {"get": _get("listModels", "List the models.", "ModelList", (500,))}
    paths["/v1/models/{name}"] = {
        "parameters": [_name(parts)],
        "get": _get(
            "aboutModel",
            "What is known of a model: its test score, its trunk, its input.",
            "Model",
            ABOUT_ERRORS,
        ),
    }
    paths["/v1/models/{name}/predict"] = {
        "parameters": [_name(parts)],
        "post": _predict(parts, limits, "predictWith"),
    }
    if telling := {part: servable for part, servable in parts.items() if servable.explanation_schema}:
        paths |= _explaining(telling, first, limits)
    paths["/livez"] = {"get": _get("livez", "Whether the process answers.", "Status", (500,))}
    paths["/readyz"] = {
        "get": _get("readyz", "Whether every model has passed its proof.", "Status", (500, 503))
    }
    paths["/openapi.json"] = {"get": _document_get("openapi", "This description.", "application/json")}
    paths["/docs"] = {"get": _document_get("docs", "This description, for people.", "text/html")}
    paths["/"] = {"get": _document_get("index", "The page to try a model on.", "text/html")}
    return paths


def _explaining(parts: Mapping[str, Servable], first: str, limits: Limits) -> Object:
    """Return the paths by which models that can are asked what drives their answers."""
    paths: Object = {
        "/v1/models/{name}/explain": {
            "parameters": [_name(parts)],
            "post": _asked(parts, limits, "explainWith", _EXPLAIN),
        }
    }
    if first in parts:
        paths["/explain"] = {"post": _asked({first: parts[first]}, limits, "explain", _EXPLAIN)}
    return paths


def _name(parts: Mapping[str, Servable]) -> Object:
    names = [servable.name for servable in parts.values()]
    return {
        "name": "name",
        "in": "path",
        "required": True,
        "description": "Name of the model: its bundle's file without the suffix.",
        "schema": {"type": "string", "enum": names},
    }


def _get(operation: str, summary: str, schema: str, errors: Sequence[int]) -> Object:
    return {
        "operationId": operation,
        "summary": summary,
        "responses": {"200": _response("It is so.", _ref(schema)), **_errors(errors)},
    }


def _document_get(operation: str, summary: str, media_type: str) -> Object:
    content: Object = {
        media_type: {"schema": {"type": "object" if media_type.endswith("json") else "string"}}
    }
    return {
        "operationId": operation,
        "summary": summary,
        "responses": {"200": {"description": "The document.", "content": content}, **_errors((500,))},
    }


def _predict(parts: Mapping[str, Servable], limits: Limits, operation: str) -> Object:
    return _asked(parts, limits, operation, _PREDICT)


def _asked(parts: Mapping[str, Servable], limits: Limits, operation: str, words: _Words) -> Object:
    answers = [_ref(f"{words.answers}.{part}") for part in parts]
    lines = [_ref(f"{words.line}.{part}") for part in parts]
    return {
        "operationId": operation,
        "summary": words.summary,
        "description": (
            "Send one input as the body itself, or several as a form or as JSON. An input that cannot be read "
            "gets an error among the predictions; where it was the only one, the status is 422. "
            "`Accept: application/x-ndjson` gives each answer as a line of its own as soon as it is there."
        ),
        "parameters": [_timeout()],
        "requestBody": {"required": True, "content": _contents(list(parts.values()), limits)},
        "responses": {
            "200": {
                "description": words.given,
                "content": {
                    "application/json": {"schema": _any_of(answers)},
                    "application/x-ndjson": {"schema": _any_of(lines)},
                },
            },
            **_errors(PREDICT_ERRORS),
        },
    }


def _timeout() -> Object:
    return {
        "name": "X-Timeout-Ms",
        "in": "header",
        "description": (
            "Milliseconds within which the answer is wanted; work that has not begun by then never begins, "
            "and the status is 503. The server's own deadline holds as well."
        ),
        "schema": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
    }


def _contents(servables: Sequence[Servable], limits: Limits) -> Object:
    raw: Object = {}
    for servable in servables:
        for media_type in (*servable.wire.media_types, "application/octet-stream"):
            raw[media_type] = {"schema": {}}
    encodings = {servable.wire.in_json: servable.wire for servable in servables}
    return {
        "multipart/form-data": {"schema": _form_schema(limits)},
        **raw,
        "application/json": {"schema": _any_of([_json_schema(wire, limits) for wire in encodings.values()])},
    }


def _form_schema(limits: Limits) -> Object:
    return {
        "type": "object",
        "description": "Every part is one input, whatever its name.",
        "minProperties": 1,
        "properties": {"file": {"type": "array", "items": {}, "minItems": 1, "maxItems": limits.max_inputs}},
        "required": ["file"],
        "additionalProperties": False,
    }


def _json_schema(wire: Wire, limits: Limits) -> Object:
    text: Object = {"type": "string", "description": f"The {wire.noun}."}
    if wire.in_json == "numbers":
        text = {
            "type": "array",
            "items": {"type": "number"},
            "minItems": 1,
            "description": f"The {wire.noun}.",
        }
    if wire.in_json == "base64":
        text["contentEncoding"] = "base64"
        text["description"] = f"The {wire.noun}, its bytes in base64."
    many: Object = {"type": "array", "items": text, "minItems": 1, "maxItems": limits.max_inputs}
    return {"oneOf": [_closed({"input": text}), _closed({"inputs": many})]}


def _schemas(parts: Mapping[str, Servable]) -> Object:
    schemas: Object = {
        "Error": _closed(
            {"error": _closed({name: {"type": "string"} for name in ("message", "next_step")} | _code())}
        ),
        "InputError": _closed({"error": {"type": "string", "description": "Why this input has no answer."}}),
        "Status": _closed({"status": {"type": "string"}}),
        "ModelSummary": _closed(_summary()),
        "ModelList": _closed({"models": {"type": "array", "items": _ref("ModelSummary")}}),
        "Model": _closed(
            {
                **_summary(),
                **{name: {"type": "object"} for name in ("about", "input", "answer_schema")},
                "explanation_schema": {"anyOf": [{"type": "object"}, {"const": None}]},
            }
        ),
    }
    for part, servable in parts.items():
        schemas |= _of_answers(_PREDICT, part, servable.name, servable.answer_schema)
        if servable.explanation_schema is not None:
            schemas |= _of_answers(_EXPLAIN, part, servable.name, servable.explanation_schema)
    return schemas


def _of_answers(words: _Words, part: str, name: str, schema: Mapping[str, Json]) -> Object:
    return {
        f"{words.answer}.{part}": dict(schema),
        f"{words.answers}.{part}": _several(words, part, name),
        f"{words.line}.{part}": _line(words, part),
    }


def _code() -> Object:
    return {"code": {"type": "string", "enum": sorted(STATUSES)}}


def _summary() -> Object:
    return {"name": {"type": "string"}, "state": {"type": "string", "enum": ["starting", "ready", "failed"]}}


def _several(words: _Words, part: str, name: str) -> Object:
    entry = _any_of([_ref(f"{words.answer}.{part}"), _ref("InputError")])
    return _closed(
        {"model": {"type": "string", "const": name}, words.answers.lower(): {"type": "array", "items": entry}}
    )


def _line(words: _Words, part: str) -> Object:
    place: Object = {"index": {"type": "integer", "minimum": 0}, "last": {"type": "boolean"}}
    value = _closed({**place, "value": _ref(f"{words.answer}.{part}")})
    return {"anyOf": [value, _closed({**place, "error": {"type": "string"}}), _ref("Error")]}


def _errors(statuses: Sequence[int]) -> Object:
    return {str(status): _response(MEANINGS[status], _ref("Error")) for status in statuses}


def _response(description: str, schema: Json) -> Object:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> Object:
    return {"$ref": f"#/components/schemas/{name}"}


def _any_of(schemas: Sequence[Json]) -> Json:
    return schemas[0] if len(schemas) == 1 else {"anyOf": list(schemas)}


def _closed(properties: Object) -> Object:
    """Return the schema of an object with these properties, all of them and no other."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
