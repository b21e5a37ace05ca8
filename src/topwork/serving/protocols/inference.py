"""The Open Inference Protocol, version 2, over HTTP: the routes below ``/v2``, as Triton and KServe have them.

One input tensor, `INPUT`, holds all inputs of a request, its first dimension counts them: BYTES with the encoded
inputs, or rows of numbers for models that are given numbers. What the outputs are, `outputs` reads out of the model's
schema. Errors are ``{"error": "…"}`` with a status of 400 or above, as the protocol has them. It knows no task and no
modality.

Sources: https://github.com/kserve/open-inference-protocol; extension ``binary_tensor_data`` of Triton.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from topwork import __version__
from topwork.serving.http.bodies import Input, Reader, bounded, check_count, from_json
from topwork.serving.http.messages import Request, Response, json_response
from topwork.serving.http.refusals import Refusal
from topwork.serving.http.routes import Route
from topwork.serving.protocols.outputs import Output, outputs_of, tensor_of, values_of
from topwork.serving.protocols.prediction import answers
from topwork.serving.protocols.tensors import (
    NUMERIC,
    Inference,
    Tensor,
    Wanted,
    read_inference,
    write_inference,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from topwork.contracts import Answer, Json, Servable, Wire
    from topwork.serving.batching.gate import ByteBudget
    from topwork.serving.hosting import Hosted, Models
    from topwork.serving.limits import Limits

__all__ = ["INPUT", "VERSION", "owns", "refused", "routes"]

INPUT: Final = "input"
VERSION: Final = "1"
"""A name stands for one bundle, so there is one version of it."""

HEADER_LENGTH: Final = "inference-header-content-length"
NOT_YET: Final = 400
"""Of a health check that fails: the protocol wants 4xx."""


def routes(models: Models, budget: ByteBudget) -> tuple[Route, ...]:
    """Return the routes of the protocol over some models."""
    protocol = _Protocol(models, budget)
    found = [
        Route("GET", "/v2", protocol.server, "open"),
        Route("GET", "/v2/health/live", protocol.live, "open"),
        Route("GET", "/v2/health/ready", protocol.ready, "open"),
    ]
    for path in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        found += [
            Route("GET", path, protocol.model),
            Route("GET", f"{path}/ready", protocol.model_ready),
            Route("POST", f"{path}/infer", protocol.infer),
        ]
    return tuple(found)


def owns(request: Request) -> bool:
    """Tell whether a request is one of this protocol, whose errors look as it says."""
    return request.segments[0] == "v2"


def refused(refusal: Refusal) -> Response:
    """Return an error as the protocol has it."""
    text = f"{refusal.problem} {refusal.next_step}".rstrip()
    return json_response({"error": text}, status=refusal.status, headers=refusal.headers)


@dataclass(frozen=True, slots=True)
class _Protocol:
    models: Models
    budget: ByteBudget

    async def server(self, _: Request) -> Response:
        return json_response(
            {"name": "topwork", "version": __version__, "extensions": ["binary_tensor_data"]}
        )

    async def live(self, _: Request) -> Response:
        return json_response({"live": True})

    async def ready(self, _: Request) -> Response:
        ready = all(hosted.state == "ready" for hosted in self.models.every())
        return json_response({"ready": ready}, status=200 if ready else NOT_YET)

    async def model_ready(self, _: Request, name: str, version: str = VERSION) -> Response:
        hosted = self._hosted(name, version)
        ready = hosted.state == "ready"
        said: dict[str, Json] = {"name": hosted.servable.name, "ready": ready}
        return json_response(said, status=200 if ready else NOT_YET)

    async def model(self, _: Request, name: str, version: str = VERSION) -> Response:
        return json_response(_metadata(self._hosted(name, version).servable))

    async def infer(self, request: Request, name: str, version: str = VERSION) -> Response:
        hosted = self._hosted(name, version)
        reading = _Reading(hosted.servable, hosted.limits, request.headers.get(HEADER_LENGTH))
        _require_type(request)
        reader = Reader(reading.read, hosted.limits.max_body_bytes)
        return reading.respond(await answers(hosted, request, self.budget, reader=reader))

    def _hosted(self, name: str, version: str) -> Hosted:
        hosted = self.models.named(name)
        if version != VERSION:
            raise Refusal(
                "not_found",
                f"There is no version {version[:40]!r} of {hosted.servable.name!r}.",
                next_step=f"Leave it out, or ask for version {VERSION}.",
            )
        return hosted


def _require_type(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in ("", "application/json", "application/octet-stream"):
        raise Refusal(
            "unsupported_media_type",
            f"The request's content type is {media_type[:100]!r}; this path takes application/json, and "
            "application/octet-stream where binary data stands behind the JSON.",
            next_step="Send the header `Content-Type: application/json`.",
        )
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise Refusal(
            "unsupported_media_type",
            f"The request's content encoding is {encoding[:40]!r}; this server takes none.",
            next_step="Send the body uncompressed.",
        )


def _metadata(servable: Servable) -> Json:
    datatype, shape = _expected(servable.wire)
    given: dict[str, Json] = {"name": INPUT, "datatype": datatype, "shape": shape}
    outputs: list[Json] = [
        {"name": output.name, "datatype": output.datatype, "shape": output.shape(-1)}
        for output in outputs_of(servable.answer_schema)
    ]
    return {
        "name": servable.name,
        "versions": [VERSION],
        "platform": "topwork",
        "inputs": [given],
        "outputs": outputs,
    }


def _expected(wire: Wire) -> tuple[str, list[int]]:
    return ("FP32", [-1, -1]) if wire.in_json == "numbers" else ("BYTES", [-1])


@dataclass(slots=True)
class _Reading:
    """One request, from its body to its response; the body is read in a worker thread, between the two."""

    servable: Servable
    limits: Limits
    header_length: str | None
    _inference: Inference = field(default_factory=lambda: Inference(None, (), None, binary=False))
    _outputs: tuple[tuple[Output, bool], ...] = ()

    def read(self, content: bytes) -> tuple[Input, ...]:
        """Take the inputs out of a body, and keep what is wanted of the outputs.

        Raises
        ------
        Refusal
            400, or 422 where there are too many inputs or none.
        """
        most = self.limits.max_inputs if self.servable.wire.in_json == "numbers" else None
        self._inference = read_inference(content, self.header_length, most)
        self._outputs = _chosen(outputs_of(self.servable.answer_schema), self._inference)
        return _inputs(self._inference.inputs, self.servable.wire, self.limits.max_inputs)

    def respond(self, found: Sequence[Answer]) -> Response:
        """Return the answers as tensors."""
        values = values_of(found)
        said: dict[str, Json] = {"model_name": self.servable.name, "model_version": VERSION}
        if self._inference.id is not None:
            said["id"] = self._inference.id
        tensors = [(tensor_of(output, values), binary) for output, binary in self._outputs]
        body, n_json = write_inference(said, tensors)
        if n_json is None:
            return Response(200, "application/json", body)
        return Response(200, "application/octet-stream", body, {HEADER_LENGTH: str(n_json)})


def _chosen(outputs: Sequence[Output], inference: Inference) -> tuple[tuple[Output, bool], ...]:
    if inference.outputs is None:
        return tuple((output, inference.binary) for output in outputs)
    known = {output.name: output for output in outputs}
    return tuple((_known(known, wanted), wanted.binary) for wanted in inference.outputs)


def _known(outputs: dict[str, Output], wanted: Wanted) -> Output:
    if wanted.name not in outputs:
        names = ", ".join(outputs)
        raise _bad(f"There is no output {wanted.name[:100]!r}.", f"The outputs are {names}.")
    return outputs[wanted.name]


def _inputs(tensors: Sequence[Tensor], wire: Wire, max_inputs: int) -> tuple[Input, ...]:
    datatype, shape = _expected(wire)
    step = f"Send one input, {INPUT!r}, with the datatype {datatype} and the shape {shape}: first the batch."
    if [tensor.name for tensor in tensors] != [INPUT]:
        names = ", ".join(repr(tensor.name[:100]) for tensor in tensors[:8])
        raise _bad(f"The inputs are {names}; this model has one, {INPUT!r}.", step)
    (tensor,) = tensors
    check_count(tensor.shape[0], max_inputs)
    return _rows(tensor, wire, step) if wire.in_json == "numbers" else _elements(tensor, wire, step)


def _rows(tensor: Tensor, wire: Wire, step: str) -> tuple[Input, ...]:
    if tensor.datatype not in NUMERIC or len(tensor.shape) != 2:
        raise _bad(f"The input is {tensor.datatype} of the shape {list(tensor.shape)}.", step)
    n, width = tensor.shape
    rows = (tensor.values[row * width : (row + 1) * width] for row in range(n))
    return tuple(from_json(row.tolist() if isinstance(row, np.ndarray) else list(row), wire) for row in rows)


def _elements(tensor: Tensor, wire: Wire, step: str) -> tuple[Input, ...]:
    # Triton's own models often have a second dimension of 1.
    if tensor.datatype != "BYTES" or tensor.shape[1:] not in ((), (1,)):
        raise _bad(f"The input is {tensor.datatype} of the shape {list(tensor.shape)}.", step)
    return tuple(
        bounded(one, wire) if isinstance(one, bytes) else from_json(one, wire) for one in tensor.values
    )


def _bad(problem: str, next_step: str) -> Refusal:
    return Refusal("bad_request", problem, next_step=next_step)
