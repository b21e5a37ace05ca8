"""What a server tells of its models over time: the route, the metrics, and the dashboard that is made of them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from fake_servable import LABELS, TEXT, FakeServable, client, with_client
from markdown_blocks import ROOT
from topwork.completions.counts import Counts
from topwork.serving.app import Application, application
from topwork.serving.hosting import Hosted
from topwork.serving.limits import Limits
from topwork.serving.traffic.canaries import Rules
from topwork.serving.traffic.shadows import Shadow
from topwork.serving.traffic.shares import Canary, Lane, Traffic
from topwork.serving.traffic.versions import Versions
from topwork.serving.wrapping.chains import Chain, Link
from topwork.serving.wrapping.hooks import Hooked, Hooks
from topwork.verbs.watching import METRICS, OF_REPLICAS, OF_VERSIONS
from watched_servable import StaffedServable, WatchedServable

PATH = "/v1/models/chess/monitoring"
WINDOW = 60


async def ask(one: httpx.AsyncClient, n: int, start: bytes = b"x") -> None:
    """Send n inputs, of lengths that give all labels in turn and traits evenly spread."""
    step = 100 / n
    for number in range(n):
        body = start + b"." * (round(number * step) + 100 - len(start))
        assert (await one.post("/predict", content=body)).status_code == 200


def fits(value: Any, root: Any) -> bool:
    schema = {"$ref": "#/components/schemas/Monitoring", "components": root["components"]}
    return bool(jsonschema_rs.is_valid(schema, value))


async def told(one: httpx.AsyncClient) -> Any:
    response, root = await one.get(PATH), await one.get("/openapi.json")
    assert response.status_code == 200
    assert fits(response.json(), root.json()), response.json()
    return response.json()


def test_at_first_there_is_nothing_to_tell() -> None:
    found = with_client(WatchedServable(), told, drift_window=WINDOW)
    assert (found["model"], found["answers"], found["window"]) == ("chess", 0, WINDOW)
    assert found["last"] is None
    assert found["filling"] == {"answers": 0, "out_of_domain": None, "labels": [], "numbers": []}
    assert found["load"]["waiting"] == found["load"]["working"] == 0


def test_shares_and_strange_inputs_are_told_with_their_intervals() -> None:
    async def use(one: httpx.AsyncClient) -> Any:
        await ask(one, 40)
        await ask(one, 10, b"odd")
        await one.post("/predict", content=b"bad")
        await one.post("/predict", content=b"boom")
        return await told(one)

    found = with_client(WatchedServable(), use, drift_window=WINDOW)
    strange = found["filling"]["out_of_domain"]
    assert (found["answers"], strange["value"], strange["expected"]) == (50, 0.2, 0.05)
    assert strange["low"] < 0.2 < strange["high"]
    (labels,) = found["filling"]["labels"]
    assert labels["what"] == "answer: label"
    assert sum(one["now"]["value"] for one in labels["shares"]) == pytest.approx(1)
    assert all(one["then"] == pytest.approx(1 / 6) for one in labels["shares"])
    assert found["last"] is None


def test_a_full_window_is_tested_and_says_what_moved() -> None:
    async def use(one: httpx.AsyncClient) -> tuple[Any, Any]:
        await ask(one, WINDOW)
        same = await told(one)
        await ask(one, WINDOW, b"odd")
        return same, await told(one)

    same, moved = with_client(WatchedServable(), use, drift_window=WINDOW)
    assert (same["windows"], same["drifted"], same["last"]["has_drifted"]) == (1, 0, False)
    assert (moved["windows"], moved["drifted"]) == (2, 1)
    assert [one["what"] for one in moved["last"]["tests"] if one["is_significant"]] == [
        "input: distance",
        "input: out of domain",
    ]
    assert moved["filling"]["answers"] == 0


def test_other_protocols_and_streams_are_counted_and_explanations_are_not() -> None:
    async def use(one: httpx.AsyncClient) -> Any:
        await one.post("/invocations", content=b"12")
        await one.post("/predict", content=b"123", headers={"accept": "application/x-ndjson"})
        body = {"inputs": [{"name": "input", "datatype": "BYTES", "shape": [2], "data": ["MTI=", "MTIz"]}]}
        assert (await one.post("/v2/models/chess/infer", json=body)).status_code == 200
        return await told(one)

    assert with_client(WatchedServable(), use)["answers"] == 4

    async def explain(one: httpx.AsyncClient) -> Any:
        assert (await one.post("/explain", content=b"some words")).status_code == 200
        return await told(one)

    assert with_client(WatchedServable(wire=TEXT), explain)["answers"] == 0


def test_a_model_that_knows_nothing_says_so() -> None:
    async def use(one: httpx.AsyncClient) -> Any:
        await one.post("/predict", content=b"12")
        return await told(one)

    found = with_client(FakeServable(), use)
    assert (found["answers"], found["filling"], found["last"]) == (1, None, None)


def test_a_model_that_is_not_there_is_404() -> None:
    async def use(one: httpx.AsyncClient) -> httpx.Response:
        return await one.get("/v1/models/other/monitoring")

    assert with_client(WatchedServable(), use).status_code == 404


def test_own_code_that_changes_answers_leaves_the_inputs_watched() -> None:
    plain = Hooked(WatchedServable(), Hooks("own", before=lambda content: content))
    changed = Hooked(WatchedServable(), Hooks("own", after=lambda answer: {"is": answer["label"]}))
    assert plain.reference is not None
    assert set(plain.reference.profiles) == {""}
    assert changed.reference is not None
    assert (changed.reference.profiles, changed.reference.out_of_domain) == ({}, None)

    async def use(one: httpx.AsyncClient) -> Any:
        await ask(one, WINDOW, b"odd")
        return await told(one)

    found = with_client(changed, use, drift_window=WINDOW)
    assert [one["what"] for one in found["last"]["tests"]] == ["input: feature 1", "input: distance"]
    assert found["drifted"] == 1


def test_other_limits_keep_the_watch_unless_the_window_changes() -> None:
    async def main() -> None:
        one = Hosted(WatchedServable(), Limits())
        assert one.under(Limits(max_waiting=1)).watch is one.watch
        assert one.under(Limits(drift_window=100)).watch.size == 100

    asyncio.run(main())


# --- several versions, and chains -------------------------------------------------------------------------


def several(**others: Any) -> Versions:
    limits = Limits(drift_window=WINDOW)
    members = {name: Hosted(WatchedServable(), limits) for name in ("v1", "v2", "v3", "v4")}
    shadows = {"v4": Shadow(members["v4"].servable, 0.05)}
    lanes = [Lane("v1", 3.0), Lane("v2", 1.0)]
    return Versions(members, Traffic("chess", lanes, Canary("v3", 0.2, Rules()), **others), shadows)


def used_by(hosted: Hosted, use: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        app = Application([hosted], Limits(drift_window=WINDOW))
        async with app.running(), client(app) as one:
            await app.proven()
            return await use(one)

    return asyncio.run(main())


def test_each_version_is_held_against_its_own_fit() -> None:
    points = iter([0.1] * WINDOW + [0.3] * WINDOW)  # the canary's piece of the line comes first

    async def use(one: httpx.AsyncClient) -> tuple[Any, str]:
        assert set((await told(one))["versions"][0]) >= {"took", "load", "last"}
        await ask(one, WINDOW, b"odd")
        await ask(one, WINDOW)
        return await told(one), (await one.get("/metrics")).text

    found, metrics = used_by(several(random=lambda: next(points)), use)
    assert (found["answers"], found["windows"], found["drifted"]) == (2 * WINDOW, 2, 1)
    assert (found["filling"], found["last"]) == (None, None)
    by_name = {one["version"]: one for one in found["versions"]}
    assert list(by_name) == ["v3", "v1", "v2"]
    assert by_name["v3"]["last"]["has_drifted"] is True
    assert by_name["v1"]["last"]["has_drifted"] is False
    assert by_name["v2"]["last"] is None
    assert {name: one["share"] for name, one in by_name.items()} == pytest.approx(
        {"v1": 0.6, "v2": 0.2, "v3": 0.2}
    )
    assert [one["answered"] for one in found["versions"]] == [WINDOW, WINDOW, 0]
    assert by_name["v1"]["took"][-1] == [None, WINDOW]
    assert found["load"]["work"][-1] == [None, 2 * WINDOW]
    assert (found["canary"]["version"], found["canary"]["phase"]) == ("v3", "trial")
    assert [one["version"] for one in found["shadows"]] == ["v4"]
    assert 'topwork_drifted_windows_total{model="chess@v3"} 1.0' in metrics


def test_jobs_and_others_that_know_nothing_of_versions_feed_the_watch_of_the_lead() -> None:
    async def main() -> None:
        hosted = several()
        assert hosted.watch is hosted.members["v1"].watch
        hosted.settle("promoted")
        assert hosted.watch is hosted.members["v3"].watch

    asyncio.run(main())


def test_each_model_of_a_chain_is_held_against_its_own_fit() -> None:
    links = [
        Link(WatchedServable("first", TEXT)),
        Link(WatchedServable("second", TEXT), when={"first": {"label": LABELS[3]}}),
        Link(FakeServable("third", TEXT)),
    ]

    async def use(one: httpx.AsyncClient) -> tuple[Any, str]:
        await ask(one, WINDOW, b"odd")
        response, root = await one.get("/v1/models/both/monitoring"), await one.get("/openapi.json")
        assert fits(response.json(), root.json())
        return response.json(), (await one.get("/metrics")).text

    found, metrics = used_by(Hosted(Chain("both", links), Limits(drift_window=WINDOW)), use)
    first, second, third = found["parts"]
    assert (found["answers"], found["filling"]) == (WINDOW, None)
    assert (first["part"], first["answers"], first["last"]["has_drifted"]) == ("first", WINDOW, True)
    assert (second["answers"], second["filling"]["answers"], second["last"]) == (10, 10, None)
    assert (third["part"], third["answers"], third["filling"]) == ("third", WINDOW, None)
    assert 'topwork_drifted_windows_total{model="both/first"} 1.0' in metrics


def test_worker_processes_are_told_of() -> None:
    found = used_by(Hosted(StaffedServable(states={"starting": 1, "ready": 2}), Limits()), told)
    assert found["replicas"] == {"wanted": 3, "starting": 1, "ready": 2, "leaving": 0}
    assert used_by(Hosted(WatchedServable(), Limits()), told)["replicas"] is None


# --- as metrics, and drawn --------------------------------------------------------------------------------


def scraped() -> dict[str, dict[frozenset[tuple[str, str]], float]]:
    async def use(one: httpx.AsyncClient) -> str:
        await ask(one, WINDOW, b"odd")
        await one.get("/nowhere")  # refusals are counted once there are some
        return (await one.get("/metrics")).text

    found: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
    for family in text_string_to_metric_families(with_client(WatchedServable(), use, drift_window=WINDOW)):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def test_what_is_watched_is_counted_for_prometheus() -> None:
    found = scraped()
    chess = frozenset({("model", "chess")})
    assert found["topwork_answers_total"][chess] == WINDOW
    assert found["topwork_out_of_domain_total"][chess] == WINDOW
    assert found["topwork_drift_windows_total"][chess] == 1
    assert found["topwork_drifted_windows_total"][chess] == 1
    assert sum(found["topwork_labels_total"].values()) == WINDOW
    distances = {dict(labels)["what"]: n for labels, n in found["topwork_drift_distance"].items()}
    assert distances["input: distance"] > 0.9 > distances["input: feature 1"]


def test_top_reads_only_metrics_that_there_are() -> None:
    assert set(METRICS) <= set(scraped())


def test_top_reads_only_metrics_that_there_are_of_worker_processes() -> None:
    async def use(one: httpx.AsyncClient) -> str:
        return (await one.get("/metrics")).text

    hosted = Hosted(StaffedServable(states={"ready": 3}), Limits(drift_window=WINDOW))
    families = text_string_to_metric_families(used_by(hosted, use))
    assert set(OF_REPLICAS) <= {sample.name for family in families for sample in family.samples}


def test_top_reads_only_metrics_that_there_are_of_versions() -> None:
    hosted = several()

    async def use(one: httpx.AsyncClient) -> str:
        await one.post("/predict", content=b"12")
        hosted.settle("promoted")
        return (await one.get("/metrics")).text

    families = text_string_to_metric_families(used_by(hosted, use))
    assert set(OF_VERSIONS) <= {sample.name for family in families for sample in family.samples}


def of_writers() -> dict[str, dict[frozenset[tuple[str, str]], float]]:
    """Return what is counted of models that write, which no model of these tests does."""
    registry = CollectorRegistry()
    watch = Counts(registry).watch("tiny", 0.0, streams=True)
    watch.count(3, 4)
    watch.end()
    found: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
    for family in registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def test_every_metric_of_the_dashboard_is_there_with_its_labels() -> None:
    dashboard = json.loads(Path(ROOT / "docs" / "grafana.json").read_text(encoding="utf-8"))
    found = scraped() | of_writers()
    texts = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    texts += [one["query"]["query"] for one in dashboard["templating"]["list"] if one["type"] == "query"]
    named = [name for text in texts for name in re.findall(r"\b(?:topwork|process)_\w+", text)]
    assert len(named) >= 20
    # What the system does not tell of a process is missing from /metrics, too.
    assert {name for name in named if name.startswith("topwork")} <= set(found)
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total"} >= {n for n in named if n[0] == "p"}
    labels = {name for samples in found.values() for one in samples for name, _ in one} | {"instance"}
    for text in texts:
        used = {one.strip() for some in re.findall(r"(?:by|on) \(([^)]*)\)", text) for one in some.split(",")}
        used |= set(re.findall(r"(\w+)=~", text))
        assert used <= labels, text
    shown = {
        one
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for one in re.findall(r"{{(\w+)}}", target["legendFormat"])
    }
    assert shown <= labels


def test_panels_of_the_dashboard_do_not_overlap_and_have_names_of_their_own() -> None:
    panels = json.loads(Path(ROOT / "docs" / "grafana.json").read_text(encoding="utf-8"))["panels"]
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken)) > 100
    assert max(x for x, _ in taken) == 23
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)


def test_a_label_of_a_model_is_counted_and_one_that_was_made_up_is_not() -> None:
    class Odd(WatchedServable):
        def submit(self, inputs: Any) -> Any:
            for answer in super().submit(inputs):
                yield type(answer)(answer.index, {**(answer.value or {}), "label": "made up"})

    async def main() -> dict[tuple[str, str], int]:
        app = application(Odd())
        async with app.running(), client(app) as one:
            await app.proven()
            await one.post("/predict", content=b"123")
            return dict(app.models["chess"].watch.given)

    assert asyncio.run(main()) == {}
