"""What the server counts of itself."""

from __future__ import annotations

import asyncio
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families

from fake_servable import FakeServable, Gated, client, with_client
from topwork import __version__
from topwork.serving.app import application
from topwork.serving.limits import Limits
from topwork.serving.watching.durations import STEPS_S, Durations
from unruly import staffed

if TYPE_CHECKING:
    from collections.abc import Mapping

STATES = ("starting", "ready", "leaving")
Samples = dict[str, dict[frozenset[tuple[str, str]], float]]


def samples(text: str) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name][frozenset(labels.items())]


async def scraped(one: httpx.AsyncClient) -> Samples:
    response = await one.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    return samples(response.text)


async def settled(one: httpx.AsyncClient) -> Samples:
    """Scrape until no thread is at work: it gives its place back a moment after its answer."""
    while value(found := await scraped(one), "topwork_working_requests", model="chess"):
        await asyncio.sleep(0.01)
    return found


def test_requests_are_counted_by_route_and_status() -> None:
    async def use(one: httpx.AsyncClient) -> Samples:
        for path in ("/v1/models/chess", "/v1/models/a", "/v1/models/b", "/no/such/path", "/nor/this"):
            await one.get(path)
        await one.request("BREW", "/predict")
        await one.post("/predict", content=b"xyz")
        await one.post("/predict", content=b"boom")
        return await settled(one)

    found = with_client(FakeServable(), use)
    counted = found["topwork_requests_total"]
    about = {"method": "GET", "route": "/v1/models/{name}"}
    assert value(found, "topwork_requests_total", **about, status="200") == 1
    assert value(found, "topwork_requests_total", **about, status="404") == 2
    # What a client makes up is no label, or it could fill the server's memory.
    unknown = {"method": "unknown", "route": "unknown"}
    assert value(found, "topwork_requests_total", **unknown, status="404") == 2
    assert value(found, "topwork_requests_total", **unknown, status="405") == 1
    predict = {"method": "POST", "route": "/predict"}
    assert value(found, "topwork_requests_total", **predict, status="200") == 1
    assert value(found, "topwork_requests_total", **predict, status="500") == 1
    assert sum(n for labels, n in counted.items() if ("route", "/metrics") not in labels) == 8
    assert value(found, "topwork_refused_requests_total", code="not_found") == 4
    assert value(found, "topwork_refused_requests_total", code="internal") == 1
    assert value(found, "topwork_request_duration_seconds_count", route="/predict") == 2
    assert value(found, "topwork_work_seconds_count", model="chess") == 2
    assert value(found, "topwork_wait_seconds_count", model="chess") == 2
    assert value(found, "topwork_ready", model="chess") == 1
    assert value(found, "topwork_build_info", version=__version__) == 1
    assert value(found, "topwork_requests_in_flight") == 1  # the one that asks


def test_what_waits_works_and_is_shed_is_told() -> None:
    servable = Gated()

    async def main() -> tuple[Samples, Samples]:
        app = application(servable, Limits(max_concurrent=1, max_waiting=1))
        async with app.running(), client(app) as one:
            await app.proven()
            first = asyncio.create_task(one.post("/predict", content=b"12345"))
            await asyncio.to_thread(servable.entered.acquire, timeout=20)
            second = asyncio.create_task(one.post("/predict", content=b"1234"))
            while not app.models["chess"].gate.n_waiting:
                await asyncio.sleep(0.01)
            shed = await one.post("/predict", content=b"1")
            assert shed.status_code == 429
            during = await scraped(one)
            servable.opened.set()
            await asyncio.gather(first, second)
            return during, await settled(one)

    during, after = asyncio.run(main())
    assert value(during, "topwork_waiting_requests", model="chess") == 1
    assert value(during, "topwork_working_requests", model="chess") == 1
    assert value(during, "topwork_buffered_bytes") == 9
    assert value(during, "topwork_requests_in_flight") == 3
    assert value(during, "topwork_refused_requests_total", code="busy") == 1
    assert value(after, "topwork_waiting_requests", model="chess") == 0
    assert value(after, "topwork_working_requests", model="chess") == 0
    assert value(after, "topwork_buffered_bytes") == 0
    assert value(after, "topwork_wait_seconds_count", model="chess") == 2
    assert value(after, "topwork_wait_seconds_sum", model="chess") > 0
    assert value(after, "topwork_wait_seconds_bucket", model="chess", le="+Inf") == 2


