"""What an operator may see and say of the versions of a model. It knows no settings and no servable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from topwork.serving.http.messages import Request, Response, json_response
from topwork.serving.http.routes import Annex, Route
from topwork.serving.protocols.schemas import Object, closed, ref, response

if TYPE_CHECKING:
    from topwork.contracts import Json

__all__ = ["Orders", "traffic_annex", "trials"]

MODEL = "/v1/admin/models/{name}"
ERRORS: Mapping[str, str] = {
    "403": "The key is not good for this, or the server asks for no keys.",
    "404": "There is no such model.",
    "409": "It cannot be done; everything is as it was.",
    "500": "A mistake of the server; the details are in its log.",
    "503": "The server is ending.",
}


class Orders(Protocol):
    """What can be asked of whoever keeps the models."""

    def traffic(self, name: str) -> dict[str, Json]:
        """Return which versions a model has, and what came of them."""
        ...

    async def promote(self, name: str) -> dict[str, Json]:
        """Give its canary all of the traffic."""
        ...

    async def rollback(self, name: str) -> dict[str, Json]:
        """Go back to what answered before."""
        ...


def traffic_annex(orders: Orders) -> Annex:
    """Return the routes by which an operator asks for them."""

    async def shown(_: Request, name: str) -> Response:
        return json_response(orders.traffic(name))

    async def promoted(_: Request, name: str) -> Response:
        return json_response(await orders.promote(name))

    async def rolled_back(_: Request, name: str) -> Response:
        return json_response(await orders.rollback(name))

    routes = (
        Route("GET", MODEL, shown, scope="admin"),
        Route("POST", f"{MODEL}/promote", promoted, scope="admin"),
        Route("POST", f"{MODEL}/rollback", rolled_back, scope="admin"),
    )
    paths: Object = {
        MODEL: _path("get", "traffic", "Which versions a model has, who gets how much, and what came of it."),
        f"{MODEL}/promote": _path("post", "promote", "Give a model's canary all of the traffic."),
        f"{MODEL}/rollback": _path("post", "rollback", "Go back to what answered before."),
    }
    return Annex(routes, paths)


def _path(method: str, name: str, summary: str) -> Object:
    parameter: Object = {
        "name": "name",
        "in": "path",
        "required": True,
        "description": "Name of the model.",
        "schema": {"type": "string", "minLength": 1},
    }
    responses: Object = {
        "200": response("How the requests are shared now.", _schema()),
        **{status: response(said, ref("Error")) for status, said in ERRORS.items()},
    }
    return {
        "parameters": [parameter],
        method: {"operationId": name, "summary": summary, "responses": responses},
    }


def _schema() -> Object:
    text: Object = {"type": "string"}
    count: Object = {"type": "integer", "minimum": 0}
    share: Object = {"type": "number", "minimum": 0, "maximum": 1}
    counted = ("answered", "failed")
    version = closed({"version": text, "share": share, **dict.fromkeys(counted, count)}, counted)
    return closed({"model": text, "versions": {"type": "array", "items": version}, **trials()})


def trials() -> Object:
    """Return the schemas of what is told of a canary, and of shadows."""
    text: Object = {"type": "string"}
    phase: Object = {"enum": ["trial", "promoted", "rolled back"]}
    verdict: Object = {"enum": ["wait", "promote", "roll back"]}
    decided: Object = {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}
    canary = closed({"version": text, "phase": phase, "verdict": verdict, "reason": text, "decided": decided})
    count: Object = {"type": "integer", "minimum": 0}
    counts = dict.fromkeys(("agreed", "differed", "failed", "dropped"), count)
    return {
        "canary": {"anyOf": [canary, {"type": "null"}]},
        "shadows": {"type": "array", "items": closed({"version": text, **counts})},
    }
