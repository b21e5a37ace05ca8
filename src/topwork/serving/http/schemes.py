"""How the keys of a server are told in its OpenAPI description. It knows no model and no key."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from topwork.contracts import Json
    from topwork.serving.http.routes import Route

__all__ = ["with_keys"]

SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key of `topwork keys create`."},
    "header": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "The same, in another header.",
    },
}
MEANINGS = {
    "401": "The key is missing, unknown or expired.",
    "403": "The key is not good for this: it needs the scope `{scope}`.",
    "429": "Too much to do, or this key comes too often; `Retry-After` says when to come again.",
    "503": "The keys cannot be read now.",
}


def with_keys(document: Mapping[str, Json], routes: Sequence[Route]) -> dict[str, Json]:
    """Return a description of a server that asks for keys: what asks for one, and what is said without."""
    told: dict[str, Any] = copy.deepcopy(dict(document))
    told["components"]["securitySchemes"] = copy.deepcopy(SCHEMES)
    for route, operation in _operations(told, routes):
        if route.scope == "open":
            continue
        operation["security"] = [{name: []} for name in SCHEMES]
        answers = operation["responses"]
        scope = "predict` or `admin" if route.scope == "own" else route.scope
        said = {status: _answer(text.format(scope=scope), answers) for status, text in MEANINGS.items()}
        # What it says of a 503 already says more.
        operation["responses"] = {**said, **answers, "429": {**answers.get("429", {}), **said["429"]}}
    return told


def _operations(told: Mapping[str, Any], routes: Sequence[Route]) -> Iterator[tuple[Route, dict[str, Any]]]:
    for path, item in told["paths"].items():
        # A model may have a path of its own, which is one of those that a route stands for.
        segments = path.split("/")[1:]
        for route in routes:
            operation = item.get(route.method.lower())
            if operation is not None and route.arguments(segments) is not None:
                yield route, operation


def _answer(description: str, answers: Mapping[str, Any]) -> dict[str, Any]:
    """Return one more error, in the shape that the others of its operation have; all may answer with a 500."""
    return {"description": description, "content": answers["500"]["content"]}