def test_a_client_that_left_is_counted_as_gone() -> None:
    async def main() -> Samples:
        app = application(FakeServable())
        async with app.running(), client(app) as one:
            await app.proven()
            scope = {
                "type": "http",
                "method": "POST",
                "path": "/predict",
                "headers": [(b"content-length", b"3")],
            }

            async def receive() -> Mapping[str, str]:
                return {"type": "http.disconnect"}

            async def send(_: object) -> None:
                raise AssertionError("there is nobody to send to")

            await app(scope, receive, send)  # type: ignore[arg-type]
            return await scraped(one)

    found = asyncio.run(main())
    gone = {"method": "POST", "route": "/predict", "status": "gone"}
    assert value(found, "topwork_requests_total", **gone) == 1


def test_openmetrics_is_given_to_who_asks_for_it() -> None:
    headers = {"accept": "application/openmetrics-text; version=1.0.0"}
    response = with_client(FakeServable(), lambda one: one.get("/metrics", headers=headers))
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    names = {family.name for family in open_families(response.text)}  # type: ignore[no-untyped-call]
    assert {"topwork_requests", "topwork_wait_seconds", "topwork_ready"} <= names


def test_no_series_tells_when_another_began() -> None:
    async def use(one: httpx.AsyncClient) -> list[str]:
        await one.get("/livez")
        accepts = ("text/plain", "application/openmetrics-text; version=1.0.0")
        return [(await one.get("/metrics", headers={"accept": accept})).text for accept in accepts]

    texts = with_client(FakeServable(), use)
    assert [text.count("topwork_requests_total{") for text in texts] == [1, 2]
    assert not any("_created" in text for text in texts)


def test_two_applications_count_for_themselves() -> None:
    async def main() -> Samples:
        first, second = application(FakeServable()), application(FakeServable())
        async with first.running(), second.running(), client(first) as one, client(second) as two:
            await one.get("/livez")
            return await scraped(two)

    found = asyncio.run(main())
    assert "topwork_requests_total" not in found
    assert value(found, "topwork_requests_in_flight") == 1


def test_durations_fall_into_the_first_step_that_holds_them() -> None:
    durations = Durations()
    for seconds in (0.0, 0.001, 0.0011, 61.0):
        durations.add(seconds)
    cumulated = dict(durations.cumulated())
    assert (cumulated[0.001], cumulated[0.0025], cumulated[60.0], cumulated[inf]) == (2, 3, 3, 4)
    assert durations.total_s == 61.0021
    assert list(cumulated) == [*STEPS_S, inf]


def test_worker_processes_are_counted(tmp_path: Path) -> None:
    async def use(one: httpx.AsyncClient) -> Samples:
        await one.post("/predict", content=b"once:%s" % bytes(tmp_path / "a"))
        assert (await one.post("/predict", content=b"die")).status_code == 503
        return await settled(one)

    with staffed(max_replicas=2, min_replicas=2) as model:
        found = with_client(model, use)
    states = {state: value(found, "topwork_replicas", model="chess", state=state) for state in STATES}
    assert sum(states.values()) <= 2
    assert value(found, "topwork_replicas_wanted", model="chess") == 2
    assert value(found, "topwork_replica_restarts_total", model="chess", reason="died") >= 2
    assert value(found, "topwork_lost_requests_total", model="chess", then="retried") == 2
    assert value(found, "topwork_lost_requests_total", model="chess", then="given_up") == 1
    assert "topwork_replicas" not in with_client(FakeServable(), scraped)
