"""The two routes by which Amazon SageMaker speaks to a container. It knows no task and no modality.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from topwork.serving.http.messages import Request, Response, json_response
from topwork.serving.http.routes import Route
from topwork.serving.protocols.prediction import predict

if TYPE_CHECKING:
    from topwork.serving.batching.gate import ByteBudget
    from topwork.serving.hosting import Models

__all__ = ["routes"]


def routes(models: Models, budget: ByteBudget) -> tuple[Route, ...]:
    """Return both routes; ``/invocations`` asks the first model, with the bodies and answers of ``/predict``."""
    container = _Container(models, budget)
    return (
        Route("POST", "/invocations", container.invocations),
        Route("GET", "/ping", container.ping, "open"),
    )


@dataclass(frozen=True, slots=True)
class _Container:
    models: Models
    budget: ByteBudget

    async def invocations(self, request: Request) -> Response:
        return await predict(self.models.named(None), request, self.budget)

    async def ping(self, _: Request) -> Response:
        for hosted in self.models.every():
            hosted.require_ready()
        return json_response({"status": "ready"})
