"""The part of the OpenAPI description that is about jobs. It knows no task and no store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from topwork.serving.jobs.records import MOST_LISTED, STATUSES
from topwork.serving.jobs.views import CURSOR, MOST
from topwork.serving.protocols.places import name_parameter, places
from topwork.serving.protocols.schemas import Object, any_of, closed, errors, operation, ref, response

if TYPE_CHECKING:
    from topwork.contracts import Json, Servable

__all__ = ["Offer", "components", "paths"]

_MOMENT: Final[Object] = {"type": "string", "format": "date-time"}
_REPEAT: Final[Object] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": (
        "A name of your own for this request, such as a UUID. The same request that is sent again with it gives the "
        "job that it made the first time."
    ),
    "schema": {"type": "string", "pattern": "^[!-~]{1,200}$"},
}
_HOOK: Final[Object] = {
    "name": "X-Webhook-Url",
    "in": "header",
    "description": "Where to tell of the end of the job, signed; only hosts that the operator allows are told.",
    "schema": {"type": "string", "format": "uri"},
}
_ORDER: Final = ("input", "output", "column")
_ELSEWHERE: Final = "A file does not lie below a folder of batches, or could not be written."
_NOBODYS: Final = (
    "The key is good neither for `predict` nor for `admin`; or the server asks for no keys, and others than this "
    "machine can reach it."
)
_LISTED: Final = (
    "Those that were made with the same key; all of them with a key that is good for `admin`. Results are had by the "
    "path of one job."
)
_ERRORS: Final = (400, 404, 408, 413, 415, 422, 429, 500, 503)


@dataclass(frozen=True, slots=True)
class Offer:
    """What a server offers to those who ask for jobs: whether it tells of their ends, and whether it takes batches."""

    webhooks: bool = False
    batches: bool = False


def paths(
    parts: Mapping[str, Servable],
    contents: Callable[[Sequence[Servable]], Object],
    offer: Offer,
) -> Object:
    """Return the paths of jobs; ``contents`` describes the bodies that some models take."""
    found: Object = {
        place.path: {
            "parameters": place.parameters,
            "post": _made(contents(list(place.parts.values())), offer, f"makeJob{place.suffix}"),
        }
        for place in places(parts, "/v1/models/{name}/jobs")
    }
    name: Object = {
        "name": "id",
        "in": "path",
        "required": True,
        "description": "What the job was called when it was made.",
        "schema": {"type": "string", "minLength": 1},
    }
    found["/v1/jobs"] = {"get": _listed()}
    found["/v1/jobs/{id}"] = {
        "parameters": [name],
        "get": operation("showJob", "Where a job stands, and its result.", ref("Job"), (404, 500, 503)),
        "delete": operation(
            "deleteJob",
            "End a job that is not over, and delete what is kept of it.",
            ref("JobDeleted"),
            (404, 500, 503),
        ),
    }
    if offer.batches:
        found["/v1/models/{name}/batches"] = {
            "parameters": [name_parameter(parts)],
            "post": _batched(offer),
        }
    return found


def _listed() -> Object:
    asked: Mapping[str, tuple[str, Object]] = {
        "status": ("Only jobs of this status.", {"type": "string", "enum": list(STATUSES)}),
        "limit": (
            "Most jobs of a page.",
            {"type": "integer", "minimum": 1, "maximum": MOST, "default": MOST_LISTED},
        ),
        "cursor": (
            "What stood under `next` of the page before.",
            {"type": "string", "pattern": f"^{CURSOR}$"},
        ),
    }
    parameters: list[Json] = [
        {"name": name, "in": "query", "description": about, "schema": schema}
        for name, (about, schema) in asked.items()
    ]
    found = operation("listJobs", "Jobs, the newest first.", ref("Jobs"), (400, 500, 503))
    found["responses"]["403"] = response(_NOBODYS, ref("Error"))  # type: ignore[index]
    return {**found, "description": _LISTED, "parameters": parameters}


def _batched(offer: Offer) -> Object:
    order: Object = {
        "application/json": {
            "schema": closed(
                {name: {"type": "string", "minLength": 1} for name in _ORDER}, optional=["column"]
            )
        }
    }
    said = _made(order, offer, "makeBatch")
    responses = {**said["responses"], "403": response(_ELSEWHERE, ref("Error"))}  # type: ignore[dict-item]
    responses["409"] = response(
        "The output is there, or the Idempotency-Key stands for another request.", ref("Error")
    )
    description = (
        "Answers every input of a file or folder on the server into another file there, which appears when all is "
        "done. Paths that are relative are meant from the first folder that the operator names."
    )
    return {**said, "summary": "Answer a whole file.", "description": description, "responses": responses}


def _made(contents: Object, offer: Offer, name: str) -> Object:
    location: Object = {"description": "Path of the job.", "schema": {"type": "string"}}
    again: Object = {"409": response("The Idempotency-Key stands for another request.", ref("Error"))}
    return {
        "operationId": name,
        "summary": "Ask the model, and fetch the answers later.",
        "description": (
            "Takes what `predict` takes, and answers at once with the id of a job. What would be refused at once by "
            "`predict` is refused here."
        ),
        "parameters": [_REPEAT, *([_HOOK] if offer.webhooks else [])],
        "requestBody": {"required": True, "content": contents},
        "responses": {
            "202": {**response("The job.", ref("Job")), "headers": {"Location": location}},
            **errors(_ERRORS),
            **again,
        },
    }


def components(parts: Mapping[str, Servable], offer: Offer) -> Object:
    """Return the schemas of jobs."""
    results: list[Json] = [ref(f"Predictions.{part}") for part in parts]
    count: Object = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]}
    outcome = closed(
        {
            "output": {"type": "string"},
            "failed": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "n_rows": count,
            "n_failed": count,
        }
    )
    batches: Object = {"BatchResult": outcome} if offer.batches else {}
    results += [ref(name) for name in batches]
    error = closed({name: {"type": "string"} for name in ("code", "message", "next_step")})
    nothing: Object = {"type": "null"}
    amount: Object = {"anyOf": [{"type": "number", "minimum": 0}, nothing]}
    n: Object = {"type": "integer", "minimum": 0}
    head: dict[str, Json] = {
        "id": {"type": "string"},
        "model": {"type": "string"},
        "status": {"type": "string", "enum": list(STATUSES)},
        "created": _MOMENT,
        "ended": {"anyOf": [_MOMENT, nothing]},
        "n_inputs": {**n, "description": "Inputs in all; of a batch 0 until it has begun."},
        "n_done": {**n, "description": "Those that were worked on; of a batch those that are kept."},
        "n_failed": {**n, "description": "Those of them that have no answer."},
        "per_second": {**amount, "description": "How many become done in a second now; while it is at work."},
        "seconds_left": {**amount, "description": "How long the rest takes at this pace."},
    }
    outcomes: dict[str, Json] = {
        "result": any_of([*results, nothing]),
        "error": {"anyOf": [error, nothing]},
    }
    owner: Object = {"type": "string", "description": "Prefix of the key that made it; empty without one."}
    cursor: Object = {"anyOf": [{"type": "string"}, nothing]}
    return {
        **batches,
        "Job": closed({**head, **outcomes}),
        "Jobs": closed({"jobs": {"type": "array", "items": ref("JobHead")}, "next": cursor}),
        "JobHead": closed({**head, "owner": owner}),
        "JobDeleted": closed(
            {"id": {"type": "string"}, "status": {"type": "string", "enum": ["cancelled", "deleted"]}}
        ),
    }
