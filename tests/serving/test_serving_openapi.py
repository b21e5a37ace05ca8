"""The description is exact: it names every route, every reference resolves, and real answers fit it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from doors import keyed_door, made
from fake_servable import PICTURE, TEXT, FakeServable, client, with_client
from topwork.serving.app import Application, application
from topwork.serving.hosting import Hosted
from topwork.serving.http.schemes import with_keys
from topwork.serving.limits import Limits
from topwork.serving.protocols.openapi import document

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import httpx

    from topwork.contracts import Wire

TYPES: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
}


def api(*names: str, wire: Wire = PICTURE) -> Any:
    servables = [FakeServable(name=name, wire=wire) for name in names or ("chess",)]
    return json.loads(json.dumps(document(servables, Limits())))


def walk(node: Any) -> Iterator[Any]:
    yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from walk(child)


def fits(value: Any, schema: Any, root: Any) -> bool:
    """Whether a value is valid by the few words of JSON Schema that the description uses."""
    if "$ref" in schema:
        return fits(value, resolved(schema["$ref"], root), root)
    checks = [
        any(fits(value, one, root) for one in schema[word]) for word in ("anyOf", "oneOf") if word in schema
    ]
    checks.append("type" not in schema or isinstance(value, TYPES[schema["type"]]))
    checks.append("enum" not in schema or value in schema["enum"])
    checks.append("const" not in schema or value == schema["const"])
    if isinstance(value, dict):
        known = schema.get("properties", {})
        checks.append(set(schema.get("required", ())) <= set(value))
        checks += [fits(value[name], one, root) for name, one in known.items() if name in value]
        rest = schema.get("additionalProperties", True)
        if rest is not True:
            checks += [
                rest is not False and fits(value[name], rest, root) for name in set(value) - set(known)
            ]
    if isinstance(value, list) and "items" in schema:
        checks += [fits(one, schema["items"], root) for one in value]
    return all(checks)


def resolved(reference: str, root: Any) -> Any:
    node = root
    for key in reference.removeprefix("#/").split("/"):
        node = node[key]
    return node


def test_the_check_itself_tells_right_from_wrong() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    assert fits({"a": 1}, schema, {})
    wrong: list[Any] = [{}, {"a": "1"}, {"a": 1, "b": 2}, []]
    assert not any(fits(one, schema, {}) for one in wrong)


@pytest.mark.parametrize(("wire", "n_routes"), [(PICTURE, 22), (TEXT, 24)])
def test_it_describes_every_route_and_no_other(wire: Wire, n_routes: int) -> None:
    described = {
        (method.upper(), path)
        for path, item in api(wire=wire)["paths"].items()
        for method in item
        if method != "parameters"
    }
    routes = application(FakeServable(wire=wire)).routes
    assert described == {(route.method, route.path) for route in routes}
    assert len(described) == n_routes


@pytest.mark.parametrize("names", [("chess",), ("a", "b"), ("Schach 1", "Schach/1", "шахматы")])
def test_every_reference_resolves(names: tuple[str, ...]) -> None:
    root = api(*names)
    references = [node["$ref"] for node in walk(root) if isinstance(node, dict) and "$ref" in node]
    assert len(references) > 20
    assert all(isinstance(resolved(reference, root), dict) for reference in references)
    assert all(set(name) <= set(COMPONENT) for name in root["components"]["schemas"])


COMPONENT = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"


def test_operations_have_names_of_their_own() -> None:
    operations = [
        node["operationId"] for node in walk(api()) if isinstance(node, dict) and "operationId" in node
    ]
    assert len(operations) == len(set(operations)) == 22


def test_models_that_take_different_inputs_have_paths_of_their_own() -> None:
    alike = set(api("a", "b")["paths"])
    assert "/v1/models/{name}/predict" in alike
    servables = [FakeServable("a/b"), FakeServable("c", TEXT)]
    paths = json.loads(json.dumps(document(servables, Limits())))["paths"]
    own = {"/v1/models/a%2Fb/predict", "/v1/models/c/predict", "/v1/models/{name}/explain"}
    assert own <= set(paths)
    assert {"/v2/models/c/infer", "/v2/models/c/versions/{version}/infer"} <= set(paths)
    assert not {"/v1/models/{name}/predict", "/v2/models/{name}/infer"} & set(paths)
    body = paths["/v1/models/c/predict"]["post"]["requestBody"]["content"]
    assert "image/jpeg" not in body
    assert "text/plain" in body
    operations = [
        node["operationId"] for node in walk(paths) if isinstance(node, dict) and "operationId" in node
    ]
    assert len(operations) == len(set(operations)) == 26


def test_it_says_what_the_wire_says() -> None:
    body = api()["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert set(body) == {
        *PICTURE.media_types,
        "application/octet-stream",
        "multipart/form-data",
        "application/json",
    }
    one = body["application/json"]["schema"]["oneOf"][0]["properties"]["input"]
    assert one["contentEncoding"] == "base64"
    text = api(wire=TEXT)["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert "contentEncoding" not in text["oneOf"][0]["properties"]["input"]
    assert text["oneOf"][1]["properties"]["inputs"]["maxItems"] == Limits().max_inputs
    wire = replace(TEXT, in_json="numbers")
    body = api(wire=wire)["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    numbers = body["oneOf"][0]["properties"]["input"]
    assert (numbers["type"], numbers["items"]) == ("array", {"type": "number"})


def test_real_answers_are_as_described() -> None:
    files = [("f", ("a", b"1")), ("f", ("b", b"bad"))]

    async def use(one: httpx.AsyncClient) -> list[tuple[str, httpx.Response]]:
        lines = {"accept": "application/x-ndjson"}
        got = [(path, await one.get(path)) for path in ("/v1/models", "/livez", "/readyz", "/openapi.json")]
        got.append(("/v1/models/{name}", await one.get("/v1/models/chess")))
        got.append(("/v1/models/{name}", await one.get("/v1/models/other")))
        for content in (b"", b"bad", b"fine"):
            got.append(("/predict", await one.post("/predict", content=content)))
        got.append(("/predict", await one.post("/predict", json={"inputs": 3})))
        got.append(("/predict", await one.post("/predict", content=b"x", headers={"content-type": "a/b"})))
        got.append(("/v1/models/{name}/predict", await one.post("/v1/models/chess/predict", files=files)))
        got.append(("/predict", await one.post("/predict", files=files, headers=lines)))
        return got

    root, visited = api(), 0
    for path, response in with_client(FakeServable(), use):
        operation = root["paths"][path][response.request.method.lower()]
        described = operation["responses"][str(response.status_code)]["content"]
        schema = described[response.headers["content-type"]]["schema"]
        whole = response.headers["content-type"] == "application/json"
        for value in [response.json()] if whole else map(json.loads, response.text.splitlines()):
            assert fits(value, schema, root), (path, value)
            visited += 1
    assert visited == 14


def test_explanations_are_described_where_a_model_gives_them() -> None:
    without, found = api(), api(wire=TEXT)
    assert not [path for path in without["paths"] if "explain" in path]
    assert {path for path in found["paths"] if "explain" in path} == {"/explain", "/v1/models/{name}/explain"}
    answer = found["paths"]["/explain"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer == {"$ref": "#/components/schemas/Explanations.chess"}
    schemas = found["components"]["schemas"]
    assert set(schemas["Explanations.chess"]["properties"]) == {"model", "explanations"}
    assert schemas["Explanation.chess"]["required"] == ["pieces"]
    assert {"Answer.chess", "Predictions.chess", "Line.chess", "ExplanationLine.chess"} <= set(schemas)


def test_without_keys_none_are_described() -> None:
    assert "security" not in json.dumps(api())
    assert not [node for node in walk(api()) if isinstance(node, dict) and {"401", "403"} & set(node)]


def test_a_path_of_a_models_own_asks_for_a_key_too(tmp_path: Path) -> None:
    hosted = [Hosted(one, Limits()) for one in (FakeServable("a"), FakeServable("b/c", TEXT))]
    app = Application(hosted, Limits(), door=keyed_door(tmp_path / "keys.json"))
    root = json.loads(json.dumps(with_keys(document([one.servable for one in hosted], Limits()), app.routes)))
    for path in ("/v1/models/b%2Fc/predict", "/v2/models/a/infer"):
        assert root["paths"][path]["post"]["security"], path


def test_what_asks_for_a_key_says_so_and_real_refusals_are_as_described(tmp_path: Path) -> None:
    key = made(tmp_path / "keys.json", "boss", "admin")

    async def main() -> tuple[Any, list[httpx.Response]]:
        app = application(FakeServable(), door=keyed_door(tmp_path / "keys.json"))
        async with app.running(), client(app) as one:
            await app.proven()
            headers: tuple[dict[str, str], ...] = (
                {},
                {"x-api-key": "wrong"},
                {"authorization": f"Bearer {key}"},
            )
            paths = ("/predict", "/v2/models/chess/infer")
            answers = [
                await one.post(path, content=b"x", headers=given) for path in paths for given in headers
            ]
            return (await one.get("/openapi.json")).json(), answers

    root, answers = asyncio.run(main())
    assert set(root["components"]["securitySchemes"]) == {"bearer", "header"}
    asking = {path for path, item in root["paths"].items() for one in item.values() if "security" in one}
    below = {
        f"/v2/models/{{name}}{version}{end}"
        for version in ("", "/versions/{version}")
        for end in ("", "/ready", "/infer")
    }
    assert asking == {
        *("/predict", "/v1/models", "/v1/models/{name}", "/v1/models/{name}/predict"),
        "/v1/models/{name}/monitoring",
        *("/metrics", "/invocations"),
        *below,
    }
    operation = root["paths"]["/predict"]["post"]
    assert operation["security"] == [{"bearer": []}, {"header": []}]
    assert [answer.status_code for answer in answers] == [401, 401, 403] * 2
    for index, answer in enumerate(answers):
        if index == 3:
            operation = root["paths"]["/v2/models/{name}/infer"]["post"]
        schema = operation["responses"][str(answer.status_code)]["content"]["application/json"]["schema"]
        assert fits(answer.json(), schema, root)
    assert "`predict`" in operation["responses"]["403"]["description"]
    listing = root["paths"]["/v1/models"]["get"]["responses"]
    assert {"401", "403", "429", "503", "500", "200"} == set(listing)


def test_a_key_of_the_route_is_described_where_versions_share_the_requests() -> None:
    def keyed(**others: Any) -> set[str]:
        servables = [FakeServable(name, TEXT) for name in ("chess", "go")]
        paths = json.loads(json.dumps(document(servables, Limits(), **others)))["paths"]
        return {
            path
            for path, said in paths.items()
            if "X-Route-Key" in [one["name"] for one in said.get("post", {}).get("parameters", ())]
        }

    named = {
        "/v1/models/{name}/predict",
        "/v1/models/{name}/explain",
        "/v2/models/{name}/infer",
        "/v2/models/{name}/versions/{version}/infer",
    }
    assert keyed() == set()
    assert keyed(split=["go"]) == named
    assert keyed(split=["chess"]) == named | {"/predict", "/explain", "/invocations"}
