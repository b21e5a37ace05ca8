"""What an operator may ask of a running server. It knows no settings: what an order does comes as a function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from topwork.serving.http.messages import Request, Response, json_response
from topwork.serving.http.routes import Annex, Route

if TYPE_CHECKING:
    from topwork.contracts import Json

__all__ = ["annex"]

RELOAD = "/v1/admin/reload"
ERROR: Mapping[str, Json] = {"$ref": "#/components/schemas/Error"}


def annex(reload: Callable[[], Awaitable[dict[str, Json]]]) -> Annex:
    """Return the routes of an operator.

    Parameters
    ----------
    reload
        Applies the settings as they are now, and tells what changed.
    """

    async def asked(_: Request) -> Response:
        return json_response(await reload())

    return Annex((Route("POST", RELOAD, asked, scope="admin"),), {RELOAD: {"post": _description()}})


def _description() -> Json:
    names: Json = {"type": "array", "items": {"type": "string"}}
    said: dict[str, Json] = {
        "opened": names,
        "kept": names,
        "removed": names,
        "limits_changed": {"type": "boolean"},
    }
    changes: Json = {
        "type": "object",
        "properties": said,
        "required": list(said),
        "additionalProperties": False,
    }
    return {
        "operationId": "reload",
        "summary": "Apply the settings file and the bundles as they are now; no request is dropped.",
        "responses": {
            "200": _response("What changed, by the names of the models.", changes),
            "403": _response("The key is not good for this, or the server asks for no keys.", ERROR),
            "409": _response("They cannot be applied; everything is as it was.", ERROR),
            "500": _response("A mistake of the server; the details are in its log.", ERROR),
            "503": _response("The server is ending.", ERROR),
        },
    }


def _response(description: str, schema: Json) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}
