"""The OpenAPI 3.1 description, made from each servable's wire and answer schema. It knows no task."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from topwork import __version__
from topwork.contracts import Json, Servable, Wire
from topwork.serving.http.refusals import STATUSES
from topwork.serving.jobs import schemas as job_schemas
from topwork.serving.protocols import tensor_schemas
from topwork.serving.protocols.places import name_parameter, places
from topwork.serving.protocols.schemas import (
    MEANINGS,
    Object,
    any_of,
    asking,
    closed,
    errors,
    operation,
    ref,
)
from topwork.serving.watching import monitoring

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from topwork.serving.dialects import Described
    from topwork.serving.limits import Limits

__all__ = ["document", "wire_json"]


@dataclass(frozen=True, slots=True)
class _Words:
    """How one kind of question is described, and what its path and schemas are called."""

    verb: str
    summary: str
    given: str
    answer: str
    answers: str
    line: str


_PREDICT = _Words(
    "predict",
    "Ask the model about one or several inputs.",
    "A prediction for each input, in order.",
    "Answer",
    "Predictions",
    "Line",
)
_EXPLAIN = _Words(
    "explain",
    "Ask the model what in one or several inputs drives its answer.",
    "An explanation for each input, in order: its pieces, and how much each spoke for the answer or against it.",
    "Explanation",
    "Explanations",
    "ExplanationLine",
)
_TEXT: Object = {"minLength": 1}
_BYTES: Object = {"type": "string", "format": "binary", "minLength": 1}
"""One input as the body itself; whatever stands in a body of text is text, so that has no type."""

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
    servables: Sequence[Servable],
    limits: Limits,
    further: Sequence[Described] = (),
    *,
    jobs: job_schemas.Offer | None = None,
    split: Collection[str] = (),
) -> Object:
    """Return the whole document.

    Parameters
    ----------
    servables
        The first is the one of ``/predict``.
    further
        What others say of their paths.
    jobs
        What is offered of jobs, where they are taken.
    split
        Names of the models whose requests are shared among several versions.
    """
    names = [servable.name for servable in servables]
    parts = {_part(servable.name, index): servable for index, servable in enumerate(servables)}
    paths, schemas = _paths(parts, limits, split), _schemas(parts, limits)
    for one in further:
        paths, schemas = {**paths, **one.paths}, {**schemas, **one.schemas}
    if jobs is not None:
        paths |= job_schemas.paths(parts, lambda servables: _contents(servables, limits), jobs)
        schemas |= job_schemas.components(parts, jobs)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"topwork: {', '.join(names)}",
            "version": __version__,
            "summary": "Models behind HTTP.",
        },
        "servers": [{"url": "./"}],
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _part(name: str, index: int) -> str:
    """Return a key that a component may have: the name where it can be, else with its number."""
    clean = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    return clean if clean == name else f"{clean}_{index}"


def _paths(parts: Mapping[str, Servable], limits: Limits, split: Collection[str]) -> Object:
    first = next(iter(parts))
    paths: Object = {"/predict": {"post": _asked({first: parts[first]}, limits, split, "predict", _PREDICT)}}
    paths["/v1/models"] = {"get": _get("listModels", "List the models.", "ModelList", (500,))}
    paths["/v1/models/{name}"] = {
        "parameters": [name_parameter(parts)],
        "get": _get(
            "aboutModel",
            "What is known of a model: its test score, its trunk, its input.",
            "Model",
            ABOUT_ERRORS,
        ),
    }
    paths |= monitoring.paths(parts)
    paths |= _of_models(parts, limits, split, "predictWith", _PREDICT)
    if telling := {part: servable for part, servable in parts.items() if servable.explanation_schema}:
        paths |= _explaining(telling, first, limits, split)
    paths |= _of_protocols(parts, first, limits, split)
    paths["/livez"] = {"get": _get("livez", "Whether the process answers.", "Status", (500,))}
    paths["/readyz"] = {
        "get": _get("readyz", "Whether every model has passed its proof.", "Status", (500, 503))
    }
    paths["/openapi.json"] = {"get": _document_get("openapi", "This description.", "application/json")}
    paths["/docs"] = {"get": _document_get("docs", "This description, for people.", "text/html")}
    paths["/"] = {"get": _document_get("index", "The page to try a model on.", "text/html")}
    return paths


def _of_protocols(
    parts: Mapping[str, Servable], first: str, limits: Limits, split: Collection[str]
) -> Object:
    return {
        **tensor_schemas.paths(parts, split),
        "/invocations": {"post": _asked({first: parts[first]}, limits, split, "invocations", _PREDICT)},
        "/ping": {"get": _get("ping", "As /readyz, for Amazon SageMaker.", "Status", (500, 503))},
        "/metrics": {"get": _metrics()},
    }


def _metrics() -> Object:
    kinds = ("text/plain", "application/openmetrics-text")
    content: Object = {kind: {"schema": {"type": "string"}} for kind in kinds}
    return {
        "operationId": "metrics",
        "summary": "What the server counts of itself, for Prometheus.",
        "responses": {"200": {"description": "The metrics.", "content": content}, **errors((500,))},
    }


def _of_models(
    parts: Mapping[str, Servable], limits: Limits, split: Collection[str], name: str, words: _Words
) -> Object:
    return {
        place.path: {
            "parameters": place.parameters,
            "post": _asked(place.parts, limits, split, f"{name}{place.suffix}", words),
        }
        for place in places(parts, f"/v1/models/{{name}}/{words.verb}")
    }


def _explaining(parts: Mapping[str, Servable], first: str, limits: Limits, split: Collection[str]) -> Object:
    """Return the paths by which models that can are asked what drives their answers."""
    paths = _of_models(parts, limits, split, "explainWith", _EXPLAIN)
    if first in parts:
        paths["/explain"] = {"post": _asked({first: parts[first]}, limits, split, "explain", _EXPLAIN)}
    return paths


def _get(name: str, summary: str, schema: str, statuses: Sequence[int]) -> Object:
    return operation(name, summary, ref(schema), statuses)


def _document_get(name: str, summary: str, media_type: str) -> Object:
    content: Object = {
        media_type: {"schema": {"type": "object" if media_type.endswith("json") else "string"}}
    }
    return {
        "operationId": name,
        "summary": summary,
        "responses": {"200": {"description": "The document.", "content": content}, **errors((500,))},
    }


def _asked(
    parts: Mapping[str, Servable], limits: Limits, split: Collection[str], name: str, words: _Words
) -> Object:
    answers = [ref(f"{words.answers}.{part}") for part in parts]
    lines = [ref(f"{words.line}.{part}") for part in parts]
    return {
        "operationId": name,
        "summary": words.summary,
        "description": (
            "Send one input as the body itself, or several as a form or as JSON. An input that cannot be read "
            "gets an error among the predictions; where it was the only one, the status is 422. "
            "`Accept: application/x-ndjson` gives each answer as a line of its own as soon as it is there."
        ),
        "parameters": asking(parts, split),
        "requestBody": {"required": True, "content": _contents(list(parts.values()), limits)},
        "responses": {
            "200": {
                "description": words.given,
                "content": {
                    "application/json": {"schema": any_of(answers)},
                    "application/x-ndjson": {"schema": any_of(lines)},
                },
            },
            **errors(PREDICT_ERRORS),
        },
    }


def _contents(servables: Sequence[Servable], limits: Limits) -> Object:
    raw: Object = {}
    for servable in servables:
        for media_type in (*servable.wire.media_types, "application/octet-stream"):
            raw[media_type] = {"schema": _TEXT if media_type.startswith("text/") else _BYTES}
    encodings = {servable.wire.in_json: servable.wire for servable in servables}
    return {
        "multipart/form-data": {"schema": _form_schema(limits)},
        **raw,
        "application/json": {"schema": any_of([_json_schema(wire, limits) for wire in encodings.values()])},
    }


def _form_schema(limits: Limits) -> Object:
    most = limits.max_inputs
    # No type: it is one part, or several of the same name, and its content whatever the client takes for it.
    parts: Object = {"items": {"type": "string", "format": "binary"}, "minItems": 1, "maxItems": most}
    return {
        "type": "object",
        "description": f"Every part is one input, whatever its name; at most {most} in all.",
        "properties": {"file": parts},
        "minProperties": 1,
        "maxProperties": most,
    }


def _json_schema(wire: Wire, limits: Limits) -> Object:
    text: Object = {"type": "string", "description": f"The {wire.noun}."}
    if wire.in_json == "numbers":
        text = {
            "type": "array",
            "items": {"type": "number"},
            "description": f"The {wire.noun}.",
        }
    if wire.in_json == "base64":
        text |= {"contentEncoding": "base64", "format": "byte"}
        text["description"] = f"The {wire.noun}, its bytes in base64."
    many: Object = {"type": "array", "items": text, "minItems": 1, "maxItems": limits.max_inputs}
    return {"oneOf": [closed({"input": text}), closed({"inputs": many})]}


def _schemas(parts: Mapping[str, Servable], limits: Limits) -> Object:
    schemas: Object = {
        "Error": closed(
            {"error": closed({name: {"type": "string"} for name in ("message", "next_step")} | _code())}
        ),
        "InputError": closed({"error": {"type": "string", "description": "Why this input has no answer."}}),
        "Status": closed({"status": {"type": "string"}}),
        "ModelSummary": closed(_summary()),
        "ModelList": closed(
            {
                "object": {"const": "list"},
                **{name: {"type": "array", "items": ref("ModelSummary")} for name in ("data", "models")},
            }
        ),
        "Model": closed(
            {
                **_summary(),
                **{name: {"type": "object"} for name in ("about", "input", "answer_schema")},
                "explanation_schema": {"anyOf": [{"type": "object"}, {"const": None}]},
            }
        ),
    }
    schemas |= monitoring.components()
    schemas |= tensor_schemas.components(parts, limits)
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
    return {
        **{name: {"type": "string"} for name in ("name", "id", "owned_by")},
        "state": {"type": "string", "enum": ["starting", "ready", "failed"]},
        "object": {"const": "model"},
        "created": {"type": "integer", "minimum": 0},
    }


def _several(words: _Words, part: str, name: str) -> Object:
    entry = any_of([ref(f"{words.answer}.{part}"), ref("InputError")])
    return closed(
        {"model": {"type": "string", "const": name}, words.answers.lower(): {"type": "array", "items": entry}}
    )


def _line(words: _Words, part: str) -> Object:
    place: Object = {"index": {"type": "integer", "minimum": 0}, "last": {"type": "boolean"}}
    value = closed({**place, "value": ref(f"{words.answer}.{part}")})
    return {"anyOf": [value, closed({**place, "error": {"type": "string"}}), ref("Error")]}
