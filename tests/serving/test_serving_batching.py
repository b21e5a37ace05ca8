"""Batches behind HTTP: every protocol answers as before, whoever shares a batch, and what is told of it is right."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fake_batches import FakeBatches, Nobody, Speller
from fake_servable import TEXT, FakeServable, client, describe, with_client
from tiny_bundle import NumpyEngine, TinyModality, restore_tiny, tiny_contents
from tiny_text_trunk import write_tiny_text_trunk
from topwork import Model, Surroundings
from topwork.bundle import BundleModel, open_bundle, save
from topwork.contracts import Answer, Array, Batchable, Servable
from topwork.serving.app import Application
from topwork.serving.hosting import Hosted
from topwork.serving.limits import Limits
from topwork.serving.wrapping.hooks import Hooked, Hooks, hooked
from topwork.steps.embedding import open_embedder

T = TypeVar("T")


def served(
    servable: Servable, use: Callable[[Application, httpx.AsyncClient], Awaitable[T]], **limits: Any
) -> T:
    """Run ``use`` with a proven application whose engine runs one batch at a time."""

    async def main() -> T:
        bounds = Limits(**limits)
        app = Application([Hosted(servable, bounds, 1)], bounds)
        async with app.running(), client(app) as one:
            await app.proven()
            return await use(app, one)

    return asyncio.run(main())


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.001)


async def together(
    app: Application, one: httpx.AsyncClient, servable: FakeBatches, posts: Sequence[dict[str, Any]]
) -> list[httpx.Response]:
    """Send requests while the engine is busy, so that they are computed together."""
    crew = app.named(None).crew
    assert crew is not None
    servable.gate.clear()
    while servable.entered.acquire(blocking=False):  # those of the start
        pass
    first = asyncio.create_task(one.post("/predict", content=b"first"))
    assert await asyncio.to_thread(servable.entered.acquire, timeout=20)
    tasks = []
    for post in posts:
        n_ready = crew.n_ready
        tasks.append(asyncio.create_task(one.post(**post)))
        await until(lambda n=n_ready: crew.n_ready > n)  # type: ignore[misc]
    servable.gate.set()
    await first
    return [await task for task in tasks]


def binary(*inputs: bytes) -> dict[str, Any]:
    encoded = [base64.b64encode(one).decode() for one in inputs]
    data = {"name": "input", "datatype": "BYTES", "shape": [len(encoded)], "data": encoded}
    return {"inputs": [data]}


def test_all_protocols_share_one_batch() -> None:
    servable = FakeBatches()

    async def use(app: Application, one: httpx.AsyncClient) -> list[httpx.Response]:
        lines = {"accept": "application/x-ndjson"}
        posts: list[dict[str, Any]] = [
            {"url": "/predict", "content": b"1"},
            {"url": "/invocations", "content": b"22"},
            {"url": "/v2/models/chess/infer", "json": binary(b"333")},
            {"url": "/predict", "content": b"4444", "headers": lines},
        ]
        return await together(app, one, servable, posts)

    predicted, invoked, inferred, streamed = served(servable, use, max_batch=8)
    assert predicted.json()["predictions"] == [describe(b"1")]
    assert invoked.json()["predictions"] == [describe(b"22")]
    outputs = {one["name"]: one["data"] for one in inferred.json()["outputs"]}
    assert json.loads(outputs["answer"][0]) == describe(b"333")
    assert json.loads(streamed.text) == {"index": 0, "last": True, "value": describe(b"4444")}
    assert [b"1", b"22", b"333", b"4444"] in servable.batches


def test_explanations_are_no_part_of_a_batch() -> None:
    servable = FakeBatches(wire=TEXT)

    async def use(app: Application, one: httpx.AsyncClient) -> httpx.Response:
        return await one.post("/explain", json={"input": "two words"})

    assert len(served(servable, use, max_batch=2).json()["explanations"]) == 1
    assert servable.batches == []


def test_who_breaks_a_batch_is_told_and_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    servable = FakeBatches()

    async def use(app: Application, one: httpx.AsyncClient) -> list[httpx.Response]:
        files = [("f", ("a", b"boom")), ("f", ("b", b"333")), ("f", ("c", b"bad"))]
        posts: list[dict[str, Any]] = [
            {"url": "/predict", "content": b"1"},
            {"url": "/predict", "content": b"boom"},
            {"url": "/predict", "files": files},
        ]
        return await together(app, one, servable, posts)

    good, bad, mixed = served(servable, use, max_batch=8)
    assert good.json()["predictions"] == [describe(b"1")]
    assert (bad.status_code, bad.json()["error"]["code"]) == (500, "internal")
    assert mixed.status_code == 200
    broken, fine, undecodable = mixed.json()["predictions"]
    assert broken["error"].startswith("The model failed on this input.")
    assert fine == describe(b"333")
    assert undecodable["error"].startswith("It is no photo")
    assert "secret" not in bad.text + mixed.text
    told = sorted(record.getMessage() for record in caplog.records if record.name == "topwork.serving")
    assert told == ["a request failed", "one of several inputs failed"]
    assert "secret detail of the server" in caplog.text


def test_a_stream_is_one_behind_http_as_well() -> None:
    servable = Speller()
    servable.allowed.release(100)

    async def use(app: Application, one: httpx.AsyncClient) -> list[httpx.Response]:
        return list(await asyncio.gather(*(one.post("/predict", content=word) for word in (b"abc", b"xy"))))

    for response, word in zip(served(servable, use, max_batch=2), ("abc", "xy"), strict=True):
        lines = [json.loads(line) for line in response.text.splitlines()]
        assert "".join(line["value"]["text"] for line in lines) == word
        assert [line["last"] for line in lines] == [*(False for _ in word[1:]), True]


def test_a_late_request_is_told_where_it_was() -> None:
    servable = FakeBatches()

    async def use(app: Application, one: httpx.AsyncClient) -> None:
        servable.gate.clear()
        headers = {"x-timeout-ms": "200"}
        late = [one.post("/predict", content=b"12", headers=headers) for _ in range(2)]
        messages = sorted([(await post).json()["error"]["message"] for post in late])
        servable.gate.set()
        assert ["at work" in message for message in messages] == [True, False]
        assert ["in line" in message for message in messages] == [False, True]
        assert (await one.post("/predict", content=b"123")).status_code == 200
        gate = app.named(None).gate
        await until(lambda: gate.n_inside == 0)

    served(servable, use, max_batch=1)
    assert servable.batches.count([b"12"]) == 1


def test_a_full_server_says_429_and_recovers() -> None:
    servable = FakeBatches()

    async def use(app: Application, one: httpx.AsyncClient) -> list[int]:
        servable.gate.clear()
        # Two times the largest batch are inside, and one waits at the gate.
        tasks = [asyncio.create_task(one.post("/predict", content=b"x")) for _ in range(5)]
        hosted = app.named(None)
        await until(lambda: hosted.gate.n_waiting == 1)
        assert hosted.n_waiting + hosted.n_working == 5
        refused = await one.post("/predict", content=b"x")
        assert int(refused.headers["retry-after"]) >= 1
        servable.gate.set()
        return [refused.status_code, *[(await task).status_code for task in tasks]]

    assert served(servable, use, max_batch=2, max_waiting=1) == [429, 200, 200, 200, 200, 200]


def test_a_client_that_left_is_not_worked_for() -> None:
    servable = FakeBatches()

    async def use(app: Application, one: httpx.AsyncClient) -> None:
        hosted, gone = app.named(None), asyncio.Event()
        servable.gate.clear()
        first = asyncio.create_task(one.post("/predict", content=b"first"))
        await until(lambda: hosted.n_working == 1)
        messages = [{"type": "http.request", "body": b"left the line"}]

        async def receive() -> Any:
            if messages:
                return messages.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            raise AssertionError("nobody is there to read this")

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/predict",
            "headers": [(b"content-length", b"13")],
        }
        in_line = asyncio.create_task(app(scope, receive, send))
        await until(lambda: hosted.n_waiting == 1)
        gone.set()
        await in_line
        await until(lambda: hosted.n_waiting == 0)
        servable.gate.set()
        assert (await first).status_code == 200

    served(servable, use, max_batch=4)
    assert servable.batches == [[b"first"]]


# --- what is told ---------------------------------------------------------------------------------------


async def samples(one: httpx.AsyncClient) -> dict[tuple[str, str], float]:
    families = text_string_to_metric_families((await one.get("/metrics")).text)
    found = [sample for family in families for sample in family.samples]
    return {
        (sample.name, sample.labels.get("le", "")): sample.value
        for sample in found
        if "model" in sample.labels
    }


def test_batches_and_waiting_are_counted() -> None:
    servable = FakeBatches()

    async def use(app: Application, one: httpx.AsyncClient) -> tuple[Any, Any]:
        hosted = app.named(None)
        crew = hosted.crew
        assert crew is not None
        servable.gate.clear()
        tasks = [asyncio.create_task(one.post("/predict", content=b"x"))]
        await until(lambda: hosted.n_working == 1)
        tasks += [asyncio.create_task(one.post("/predict", content=b"x")) for _ in range(3)]
        await until(lambda: crew.n_ready == 3)
        await asyncio.sleep(0.3)
        during = await samples(one)
        servable.gate.set()
        await asyncio.gather(*tasks)
        await until(lambda: hosted.gate.n_inside == 0)
        return during, await samples(one)

    during, after = served(servable, use, max_batch=3)
    assert during["topwork_waiting_requests", ""] == 3
    assert during["topwork_working_requests", ""] == 1
    assert during["topwork_batch_limit", ""] == 3
    assert after["topwork_waiting_requests", ""] == after["topwork_working_requests", ""] == 0
    assert after["topwork_batch_size_bucket", "1.0"] == 1
    assert after["topwork_batch_size_bucket", "2.0"] == 1
    assert after["topwork_batch_size_bucket", "4.0"] == 2
    assert after["topwork_batch_size_bucket", "+Inf"] == after["topwork_batch_size_count", ""] == 2
    assert after["topwork_batch_size_sum", ""] == 4
    assert after["topwork_wait_seconds_count", ""] == after["topwork_work_seconds_count", ""] == 4
    assert after["topwork_wait_seconds_sum", ""] >= 3 * 0.3
    assert after["topwork_wait_seconds_bucket", "0.25"] == 1, "one did not wait"
    assert after["topwork_work_seconds_bucket", "0.25"] == 3, "and three hardly worked"


# --- how large ------------------------------------------------------------------------------------------


def largest_of(servable: Servable, **limits: Any) -> tuple[int, int]:
    """Return the most inputs of a batch, and how many requests may be inside."""

    async def use(app: Application, one: httpx.AsyncClient) -> tuple[int, int]:
        hosted = app.named(None)
        assert hosted.crew is not None
        places = 0
        with suppress(TimeoutError):
            while True:
                async with asyncio.timeout(0.05):
                    await hosted.gate.enter()
                places += 1
        return hosted.crew.largest, places

    return served(servable, use, **limits)


def test_the_limit_is_measured_unless_it_is_set() -> None:
    measured, asked = FakeBatches(), FakeBatches()
    largest, places = largest_of(measured)
    assert measured.batches, "it was measured"
    assert (places, largest in (1, 2, 4, 8, 16, 32, 64)) == (2 * largest, True)
    assert largest_of(asked, max_batch=7) == (7, 14)
    assert asked.batches == []
    assert largest_of(FakeBatches(), max_batch=7, max_concurrent=3) == (7, 3)


def test_other_limits_take_over_what_was_measured() -> None:
    servable = FakeBatches()

    async def main() -> tuple[int, int, int]:
        first = Hosted(servable, Limits(), 1)
        first.start()
        await first.proven()
        n_batches = len(servable.batches)
        found = []
        for limits in (Limits(max_inputs=3), Limits(max_batch=5)):
            other = first.under(limits)
            other.start()
            await other.proven()
            assert len(servable.batches) == n_batches, "nothing is measured twice"
            assert other.crew is not None
            found.append(other.crew.largest)
            other.stop()
        first.stop()
        assert first.crew is not None
        return first.crew.largest, found[0], found[1]

    before, after, asked = asyncio.run(main())
    assert (before, asked) == (after, 5)


def test_what_was_never_measured_is_measured_then() -> None:
    servable = FakeBatches()

    async def main() -> None:
        first = Hosted(servable, Limits(max_batch=2), 1)
        first.start()
        await first.proven()
        assert servable.batches == []
        other = first.under(Limits())
        other.start()
        await other.proven()
        assert servable.batches
        assert other.state == "ready"
        for hosted in (first, other):
            hosted.stop()

    asyncio.run(main())


def test_a_servable_without_batches_has_no_crew() -> None:
    assert Hosted(FakeServable(), Limits()).crew is None
    assert not isinstance(FakeServable(), Batchable)


# --- a user's code around it ----------------------------------------------------------------------------


def longer(content: bytes) -> bytes:
    if content == b"dark":
        raise ValueError("secret detail of the operator")
    return content + b"!"


def short(answer: dict[str, Any]) -> dict[str, Any]:
    return {"n": answer["n_bytes"]}


def test_code_around_a_model_leaves_it_its_batches() -> None:
    servable = FakeBatches()
    around = hooked(servable, Hooks("own", longer, short))
    assert isinstance(around, Batchable)
    assert isinstance(around, Servable)

    async def use(app: Application, one: httpx.AsyncClient) -> list[httpx.Response]:
        files = [("f", ("a", b"22")), ("f", ("b", b"dark"))]
        posts: list[dict[str, Any]] = [
            {"url": "/predict", "content": b"1"},
            {"url": "/predict", "files": files},
        ]
        return await together(app, one, servable, posts)

    one, two = served(around, use, max_batch=8)
    assert one.json()["predictions"] == [{"n": 2}]
    answer, failed = two.json()["predictions"]
    assert answer == {"n": 3}
    assert failed["error"].startswith("The server's own code before the model failed on this input.\n")
    assert [b"1!", b"22!"] in servable.batches


def test_what_is_measured_is_the_model_alone() -> None:
    servable = FakeBatches()
    largest_of(hooked(servable, Hooks("own", longer, short)))
    assert all(one == b"sample" for batch in servable.batches for one in batch)


def test_code_around_a_model_without_batches_gives_it_none() -> None:
    assert type(hooked(FakeServable(), Hooks("own", longer))) is Hooked


# --- real networks --------------------------------------------------------------------------------------


def predictions(response: httpx.Response) -> list[Any]:
    assert response.status_code == 200, response.text
    found: list[Any] = response.json()["predictions"]
    return found


async def posted(one: httpx.AsyncClient, groups: Sequence[Sequence[bytes]]) -> list[list[Any]]:
    """Ask about groups of inputs at once, each group in a request of its own."""
    requests = [
        one.post("/predict", files=[("file", (str(i), content)) for i, content in enumerate(group)])
        for group in groups
    ]
    return [predictions(response) for response in await asyncio.gather(*requests)]


@dataclass(slots=True)
class Slowed(NumpyEngine):
    """Takes long enough for others to come meanwhile."""

    def run(self, batch: Array) -> Mapping[str, Array]:
        time.sleep(0.005)
        return NumpyEngine.run(self, batch)


def tiny_model(folder: Path, kind: type[NumpyEngine]) -> BundleModel:
    save(folder / "oaks.topwork", tiny_contents())
    bundle = open_bundle(folder / "oaks.topwork", restore_tiny)
    return BundleModel(bundle, TinyModality(), kind(bundle.graph().weights))


def require_same(found: Any, expected: Answer) -> None:
    """Compare what a client got with an answer to the same input alone; the last digits may differ."""
    if expected.value is None:
        assert found == {"error": expected.problem}
        return
    assert found["label"] == expected.value["label"]
    assert found["scores"] == pytest.approx(expected.value["scores"], abs=1e-5)


def test_a_bundle_answers_in_company_as_it_does_alone(tmp_path: Path) -> None:
    model = tiny_model(tmp_path, Slowed)
    assert isinstance(model, Batchable)
    inputs = TinyModality().synthetic(40, 3)
    groups = [inputs[:7], inputs[7:8], [*inputs[8:20], b"broken"], inputs[20:]]
    alone = [[next(model.submit([content])) for content in group] for group in groups]

    async def use(app: Application, one: httpx.AsyncClient) -> tuple[list[list[Any]], Any]:
        crew = app.named(None).crew
        assert crew is not None
        return await posted(one, groups), crew.sizes

    found, sizes = served(model, use, max_batch=8)
    for group, expected in zip(found, alone, strict=True):
        assert len(group) == len(expected)
        for one, other in zip(group, expected, strict=True):
            require_same(one, other)
    assert sum(size * n for size, n in sizes.items()) == 40
    assert max(sizes) > 1


def test_a_fitted_bundle_answers_in_company_as_it_does_alone(fitted: Model, photos: Path) -> None:
    model = fitted.servable
    contents = [path.read_bytes() for path in sorted(photos.rglob("*.jpg"))[:60:5]]
    alone = [next(model.submit([content])).value for content in contents]
    groups = with_client(model, lambda one: posted(one, [contents[:5], contents[5:6], contents[6:]]))
    found = [answer for group in groups for answer in group]
    assert len(found) == len(alone) == 12
    for one, other in zip(found, alone, strict=True):
        assert other is not None
        assert one["label"] == other["label"]
        assert one["probabilities"] == pytest.approx(dict(other["probabilities"]), abs=0.02)  # type: ignore[arg-type]


def test_texts_of_any_length_share_what_they_can(tmp_path: Path, around: Surroundings) -> None:
    """One window or several, and every length of each: none breaks the batch of another."""
    trunk = write_tiny_text_trunk(tmp_path / "tiny-words")
    embedder = open_embedder(str(trunk), replace(around, engine="onnxruntime"))
    texts = [b"word " * n for n in (1, 2, 3, 3, 2, 20, 21, 200, 5, 400, 400, 1)]
    alone = [next(embedder.submit([text])).value for text in texts]

    async def use(app: Application, one: httpx.AsyncClient) -> tuple[list[list[Any]], Any]:
        crew = app.named(None).crew
        assert crew is not None
        return await posted(one, [texts[:8], texts[8:]]), crew.sizes

    groups, sizes = served(embedder, use, max_batch=8)
    found = [one["embedding"] for group in groups for one in group]
    expected = [(one or {})["embedding"] for one in alone]
    np.testing.assert_allclose(np.array(found), np.array(expected), rtol=1e-4, atol=1e-5)
    assert sum(size * n for size, n in sizes.items()) == len(texts)


@dataclass(slots=True)
class Spoilt(NumpyEngine):
    """Gives no numbers at all where a black picture is in a batch."""

    def run(self, batch: Array) -> Mapping[str, Array]:
        outputs = NumpyEngine.run(self, batch)
        if not batch.reshape(len(batch), -1).any(axis=1).all():
            outputs = {name: np.full_like(values, np.nan) for name, values in outputs.items()}
        return outputs


def test_scores_that_are_no_numbers_cost_one_input(tmp_path: Path) -> None:
    model = tiny_model(tmp_path, Spoilt)
    inputs = [*TinyModality().synthetic(3, 3), bytes(48)]
    expected = [next(model.submit([content])) for content in inputs]

    async def use(app: Application, one: httpx.AsyncClient) -> list[list[Any]]:
        return await posted(one, [*([content] for content in inputs[:3]), inputs])

    *singles, several = served(model, use, max_batch=8)
    for found, other in zip(
        [group[0] for group in singles] + several, [*expected[:3], *expected], strict=True
    ):
        require_same(found, other)
    assert several[3] == {"error": "The network gave no finite score for this input."}
    for answer in model.compute([model.prepare(content) for content in inputs], Nobody()):
        require_same(answer.value or {"error": answer.problem}, expected[answer.index])
