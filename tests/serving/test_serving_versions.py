"""Several versions of a model on a server: who answers, what a canary comes to, what a shadow sees."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fake_servable import TEXT, FakeServable, Gated, client
from keepers import Keeper, Told, answered, used
from topwork.errors import BundleError, ProofError, UsageError
from topwork.serving.limits import Limits
from topwork.serving.settings.declared import ModelSettings, VersionSettings
from topwork.serving.succession import Succession

RELOAD = "/v1/admin/reload"
MODEL = "/v1/admin/models/m"


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    return Keeper.at(tmp_path)


def version(keeper: Keeper, text: str, **others: Any) -> VersionSettings:
    path = keeper.folder / text
    return VersionSettings(path if path.exists() else keeper.put(text, text), **others)


def model(*versions: VersionSettings) -> ModelSettings:
    return ModelSettings(name="m", versions=versions)


def test_each_request_gets_a_version_and_is_told_which(keeper: Keeper) -> None:
    keeper.wants(model(version(keeper, "v1", weight=3), version(keeper, "v2", name="größer", weight=1)))

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        found = Counter([await answered(one, "m") for _ in range(200)])
        assert set(found) == {("v1", "v1"), ("v2", "gr%C3%B6%C3%9Fer")}
        assert 110 < found["v1", "v1"] < 190
        keyed = {await answered(one, "m", key="somebody") for _ in range(20)}
        assert len(keyed) == 1
        tensors = {"inputs": [{"name": "input", "datatype": "BYTES", "shape": [1], "data": ["eA=="]}]}
        answer = await one.post("/v2/models/m/infer", json=tensors)
        assert answer.json()["outputs"][1]["data"] == [
            {"v1": "v1"}.get(answer.headers["x-topwork-version"], "v2")
        ]
        for path in ("/predict", "/invocations"):
            assert "x-topwork-version" in (await one.post(path, content=b"x")).headers
        assert "x-topwork-version" not in (await one.get("/v1/models/m")).headers

    used(keeper, use)


def test_one_model_is_listed_and_described_whatever_its_versions(keeper: Keeper) -> None:
    keeper.wants(
        model(version(keeper, "v1"), version(keeper, "v2", canary=0.1), version(keeper, "v3", shadow=True))
    )

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        (listed,) = (await one.get("/v1/models")).json()["models"]
        assert (listed["name"], listed["state"]) == ("m", "ready")
        described = (await one.get("/openapi.json")).json()
        assert described["info"]["title"] == "topwork: m"
        for path, method in ((MODEL, "get"), (f"{MODEL}/promote", "post"), (f"{MODEL}/rollback", "post")):
            shown = described["paths"][path.replace("models/m", "models/{name}")]
            assert "403" in shown[method]["responses"]
            schema = shown[method]["responses"]["200"]["content"]["application/json"]["schema"]
            told = (await one.request(method, path)).json()
            assert jsonschema_rs.validator_for(schema).is_valid(told), told
            assert not jsonschema_rs.validator_for(schema).is_valid({**told, "more": 1})

    used(keeper, use)


def test_versions_that_answer_by_turns_are_alike(keeper: Keeper) -> None:
    keeper.made["texts"] = FakeServable("m", TEXT)
    keeper.made["other"] = FakeServable("m")
    keeper.wants(model(version(keeper, "v1"), version(keeper, "texts")))
    with pytest.raises(
        UsageError, match="v1 and texts of m do not have the same inputs and answers and explanations"
    ):
        keeper.begin()
    keeper.wants(model(version(keeper, "v1"), version(keeper, "other", canary=0.5)))
    with pytest.raises(UsageError, match="do not have the same answers"):
        keeper.begin()
    keeper.wants(model(version(keeper, "v1"), version(keeper, "other", shadow=True)))
    used(keeper, lambda *_: asyncio.sleep(0))


def test_a_version_that_is_not_proven_serves_nobody(keeper: Keeper) -> None:
    keeper.wants(model(version(keeper, "v1"), version(keeper, "bad", weight=0)))

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        raise AssertionError("it was served")

    with pytest.raises(ProofError):
        used(keeper, use)


def test_where_one_cannot_be_had_those_that_were_opened_are_ended(keeper: Keeper) -> None:
    keeper.made["texts"] = FakeServable("m", TEXT)
    own = ModelSettings(keeper.put("own", "own"), "own")
    for bad in ("half", "texts"):
        keeper.hosted.clear()
        keeper.wants(own, model(version(keeper, "v1"), version(keeper, bad)))
        with pytest.raises((BundleError, UsageError)):
            keeper.begin()
        assert [one.workers.stopped for one in keeper.hosted] == [True] * {"half": 2, "texts": 3}[bad]


def test_nobody_is_counted_before_all_versions_are_proven(keeper: Keeper) -> None:
    release = threading.Event()
    keeper.made["v2"] = Told("m", text="v2", proof=lambda: assert_set(release))
    keeper.wants(model(version(keeper, "v1"), version(keeper, "v2", canary=0.5)))

    async def main() -> None:
        succession = keeper.begin()
        async with succession.app.running(), client(succession.app) as one:
            one.headers["x-api-key"] = keeper.key
            assert {await asked(one) for _ in range(10)} == {503}
            told = (await one.get(MODEL)).json()
            assert not any(entry["failed"] for entry in told["versions"])
            release.set()
            await succession.app.proven()
            assert {await asked(one) for _ in range(10)} == {200}

    asyncio.run(main())


def assert_set(event: threading.Event) -> None:
    assert event.wait(20)


# --- canaries -------------------------------------------------------------------------------------------

QUICK = {"canary": 0.3, "promote_after": 20, "most_errors": 0.3, "most_slower": 100.0}


async def asked(one: httpx.AsyncClient, content: bytes = b"x") -> int:
    return (await one.post("/predict", content=content)).status_code


async def until_phase(one: httpx.AsyncClient, phase: str, content: bytes = b"x") -> list[int]:
    """Ask until the trial is over, and return the statuses."""
    statuses: list[int] = []
    while (await one.get(MODEL)).json()["canary"]["phase"] != phase:
        statuses += [await asked(one, content) for _ in range(10)]
        assert len(statuses) < 3000, (await one.get(MODEL)).json()
    return statuses


def test_a_canary_is_promoted_by_itself_and_no_request_fails(keeper: Keeper) -> None:
    keeper.wants(model(version(keeper, "v1"), version(keeper, "v2", **QUICK)))

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        assert set(await until_phase(one, "promoted")) == {200}
        assert {await answered(one, "m") for _ in range(30)} == {("v2", "v2")}
        told = (await one.get(MODEL)).json()
        assert [entry["share"] for entry in told["versions"]] == [1.0, 0.0]
        assert told["canary"]["verdict"] == "promote"
        assert (await one.post(f"{MODEL}/rollback")).json()["canary"]["phase"] == "rolled back"
        assert {await answered(one, "m") for _ in range(30)} == {("v1", "v1")}

    used(keeper, use)


def test_a_canary_that_fails_is_rolled_back_by_itself(
    keeper: Keeper, caplog: pytest.LogCaptureFixture
) -> None:
    keeper.wants(model(version(keeper, "v1"), version(keeper, "fails", **QUICK)))

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        statuses = Counter(await until_phase(one, "rolled back", b"fail"))
        assert set(statuses) == {200, 500}
        assert statuses[500] < 60
        assert {await answered(one, "m", b"fail") for _ in range(50)} == {("v1", "v1")}

    used(keeper, use)
    assert "m: the canary fails was rolled back." in caplog.text


def test_what_a_client_did_wrong_is_nobodys_failure(keeper: Keeper) -> None:
    keeper.wants(model(version(keeper, "v1"), version(keeper, "v2", **QUICK)))

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        for _ in range(20):
            assert (await one.post("/predict", json={"inputs": 3})).status_code == 422
        told = (await one.get(MODEL)).json()
        assert sum(entry["answered"] for entry in told["versions"]) == 20
        assert not any(entry["failed"] for entry in told["versions"])

    used(keeper, use)


def test_other_limits_keep_the_trial_and_another_weight_begins_anew(keeper: Keeper) -> None:
    versions = (version(keeper, "v1"), version(keeper, "v2", **QUICK))
    keeper.wants(model(*versions))

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        await until_phase(one, "promoted")
        keeper.wants(model(*versions), limits=Limits(max_inputs=7))
        assert (await one.post(RELOAD)).json()["kept"] == ["m@v1", "m@v2"]
        assert (await one.get(MODEL)).json()["canary"]["phase"] == "promoted"
        assert (await asked(one)) == 200
        keeper.wants(model(versions[0], replace(versions[1], canary=0.5)), limits=Limits(max_inputs=7))
        assert (await one.post(RELOAD)).json()["kept"] == ["m@v1", "m@v2"]
        assert (await one.get(MODEL)).json()["canary"]["phase"] == "trial"
        assert (await asked(one)) == 200

    used(keeper, use)
    assert keeper.opened == ["v1", "v2"]


def test_a_version_comes_and_another_goes_while_a_request_is_under_way(keeper: Keeper) -> None:
    keeper.made["v1"] = old = Gated("m")
    keeper.made["v2"], keeper.made["v3"] = FakeServable("m"), FakeServable("m")
    versions = [version(keeper, text) for text in ("v1", "v2", "v3")]
    keeper.wants(model(versions[0], replace(versions[1], weight=0)))

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        working = asyncio.create_task(one.post("/predict", content=b"x"))
        await asyncio.to_thread(old.entered.acquire)
        before = dict(succession.app.models["m"].leaves())
        keeper.wants(model(versions[1], versions[2]))
        told = (await one.post(RELOAD)).json()
        assert (told["opened"], told["kept"], told["removed"]) == (["m@v3"], ["m@v2"], ["m@v1"])
        after = dict(succession.app.models["m"].leaves())
        assert after["m@v2"] is before["m@v2"]
        assert not before["m@v1"].workers.stopped
        assert [await asked(one) for _ in range(20)] == [200] * 20
        old.opened.set()
        assert (await working).status_code == 200
        async with asyncio.timeout(5):
            while not before["m@v1"].workers.stopped:
                await asyncio.sleep(0.01)
        assert not after["m@v2"].workers.stopped

    used(keeper, use)


def test_a_model_of_one_version_has_no_canary(keeper: Keeper) -> None:
    keeper.wants(ModelSettings(keeper.put("v1", "v1"), "m"))

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        told = (await one.get(MODEL)).json()
        assert told == {
            "model": "m",
            "versions": [{"version": "m", "share": 1.0}],
            "canary": None,
            "shadows": [],
        }
        for word in ("promote", "rollback"):
            refused = await one.post(f"{MODEL}/{word}")
            assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
        assert (await one.get("/v1/admin/models/nobody")).status_code == 404
        assert (await one.get(MODEL, headers={"x-api-key": "wrong"})).status_code == 401

    used(keeper, use)


# --- shadows --------------------------------------------------------------------------------------------


async def compared(one: httpx.AsyncClient) -> Any:
    """Return what the shadow counts."""
    [told] = (await one.get(MODEL)).json()["shadows"]
    return {**told, "asked": told["agreed"] + told["differed"] + told["failed"]}


def test_a_shadow_is_compared_and_never_answers(keeper: Keeper) -> None:
    keeper.made["next"] = shadow = Told("m", text="next")
    keeper.wants(model(version(keeper, "v1"), version(keeper, "next", shadow=True)))

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        n_asked = 0
        async with asyncio.timeout(20):
            while (await compared(one))["asked"] < 5:
                assert await answered(one, "m") == ("v1", "v1")
                n_asked += 1
                await asyncio.sleep(0.02)
        told = await compared(one)
        assert (told["differed"], told["agreed"], told["failed"]) == (5, 0, 0)
        assert (await one.get(MODEL)).json()["versions"] == [
            {"version": "v1", "share": 1.0, "answered": n_asked, "failed": 0}
        ]
        assert len(shadow.seen) == 5
        lines = await one.post("/predict", content=b"x", headers={"accept": "application/x-ndjson"})
        assert lines.status_code == 200

    used(keeper, use)


def test_a_shadow_that_hangs_holds_nobody_up(keeper: Keeper) -> None:
    keeper.made["slow"] = slow = Gated("m")
    keeper.made["v1"] = FakeServable("m")
    keeper.wants(
        model(version(keeper, "v1"), version(keeper, "slow", shadow=True)),
        limits=Limits(max_buffered_bytes=8),
    )

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        assert [await asked(one, b"12345678") for _ in range(20)] == [200] * 20
        await asyncio.to_thread(slow.entered.acquire)
        async with asyncio.timeout(20):
            while (await compared(one))["dropped"] < 19:
                await asyncio.sleep(0.01)
            slow.opened.set()
            while not (await compared(one))["asked"]:
                await asyncio.sleep(0.01)
        assert (await compared(one))["agreed"] == 1

    used(keeper, use)


def test_what_is_no_prediction_is_not_compared(keeper: Keeper) -> None:
    keeper.made["v1"], keeper.made["next"] = FakeServable("m", TEXT), FakeServable("m", TEXT)
    keeper.wants(model(version(keeper, "v1"), version(keeper, "next", shadow=True)))

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        for path, accept in (("/explain", "*/*"), ("/predict", "application/x-ndjson")):
            got = await one.post(path, content=b"text", headers={"accept": accept})
            assert got.status_code == 200
            await asyncio.sleep(0.05)
        told = await compared(one)
        assert (told["asked"], told["dropped"]) == (0, 0)

    used(keeper, use)


def test_a_shadow_waits_until_nobody_works(keeper: Keeper) -> None:
    keeper.made["busy"] = busy = Gated("m")
    keeper.made["next"] = shadow = FakeServable("m")
    keeper.wants(model(version(keeper, "busy"), version(keeper, "next", shadow=True)))

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        tasks = [asyncio.create_task(one.post("/predict", content=b"x" * n)) for n in (1, 2, 3)]
        await asyncio.to_thread(busy.entered.acquire)
        bad = await one.post("/predict", content=b"x", headers={"content-type": "a/b"})
        assert bad.status_code == 415
        await asyncio.sleep(0.05)
        assert shadow.seen == []
        busy.opened.set()
        assert [(await task).status_code for task in tasks] == [200] * 3

    used(keeper, use)


# --- metrics --------------------------------------------------------------------------------------------


def test_versions_canaries_and_shadows_are_counted(keeper: Keeper) -> None:
    versions = (version(keeper, "v1"), version(keeper, "v2", **QUICK), version(keeper, "v3", shadow=True))
    keeper.wants(model(*versions), no_keys=True, keys=None)

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        for _ in range(10):
            await asked(one)
        text = (await one.get("/metrics")).text
        found = {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if not sample.name.endswith("_bucket")
        }
        assert sum(found["topwork_version_requests_total", "answered", "m", f"v{n}"] for n in (1, 2)) == 10
        assert found["topwork_version_share", "m", "v2"] == 0.3
        assert found["topwork_canary_phase", "m", "trial", "v2"] == 1
        assert found["topwork_canary_phase", "m", "promoted", "v2"] == 0
        assert sum(found["topwork_version_duration_seconds_count", "m", f"v{n}"] for n in (1, 2)) == 10
        assert ("topwork_shadow_dropped_requests_total", "m", "v3") in found
        assert ("topwork_shadow_inputs_total", "differed", "m", "v3") in found
        assert found["topwork_ready", "m@v3"] == 1

    used(keeper, use)
