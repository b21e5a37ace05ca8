"""What Amazon SageMaker asks of a container: /ping and /invocations."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from fake_servable import FakeServable, client, with_client
from topwork.serving.app import Application
from topwork.serving.hosting import Hosted
from topwork.serving.limits import Limits

if TYPE_CHECKING:
    import httpx


def test_invocations_take_the_bodies_of_predict_and_ask_the_first_model() -> None:
    async def use(one: httpx.AsyncClient) -> list[httpx.Response]:
        raw = {"content-type": "application/octet-stream"}
        lines = {"accept": "application/x-ndjson"}
        return [
            await one.post("/invocations", content=b"abc", headers=raw),
            await one.post("/invocations", json={"inputs": ["YWJj", "YQ=="]}),
            await one.post("/invocations", files=[("f", b"abc"), ("f", b"a")], headers=lines),
            await one.post("/invocations", content=b"x", headers={"content-type": "a/b"}),
        ]

    one, two, streamed, refused = with_client(FakeServable(), use)
    assert [entry["n_bytes"] for entry in one.json()["predictions"]] == [3]
    assert [entry["n_bytes"] for entry in two.json()["predictions"]] == [3, 1]
    assert len(streamed.text.splitlines()) == 2
    assert (refused.status_code, refused.json()["error"]["code"]) == (415, "unsupported_media_type")


def test_ping_is_200_once_every_model_is_proven() -> None:
    opened = threading.Event()

    def proof() -> None:
        assert opened.wait(20)

    async def main() -> list[int]:
        slow = FakeServable("slow", proof=proof)
        app = Application([Hosted(FakeServable(), Limits()), Hosted(slow, Limits())], Limits())
        async with app.running(), client(app) as one:
            before = await one.get("/ping")
            opened.set()
            await app.proven()
            return [before.status_code, (await one.get("/ping")).status_code]

    assert asyncio.run(main()) == [503, 200]
