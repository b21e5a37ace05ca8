"""Jobs over HTTP, in this process: an id at once, the answer later, behind live requests, whatever the disk does."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from doors import keyed_door, made
from fake_servable import TEXT, FakeServable, Gated, client
from topwork.contracts import Answer, Servable
from topwork.errors import UsageError
from topwork.serving.app import Application
from topwork.serving.hosting import Hosted
from topwork.serving.http.door import Door
from topwork.serving.jobs.jobs import Jobs, Tempo
from topwork.serving.jobs.lanes import SLICE
from topwork.serving.jobs.opening import open_jobs
from topwork.serving.jobs.records import Bounds, Ending
from topwork.serving.jobs.store import JobStore
from topwork.serving.limits import Limits
from topwork.serving.settings.declared import ModelSettings, ServerSettings

T = TypeVar("T")
Use = Callable[[httpx.AsyncClient, Application], Awaitable[T]]
SOON = Tempo(expire_s=0.05, retry_s=0.05)


def with_jobs(
    path: Path,
    use: Use[T],
    servable: Servable | None = None,
    *,
    door: Door | None = None,
    limits: Limits | None = None,
    open_store: Callable[..., JobStore] = lambda path, now: JobStore(path, now=now),
) -> T:
    """Run ``use`` with a client of an application that takes jobs; the file is closed at the end."""

    async def main() -> T:
        bounds = limits or Limits()
        jobs = Jobs(path, tempo=SOON, open_store=open_store)
        app = Application([Hosted(servable or FakeServable(), bounds)], bounds, door=door, jobs=jobs)
        async with app.running(), client(app) as one:
            await app.proven()
            return await use(one, app)

    return asyncio.run(main())


async def over(one: httpx.AsyncClient, name: str, headers: dict[str, str] | None = None) -> Any:
    """Wait for the end of a job."""
    for _ in range(2000):
        found = (await one.get(f"/v1/jobs/{name}", headers=headers)).json()
        if found["status"] in ("done", "failed"):
            return found
        await asyncio.sleep(0.005)
    raise AssertionError(f"the job never ended: {found}")


async def made_job(one: httpx.AsyncClient, **rest: Any) -> str:
    response = await one.post("/v1/models/chess/jobs", **rest)
    assert response.status_code == 202, response.text
    name = response.json()["id"]
    assert response.headers["location"] == f"/v1/jobs/{name}"
    return str(name)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.sqlite"


def many(n: int) -> dict[str, list[str]]:
    return {"inputs": [base64.b64encode(b"x" * i).decode() for i in range(1, n + 1)]}


# --- answers --------------------------------------------------------------------------------------------


def test_the_answer_is_that_of_predict(path: Path) -> None:
    bodies: list[dict[str, Any]] = [
        {"content": b"1234", "headers": {"content-type": "image/png"}},
        {"json": many(3 * SLICE + 1)},
        {"files": [("file", ("a.jpg", b"1")), ("file", ("b.jpg", b"bad")), ("x", ("c.jpg", b"333"))]},
        {"json": {"inputs": ["no base64!", "MTIz"]}},
    ]

    async def use(one: httpx.AsyncClient, _: Application) -> None:
        for body in bodies:
            live = await one.post("/predict", **body)
            name = await made_job(one, **body)
            job = await over(one, name)
            assert (job["status"], job["error"]) == ("done", None)
            assert job["result"] == live.json()
            assert job["n_inputs"] == len(live.json()["predictions"])
            assert job["created"] <= job["ended"]

    with_jobs(path, use)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"content": b""}, 400),
        ({"content": b"x", "headers": {"content-type": "video/mp4"}}, 415),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400),
        ({"json": {"inputs": []}}, 422),
        ({"json": {"input": "no base64!"}}, 422),
        ({"json": many(65)}, 422),
        ({"content": b"x" * 300}, 413),
        ({"content": b"x", "headers": {"idempotency-key": ""}}, 400),
        ({"content": b"x", "headers": {"idempotency-key": "a b"}}, 400),
        ({"content": b"x", "headers": {"idempotency-key": "x" * 201}}, 400),
        ({"content": b"x", "headers": {"x-webhook-url": "https://a.example"}}, 400),
    ],
)
def test_what_cannot_be_answered_is_refused_at_once(path: Path, body: dict[str, Any], status: int) -> None:
    limits = Limits(max_body_bytes=299 if len(body.get("content", b"")) == 300 else 2**20)

    async def use(one: httpx.AsyncClient, app: Application) -> int:
        response = await one.post("/v1/models/chess/jobs", **body)
        assert samples_of(await one.get("/metrics"), "topwork_jobs") == [0.0] * 4
        return response.status_code

    assert with_jobs(path, use, limits=limits) == status


def samples_of(response: httpx.Response, name: str) -> list[float]:
    return [float(line.split()[-1]) for line in response.text.splitlines() if line.startswith(f"{name}{{")]


def test_what_goes_wrong_at_work_is_the_jobs_error(path: Path) -> None:
    async def use(one: httpx.AsyncClient, _: Application) -> list[Any]:
        contents = (b"boom", b"bad", b"pieces")
        return [await over(one, await made_job(one, content=content)) for content in contents]

    bug, bad, pieces = with_jobs(path, use)
    assert [job["status"] for job in (bug, bad, pieces)] == ["failed"] * 3
    assert bug["error"]["code"] == "internal"
    assert "secret" not in json.dumps(bug)
    assert bad["error"]["code"] == "bad_input"
    assert "answers in pieces" in pieces["error"]["message"]
    assert {job["result"] for job in (bug, bad, pieces)} == {None}


@pytest.mark.parametrize(("inputs", "status"), [(["a", "boom", "bb"], "done"), (["boom"] * 3, "failed")])
def test_an_input_on_which_the_model_fails_fails_alone(path: Path, inputs: list[str], status: str) -> None:
    async def use(one: httpx.AsyncClient, _: Application) -> Any:
        return await over(one, await made_job(one, json={"inputs": inputs}))

    job = with_jobs(path, use, FakeServable(wire=TEXT))
    assert job["status"] == status
    if status == "done":
        first, second, third = job["result"]["predictions"]
        assert (first["n_bytes"], third["n_bytes"]) == (1, 2)
        assert second["error"].startswith("The model failed on this input.")
    else:
        assert job["error"]["code"] == "internal"


def test_a_job_that_is_not_there_is_not_found(path: Path) -> None:
    async def use(one: httpx.AsyncClient, _: Application) -> list[int]:
        asked = [("GET", "/v1/jobs/none"), ("DELETE", "/v1/jobs/none"), ("POST", "/v1/models/no/jobs")]
        return [(await one.request(method, path)).status_code for method, path in asked]

    assert with_jobs(path, use) == [404, 404, 404]


def test_without_a_file_there_are_no_jobs() -> None:
    async def main() -> list[int]:
        app = Application([Hosted(FakeServable(), Limits())], Limits())
        async with app.running(), client(app) as one:
            await app.proven()
            paths = (await one.get("/openapi.json")).json()["paths"]
            assert not [path for path in paths if "jobs" in path]
            return [(await one.post("/v1/models/chess/jobs", content=b"x")).status_code]

    assert asyncio.run(main()) == [404]


# --- how far, and which -----------------------------------------------------------------------------------


def test_a_job_says_how_far_it_is(path: Path) -> None:
    servable = Stepwise(wire=TEXT)

    async def use(one: httpx.AsyncClient, _: Application) -> Any:
        texts = ["bad" if n == 2 else f"text {n}" for n in range(20)]
        made = await one.post("/v1/models/chess/jobs", json={"inputs": texts})
        assert [made.json()[name] for name in ("n_inputs", "n_done", "n_failed")] == [20, 0, 0]
        servable.allowed.release(9)  # slices of one, two and four, and two of the next
        found = await until(one, made.json()["id"], lambda job: job["n_done"] >= 7)
        assert (found["status"], found["n_inputs"], found["n_failed"]) == ("running", 20, 1)
        assert found["n_done"] <= 9, "for no more were allowed"
        servable.allowed.release(20)
        return await over(one, found["id"])

    job = with_jobs(path, use, servable)
    assert (job["n_inputs"], job["n_done"], job["n_failed"]) == (20, 20, 1)
    assert (job["per_second"], job["seconds_left"]) == (None, None)

    async def again(one: httpx.AsyncClient, _: Application) -> Any:
        return (await one.get(f"/v1/jobs/{job['id']}")).json()

    assert with_jobs(path, again) == job, "after a restart as well"


async def until(one: httpx.AsyncClient, name: str, holds: Callable[[Any], bool]) -> Any:
    """Wait until something holds of a job."""
    for _ in range(2000):
        found = (await one.get(f"/v1/jobs/{name}")).json()
        if holds(found):
            return found
        await asyncio.sleep(0.005)
    raise AssertionError(f"it never held: {found}")


@dataclass
class Stepwise(FakeServable):
    """Answers an input whenever the test allows one."""

    allowed: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def _answers(self, index: int, given: bytes) -> Iterator[Answer]:
        assert self.allowed.acquire(timeout=20), "the test never allowed another input"
        yield from super()._answers(index, given)


def test_a_list_is_of_the_keys_own_jobs_or_of_all(path: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    mine, theirs = ({"x-api-key": made(keys, name)} for name in ("mine", "theirs"))
    admin, metrics = ({"x-api-key": made(keys, name, name)} for name in ("admin", "metrics"))

    async def use(one: httpx.AsyncClient, _: Application) -> None:
        names = [await made_job(one, content=b"x" * n, headers=mine) for n in (1, 2, 3)]
        for name in names:
            await over(one, name, mine)
        foreign = await made_job(one, content=b"boom", headers=theirs)
        await over(one, foreign, theirs)

        async def ids(headers: dict[str, str], query: str = "") -> list[str]:
            response = await one.get(f"/v1/jobs{query}", headers=headers)
            assert response.status_code == 200, response.text
            return [job["id"] for job in response.json()["jobs"]]

        assert await ids(mine) == names[::-1]
        assert await ids(theirs) == [foreign]
        assert await ids(admin) == [foreign, *names[::-1]]
        assert await ids(admin, "?status=failed") == [foreign]
        assert await ids(mine, "?status=failed") == []
        first = (await one.get("/v1/jobs?limit=2", headers=mine)).json()
        assert "result" not in first["jobs"][0]
        assert first["jobs"][0]["owner"] == mine["x-api-key"][: len(first["jobs"][0]["owner"])]
        rest = (await one.get(f"/v1/jobs?limit=2&cursor={first['next']}", headers=mine)).json()
        assert [job["id"] for job in (*first["jobs"], *rest["jobs"])] == names[::-1]
        assert rest["next"] is None
        assert (await one.get("/v1/jobs", headers=metrics)).status_code == 403
        assert (await one.get("/v1/jobs")).status_code == 401

    with_jobs(path, use, door=keyed_door(keys))


@pytest.mark.parametrize(
    "query",
    ["status=gone", "status=", "limit=0", "limit=101", "limit=x", "cursor=x", "limit=1&limit=2", "owner=x"],
)
def test_a_list_that_cannot_be_is_refused(path: Path, query: str) -> None:
    async def use(one: httpx.AsyncClient, _: Application) -> int:
        return (await one.get(f"/v1/jobs?{query}")).status_code

    assert with_jobs(path, use) == 400


def test_without_keys_a_list_is_this_machines_alone(path: Path) -> None:
    async def use(one: httpx.AsyncClient, _: Application) -> tuple[int, int]:
        name = await made_job(one, content=b"x")
        await over(one, name)
        found = await one.get("/v1/jobs")
        return found.status_code, len(found.json().get("jobs", ()))

    assert with_jobs(path, use) == (200, 1)
    assert with_jobs(path, use, door=Door(None)) == (403, 0), "a proxy's clients would see one another's"


# --- fairness -------------------------------------------------------------------------------------------


def test_a_key_with_many_jobs_does_not_hold_up_anothers(path: Path, tmp_path: Path) -> None:
    """Twenty long jobs of one key are in line; a job of another key is done after a few slices of these."""
    keys, servable = tmp_path / "keys.json", FakeServable(delay_s=0.002)
    many_jobs, few = ({"x-api-key": made(keys, name)} for name in ("many", "few"))

    async def use(one: httpx.AsyncClient, _: Application) -> None:
        for _turn in range(20):
            await made_job(one, json=many(400), headers=many_jobs)
        while len(servable.seen) < 2 * SLICE:
            await asyncio.sleep(0.001)
        before = len(servable.seen)
        name = await made_job(one, content=b"other", headers=few)
        assert (await over(one, name, few))["status"] == "done"
        assert servable.seen.index(b"other") - before <= 200, "of 8000, and each job has 400"
        mine = (await one.get("/v1/jobs?status=queued&limit=100", headers=many_jobs)).json()["jobs"]
        assert len(mine) >= 10, "which still wait"

    with_jobs(path, use, servable, door=keyed_door(keys), limits=Limits(max_concurrent=1, max_inputs=400))


def test_a_key_has_its_share_of_the_jobs(path: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    greedy, other = ({"x-api-key": made(keys, name)} for name in ("greedy", "other"))

    async def use(one: httpx.AsyncClient, _: Application) -> None:
        for _turn in range(3):
            await made_job(one, content=b"abc", headers=greedy)
        refused = await one.post("/v1/models/chess/jobs", content=b"abc", headers=greedy)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "busy")
        assert "of one key it keeps at most 3 jobs" in refused.json()["error"]["message"]
        assert refused.headers["retry-after"] == "60"
        await made_job(one, content=b"abc", headers=other)

    with_jobs(path, use, door=keyed_door(keys), limits=Limits(max_jobs=6))


# --- cancelling, repeating, owning -----------------------------------------------------------------------


def test_a_job_that_is_deleted_stops_at_the_next_slice(path: Path) -> None:
    servable = Gated()

    async def use(one: httpx.AsyncClient, _: Application) -> None:
        name = await made_job(one, json=many(2 * SLICE))
        assert await asyncio.to_thread(servable.entered.acquire, timeout=20)
        assert (await one.get(f"/v1/jobs/{name}")).json()["status"] == "running"
        deleted = await one.delete(f"/v1/jobs/{name}")
        assert deleted.json() == {"id": name, "status": "cancelled"}
        assert (await one.get(f"/v1/jobs/{name}")).status_code == 404
        servable.opened.set()
        after = await made_job(one, content=b"1234")
        assert (await over(one, after))["status"] == "done"
        assert (await one.delete(f"/v1/jobs/{after}")).json()["status"] == "deleted"
        assert 'topwork_ended_jobs_total{status="cancelled"} 1.0' in (await one.get("/metrics")).text

    with_jobs(path, use, servable)
    assert len(servable.seen) <= 2, "the rest of the first job was never begun"


def test_the_same_request_sent_again_is_one_job(path: Path) -> None:
    servable = FakeServable()

    async def use(one: httpx.AsyncClient, _: Application) -> None:
        headers = {"idempotency-key": "7d1"}
        first = await made_job(one, content=b"abc", headers=headers)
        await over(one, first)
        assert await made_job(one, content=b"abc", headers=headers) == first
        other = await one.post("/v1/models/chess/jobs", content=b"abcd", headers=headers)
        assert (other.status_code, other.json()["error"]["code"]) == (409, "conflict")

    with_jobs(path, use, servable)
    assert servable.seen == [b"abc"]


def test_a_job_belongs_to_the_key_that_made_it(path: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    mine, theirs = ({"x-api-key": made(keys, name)} for name in ("mine", "theirs"))
    admin = {"x-api-key": made(keys, "admin", "admin")}

    async def use(one: httpx.AsyncClient, _: Application) -> None:
        assert (await one.post("/v1/models/chess/jobs", content=b"x")).status_code == 401
        assert (await one.post("/v1/models/chess/jobs", content=b"x", headers=admin)).status_code == 403
        name = await made_job(one, content=b"abc", headers=mine)
        await over(one, name, mine)
        for method in ("GET", "DELETE"):
            assert (await one.request(method, f"/v1/jobs/{name}", headers=theirs)).status_code == 404
            assert (await one.request(method, f"/v1/jobs/{name}")).status_code == 401
        assert (await one.get(f"/v1/jobs/{name}", headers=mine)).json()["status"] == "done"

    with_jobs(path, use, door=keyed_door(keys))


# --- behind live requests -------------------------------------------------------------------------------


def test_a_live_request_waits_for_one_slice_at_most(path: Path) -> None:
    """Ten jobs of four slices each stand in line; a request comes in after the slice that is at work."""
    servable = FakeServable(delay_s=0.002)

    async def use(one: httpx.AsyncClient, app: Application) -> None:
        names = [await made_job(one, json=many(4 * SLICE)) for _ in range(10)]
        while not servable.seen:
            await asyncio.sleep(0.001)
        before = len(servable.seen)
        response = await one.post("/predict", content=b"live")
        assert response.status_code == 200
        between = servable.seen.index(b"live") - before
        assert between <= 2 * SLICE, "the one at work, and one that began while the request was read"
        jobs = [await over(one, name) for name in names]
        assert {job["status"] for job in jobs} == {"done"}

    with_jobs(path, use, servable, limits=Limits(max_concurrent=1))


def test_jobs_leave_a_place_where_there_are_several(path: Path) -> None:
    servable = Gated()

    async def use(one: httpx.AsyncClient, app: Application) -> None:
        for _ in range(5):
            await made_job(one, json=many(2))
        assert await asyncio.to_thread(servable.entered.acquire, timeout=20)
        assert await asyncio.to_thread(servable.entered.acquire, timeout=20)
        await asyncio.sleep(0.1)
        assert app.named(None).gate.n_inside == 2, "of three places"
        live = asyncio.create_task(one.post("/predict", content=b"live"))
        assert await asyncio.to_thread(servable.entered.acquire, timeout=20)
        servable.opened.set()
        assert (await live).status_code == 200

    with_jobs(path, use, servable, limits=Limits(max_concurrent=3))


def test_a_job_does_not_begin_while_requests_need_the_places(path: Path) -> None:
    """One of two places is taken by a request, and the other one is left free for the next."""
    servable = Gated()

    async def use(one: httpx.AsyncClient, app: Application) -> None:
        live = asyncio.create_task(one.post("/predict", content=b"live"))
        assert await asyncio.to_thread(servable.entered.acquire, timeout=20)
        name = await made_job(one, content=b"job")
        await asyncio.sleep(0.2)
        assert (app.named(None).gate.n_inside, servable.seen) == (1, [b"live"])
        servable.opened.set()
        assert (await live).status_code == 200
        assert (await over(one, name))["status"] == "done"

    with_jobs(path, use, servable, limits=Limits(max_concurrent=2))


# --- expiry, restart, disks -----------------------------------------------------------------------------


def test_a_job_expires(path: Path) -> None:
    async def use(one: httpx.AsyncClient, _: Application) -> None:
        name = await made_job(one, content=b"abc")
        await over(one, name)
        for _turn in range(400):
            if (await one.get(f"/v1/jobs/{name}")).status_code == 404:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it never expired")

    with_jobs(path, use, limits=Limits(keep_jobs_s=0.2))


def test_jobs_outlive_the_server(path: Path) -> None:
    stuck, answering = Gated(), FakeServable()

    async def leave(one: httpx.AsyncClient, _: Application) -> list[str]:
        names = [await made_job(one, content=b"x" * n) for n in (1, 2, 3)]
        assert await asyncio.to_thread(stuck.entered.acquire, timeout=20)
        threading.Timer(0.3, stuck.opened.set).start()
        return names

    async def take_up(one: httpx.AsyncClient, _: Application) -> list[Any]:
        return [await over(one, name) for name in names]

    names = with_jobs(path, leave, stuck)
    jobs = with_jobs(path, take_up, answering)
    assert [job["result"]["predictions"][0]["n_bytes"] for job in jobs] == [1, 2, 3]
    assert sorted(answering.seen) == [b"x", b"xx", b"xxx"]


def test_a_server_that_ends_in_order_gives_up_no_job(path: Path) -> None:
    names: list[str] = []

    async def leave(one: httpx.AsyncClient, _: Application) -> None:
        if not names:
            names.append(await made_job(one, content=b"abc"))
        assert await asyncio.to_thread(stuck.entered.acquire, timeout=20)
        threading.Timer(0.1, stuck.opened.set).start()

    async def take_up(one: httpx.AsyncClient, _: Application) -> Any:
        return await over(one, names[0])

    for _ in range(4):
        stuck = Gated()
        with_jobs(path, leave, stuck)
    assert with_jobs(path, take_up)["status"] == "done"


def test_an_answer_waits_until_there_is_room_for_it(path: Path) -> None:
    left = [3]

    class Full(JobStore):
        def finish(self, name: str, ending: Ending, bounds: Bounds) -> bool:
            if left[0]:
                left[0] -= 1
                raise sqlite3.OperationalError("database or disk is full")
            return super().finish(name, ending, bounds)

    async def use(one: httpx.AsyncClient, _: Application) -> Any:
        return await over(one, await made_job(one, content=b"abc"))

    servable = FakeServable()
    job = with_jobs(path, use, servable, open_store=lambda path, now: Full(path, now=now))
    assert (job["status"], left, servable.seen) == ("done", [0], [b"abc"])


def test_a_job_of_a_model_that_is_gone_says_so(path: Path) -> None:
    stuck = Gated(name="other")

    async def leave(one: httpx.AsyncClient, _: Application) -> str:
        response = await one.post("/v1/models/other/jobs", content=b"x")
        threading.Timer(0.3, stuck.opened.set).start()
        return str(response.json()["id"])

    async def look(one: httpx.AsyncClient, _: Application) -> Any:
        return await over(one, name)

    name = with_jobs(path, leave, stuck)
    assert with_jobs(path, look)["error"]["code"] == "not_found"


def small(path: Path, now: Callable[[], float]) -> JobStore:
    """Open a store on what SQLite takes for a disk of 200 KiB."""

    def connect(name: str) -> sqlite3.Connection:
        found = sqlite3.connect(name, check_same_thread=False)
        found.execute("PRAGMA max_page_count=50")
        return found

    return JobStore(path, now=now, connect=connect)


def test_a_full_disk_is_told_and_nothing_is_lost(path: Path) -> None:
    async def use(one: httpx.AsyncClient, _: Application) -> None:
        names, refused = [], None
        for i in range(50):
            response = await one.post("/v1/models/chess/jobs", content=bytes([65 + i]) * 20_000)
            if response.status_code != 202:
                refused = response
                break
            names.append(response.json()["id"])
        assert refused is not None
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
        assert "cannot keep or read jobs" in refused.json()["error"]["message"]
        assert str(path) not in refused.text
        assert refused.headers["retry-after"] == "60"
        servable.opened.set()
        jobs = [await over(one, name) for name in names]
        assert len(jobs) >= 3
        assert {job["status"] for job in jobs} == {"done"}
        assert (await over(one, await made_job(one, content=b"again")))["status"] == "done"

    servable = Gated()
    with_jobs(path, use, servable, open_store=small)


# --- settings and description ---------------------------------------------------------------------------


def settings(**rest: Any) -> ServerSettings:
    return ServerSettings((ModelSettings(Path("a")),), **rest)


def test_settings_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    assert open_jobs(settings()) is None
    with pytest.raises(UsageError, match="this server takes none"):
        open_jobs(settings(allow_webhook=("a.example",)))
    with pytest.raises(UsageError, match="no webhook_secret"):
        open_jobs(settings(jobs=tmp_path / "a", allow_webhook=("a.example",)))
    (tmp_path / "secret").write_text("whsec_short")
    with pytest.raises(UsageError, match="holds no secret"):
        open_jobs(
            settings(jobs=tmp_path / "a", allow_webhook=("a.example",), webhook_secret=tmp_path / "secret")
        )


def test_each_kind_of_input_has_its_own_path_in_the_description(path: Path) -> None:
    async def main() -> Any:
        limits, jobs = Limits(), Jobs(path)
        hosted = [Hosted(FakeServable(), limits), Hosted(FakeServable("texts", TEXT), limits)]
        app = Application(hosted, limits, jobs=jobs)
        async with app.running(), client(app) as one:
            return (await one.get("/openapi.json")).json()

    described = asyncio.run(main())
    paths = {path for path in described["paths"] if "jobs" in path}
    assert paths == {"/v1/models/chess/jobs", "/v1/models/texts/jobs", "/v1/jobs", "/v1/jobs/{id}"}
    assert "image/png" in described["paths"]["/v1/models/chess/jobs"]["post"]["requestBody"]["content"]
