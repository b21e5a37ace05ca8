"""The Open Inference Protocol in the OpenAPI description, exact for each model's wire and answers. It knows no task.

JSON Schema cannot say that data has as many values as its shape. For one dimension it is said all the same, by
one alternative for each number of inputs; for rows of numbers the server's error tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from topwork.contracts import Json, Servable, Wire
from topwork.serving.protocols.inference import INPUT, VERSION
from topwork.serving.protocols.outputs import Output, outputs_of
from topwork.serving.protocols.places import name_parameter, places
from topwork.serving.protocols.schemas import (
    MEANINGS,
    Object,
    any_of,
    asking,
    closed,
    errors,
    operation,
    path_parameter,
    ref,
    response,
)
from topwork.serving.protocols.tensors import CODES, bounds_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from topwork.serving.limits import Limits

__all__ = ["components", "paths"]

KINDS: Final[Mapping[str, str]] = {"BYTES": "string", "BOOL": "boolean", "INT64": "integer", "FP64": "number"}
HEADER: Final[Object] = {
    "Inference-Header-Content-Length": {
        "description": "Bytes of the JSON, where tensors stand behind it as binary data.",
        "schema": {"type": "integer", "minimum": 0},
    }
}
INFER: Final = (
    "The Open Inference Protocol, version 2. One tensor holds all inputs, its first dimension counts them. The "
    "extension binary_tensor_data is understood: tensors behind the JSON, with the content type "
    "application/octet-stream and the header Inference-Header-Content-Length. Where an input is bad, the request is "
    "refused as a whole, for a tensor has no place for no answer."
)


def paths(parts: Mapping[str, Servable], split: Collection[str] = ()) -> Object:
    """Return the paths below ``/v2``; ``split`` are names of models whose requests several versions share."""
    return {
        "/v2": {"get": _get("v2", "What the server is called, and what of the protocol it has.", "V2Server")},
        "/v2/health/live": {"get": _get("v2Live", "Whether the process answers.", "V2Live")},
        "/v2/health/ready": {
            "get": _ready("v2Ready", "Whether every model has passed its proof.", "V2Ready")
        },
        **_of_models(parts, split, "/v2/models/{name}"),
        **_of_models(parts, split, "/v2/models/{name}/versions/{version}", [_version()], suffix="Version"),
    }


def _version() -> Object:
    return path_parameter("version", "The only version of a model.", [VERSION])


def _of_models(
    parts: Mapping[str, Servable],
    split: Collection[str],
    path: str,
    parameters: Sequence[Json] = (),
    *,
    suffix: str = "",
) -> Object:
    about = _get(f"v2Model{suffix}", "The tensors that a model takes and gives.", "V2Model", (404, 500))
    ready = _ready(
        f"v2ModelReady{suffix}", "Whether a model has passed its proof.", "V2ModelReady", (404, 500)
    )
    named: Object = {"parameters": [name_parameter(parts), *parameters]}
    return {
        path: {**named, "get": about},
        f"{path}/ready": {**named, "get": ready},
        **{
            place.path: {
                "parameters": [*place.parameters, *parameters],
                "post": _infer(f"v2Infer{suffix}{place.suffix}", place.parts, split),
            }
            for place in places(parts, f"{path}/infer")
        },
    }


def _get(name: str, summary: str, schema: str, statuses: Sequence[int] = (500,)) -> Object:
    found = operation(name, summary, ref(schema), ())
    return {**found, "responses": {**found["responses"], **errors(statuses, "V2Error")}}  # type: ignore[dict-item]


def _ready(name: str, summary: str, schema: str, statuses: Sequence[int] = (500,)) -> Object:
    found = _get(name, summary, schema, statuses)
    not_yet = response("It is not so, or not yet.", ref(schema))
    return {**found, "responses": {**found["responses"], "400": not_yet}}  # type: ignore[dict-item]


def _infer(name: str, parts: Mapping[str, Servable], split: Collection[str]) -> Object:
    given = any_of([ref(f"V2Request.{part}") for part in parts])
    told: Object = {
        "application/json": {"schema": any_of([ref(f"V2Response.{part}") for part in parts])},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    }
    return {
        "operationId": name,
        "summary": "Ask the model about one or several inputs, as tensors.",
        "description": INFER,
        "parameters": asking(parts, split),
        "requestBody": {"required": True, "content": {"application/json": {"schema": given}}},
        "responses": {
            "200": {"description": "The outputs.", "content": told, "headers": HEADER},
            **errors(tuple(MEANINGS), "V2Error"),
        },
    }


# --- components ---------------------------------------------------------------------------------------


def components(parts: Mapping[str, Servable], limits: Limits) -> Object:
    """Return the schemas that the paths refer to."""
    text: Object = {"type": "string"}
    truth: Object = {"type": "boolean"}
    tensor = closed({"name": text, "datatype": text, "shape": _list({"type": "integer", "minimum": -1})})
    texts, tensors = _list(text), _list(tensor)
    schemas: Object = {
        "V2Error": closed({"error": text}),
        "V2Server": closed({"name": text, "version": text, "extensions": texts}),
        "V2Live": closed({"live": truth}),
        "V2Ready": closed({"ready": truth}),
        "V2ModelReady": closed({"name": text, "ready": truth}),
        "V2Model": closed(
            {"name": text, "versions": texts, "platform": text, "inputs": tensors, "outputs": tensors}
        ),
    }
    for part, servable in parts.items():
        outputs = outputs_of(servable.answer_schema)
        schemas[f"V2Request.{part}"] = _request(servable.wire, outputs, limits)
        schemas[f"V2Response.{part}"] = _response(servable.name, outputs)
    return schemas


def _list(items: Json) -> Object:
    return {"type": "array", "items": items}


def _request(wire: Wire, outputs: Sequence[Output], limits: Limits) -> Object:
    given = _rows(limits) if wire.in_json == "numbers" else _elements(wire, limits)
    settings: Object = {"type": "object", "properties": {"binary_data_output": {"type": "boolean"}}}
    properties: Object = {
        "id": {"type": "string", "description": "Is in the response, too."},
        "parameters": settings,
        "inputs": {**_list(any_of(given)), "minItems": 1, "maxItems": 1},
        "outputs": {**_list(_wanted(outputs)), "description": "All, where none is named."},
    }
    return {"type": "object", "properties": properties, "required": ["inputs"]}


def _wanted(outputs: Sequence[Output]) -> Object:
    parameters: Object = {
        "type": "object",
        "properties": {
            "binary_data": {"type": "boolean"},
            "classification": False,
            "shared_memory_region": False,
        },
    }
    properties: Object = {"name": {"enum": [output.name for output in outputs]}, "parameters": parameters}
    return {"type": "object", "properties": properties, "required": ["name"]}


def _tensor(datatypes: Sequence[str], shape: Json, data: Json) -> Object:
    in_json: Object = {"type": "object", "properties": {"binary_data_size": False}}
    properties: Object = {
        "name": {"const": INPUT},
        "datatype": {"enum": list(datatypes)},
        "shape": shape,
        "data": data,
        "parameters": in_json,
    }
    return {"type": "object", "properties": properties, "required": ["name", "datatype", "shape", "data"]}


def _elements(wire: Wire, limits: Limits) -> list[Json]:
    one: Object = {"type": "string", "description": f"The {wire.noun}."}
    if wire.in_json == "base64":
        one |= {
            "contentEncoding": "base64",
            "format": "byte",
            "description": f"The {wire.noun}, its bytes in base64.",
        }
    tensor = _tensor(["BYTES"], _list({"type": "integer"}), _list(one))
    counts: list[Json] = [_of_count(n) for n in range(1, limits.max_inputs + 1)]
    return [{**tensor, "anyOf": counts}]


def _of_count(n: int) -> Object:
    return {"properties": {"shape": {"enum": [[n], [n, 1]]}, "data": {"minItems": n, "maxItems": n}}}


def _rows(limits: Limits) -> list[Json]:
    n_rows: Object = {"type": "integer", "minimum": 1, "maximum": limits.max_inputs}
    width: Object = {"type": "integer", "minimum": 1}
    shape: Object = {"type": "array", "prefixItems": [n_rows, width], "minItems": 2, "maxItems": 2}
    return [_tensor([name], shape, _numbers(name)) for name in CODES if name != "BOOL"]


def _numbers(datatype: str) -> Object:
    low, high = bounds_of(datatype)
    kind = "number" if datatype.startswith("FP") else "integer"
    one: Object = {"type": kind, "minimum": low, "maximum": high}
    return {"type": "array", "items": any_of([one, _list(one)]), "minItems": 1}


def _response(name: str, outputs: Sequence[Output]) -> Object:
    told = [_output(output) for output in outputs]
    properties: Object = {
        "model_name": {"const": name},
        "model_version": {"const": VERSION},
        "id": {"type": "string"},
        "outputs": _list(any_of(told)),
    }
    return closed(properties, optional=("id",))


def _output(output: Output) -> Object:
    n_dimensions = len(output.shape(1))
    dimension: Object = {"type": "integer", "minimum": 1}
    shape: Object = {**_list(dimension), "minItems": n_dimensions, "maxItems": n_dimensions}
    head: Object = {"name": {"const": output.name}, "datatype": {"const": output.datatype}, "shape": shape}
    return closed({**head, "data": _list({"type": KINDS[output.datatype]})})
