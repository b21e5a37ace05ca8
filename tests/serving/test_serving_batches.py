"""Batches over HTTP: paths only where the operator said, rows once also after a restart, behind live requests."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from fake_servable import TEXT, FakeServable, Gated, client
from topwork.errors import UsageError
from topwork.serving.app import Application
from topwork.serving.hosting import Hosted
from topwork.serving.jobs.batches import Batches
from topwork.serving.jobs.jobs import Jobs, Tempo
from topwork.serving.jobs.lanes import SLICE_S
from topwork.serving.jobs.opening import open_jobs
from topwork.serving.jobs.records import Wanted
from topwork.serving.jobs.store import JobStore
from topwork.serving.limits import Limits
from topwork.serving.settings.declared import ModelSettings, ServerSettings
from topwork.verbs.served_batches import run_served

T = TypeVar("T")
PATH = "/v1/models/chess/batches"


def with_batches(
    folder: Path,
    use: Callable[[httpx.AsyncClient], Awaitable[T]],
    servable: FakeServable | None = None,
    limits: Limits | None = None,
) -> T:
    """Run ``use`` with a client of an application that takes batches of files below ``in`` and ``out``."""

    async def main() -> T:
        batches = Batches([folder / "in", folder / "out"], run_served)
        jobs = Jobs(folder / "jobs.sqlite", batches=batches, tempo=Tempo(0.05, 0.05))
        bounds = limits or Limits()
        app = Application([Hosted(servable or FakeServable(wire=TEXT), bounds)], bounds, jobs=jobs)
        async with app.running(), client(app) as one:
            await app.proven()
            return await use(one)

    return asyncio.run(main())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("in", "out", "secret"):
        (tmp_path / name).mkdir()
    lines = [{"text": "bad" if i == 7 else f"text number {i} of some"} for i in range(100)]
    (tmp_path / "in" / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "secret" / "a.jsonl").write_text('{"text": "secret"}\n')
    return tmp_path


async def ended(one: httpx.AsyncClient, response: httpx.Response) -> Any:
    assert response.status_code == 202, response.text
    for _ in range(1000):
        job = (await one.get(response.headers["location"])).json()
        if job["status"] in ("done", "failed"):
            return job
        await asyncio.sleep(0.01)
    raise AssertionError(job)


def test_a_file_is_answered_into_another(folder: Path) -> None:
    async def use(one: httpx.AsyncClient) -> Any:
        order = {"input": "a.jsonl", "output": str(folder / "out" / "b.jsonl")}
        return await ended(one, await one.post(PATH, json=order))

    job = with_batches(folder, use)
    assert (job["status"], job["error"]) == ("done", None)
    assert (job["n_inputs"], job["n_done"], job["n_failed"]) == (100, 100, 1)
    assert job["result"] == {
        "output": "out/b.jsonl",
        "failed": "out/b.failed.jsonl",
        "n_rows": 100,
        "n_failed": 1,
    }
    rows = [json.loads(line) for line in (folder / "out" / "b.jsonl").read_text().splitlines()]
    assert [row["row"] for row in rows] == [n for n in range(1, 101) if n != 8]
    assert rows[0]["answer"]["n_bytes"] == len("text number 0 of some")


@pytest.mark.skipif(os.name != "posix", reason="links need a right on Windows")
@pytest.mark.parametrize(
    ("given", "out", "status"),
    [
        ("../secret/a.jsonl", "x.csv", 403),
        ("{}/secret/a.jsonl", "x.csv", 403),
        ("/etc/passwd", "x.csv", 403),
        ("link.jsonl", "x.csv", 403),
        ("linked/a.jsonl", "x.csv", 403),
        ("loop", "x.csv", 403),
        ("a\0.jsonl", "x.csv", 403),
        ("a.jsonl", "{}/secret/x.csv", 403),
        ("a.jsonl", "../secret/x.csv", 403),
        ("a.jsonl", "linked/x.csv", 403),
        ("a.jsonl", "none/x.csv", 403),
        ("a.jsonl", "x.txt", 403),
        ("gone.jsonl", "x.csv", 404),
        ("a.jsonl", "a.jsonl", 409),
        ("x" * 5000, "x.csv", 404),
    ],
)
def test_paths_elsewhere_are_refused(folder: Path, given: str, out: str, status: int) -> None:
    (folder / "in" / "link.jsonl").symlink_to(folder / "secret" / "a.jsonl")
    (folder / "in" / "linked").symlink_to(folder / "secret")
    (folder / "in" / "loop").symlink_to(folder / "in" / "loop")
    order = {"input": given.format(folder), "output": out.format(folder)}
    before = sorted(folder.rglob("*"))

    async def use(one: httpx.AsyncClient) -> int:
        return (await one.post(PATH, json=order)).status_code

    assert with_batches(folder, use) == status
    after = [path for path in sorted(folder.rglob("*")) if not path.name.startswith("jobs.sqlite")]
    assert after == before


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400),
        ({"content": b"{}", "headers": {"content-type": "text/plain"}}, 415),
        ({"json": {"input": "a.jsonl"}}, 422),
        ({"json": {"input": "a.jsonl", "output": 3}}, 422),
        ({"json": {"input": "", "output": "x.csv"}}, 422),
        ({"json": {"input": "a.jsonl", "output": "x.csv", "more": "x"}}, 422),
        ({"json": ["a.jsonl"]}, 422),
        ({"json": {"input": "a" * 20_000, "output": "x.csv"}}, 413),
    ],
)
def test_what_is_no_order_is_refused(folder: Path, body: dict[str, Any], status: int) -> None:
    async def use(one: httpx.AsyncClient) -> int:
        return (await one.post(PATH, **body)).status_code

    assert with_batches(folder, use) == status


def test_files_that_a_table_names_lie_there_too(folder: Path) -> None:
    (folder / "in" / "x.jpg").write_bytes(b"XXX")
    (folder / "secret" / "y.jpg").write_bytes(b"YYY")
    names = ["x.jpg", "../secret/y.jpg", "/etc/passwd", "x.jpg"]
    (folder / "in" / "photos.txt").write_text("\n".join(names))
    servable = FakeServable()

    async def use(one: httpx.AsyncClient) -> Any:
        return await ended(one, await one.post(PATH, json={"input": "photos.txt", "output": "x.jsonl"}))

    job = with_batches(folder, use, servable)
    assert (job["result"]["n_rows"], job["result"]["n_failed"]) == (4, 2)
    assert servable.seen == [b"XXX", b"XXX"]
    assert "does not lie below" in (folder / "in" / "x.failed.jsonl").read_text()


def test_what_cannot_be_read_fails_the_job(folder: Path) -> None:
    (folder / "in" / "b.csv").write_text("x,y\n1,2\n")

    async def use(one: httpx.AsyncClient) -> Any:
        return await ended(one, await one.post(PATH, json={"input": "b.csv", "output": "x.csv"}))

    job = with_batches(folder, use)
    assert (job["status"], job["error"]["code"]) == ("failed", "bad_input")
    assert "not clear which column" in job["error"]["message"]


def test_rows_on_which_the_model_fails_are_put_aside(folder: Path) -> None:
    texts = ["boom" if i in (2, 50, 51) else f"text number {i}" for i in range(60)]
    (folder / "in" / "b.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))

    async def use(one: httpx.AsyncClient) -> Any:
        return await ended(one, await one.post(PATH, json={"input": "b.jsonl", "output": "x.jsonl"}))

    job = with_batches(folder, use)
    assert (job["status"], job["n_done"], job["n_failed"]) == ("done", 60, 3)
    failed = [json.loads(line) for line in (folder / "in" / "x.failed.jsonl").read_text().splitlines()]
    assert [one["row"] for one in failed] == [3, 51, 52]
    assert all("The model failed on this input." in json.dumps(one) for one in failed)
    assert "secret" not in json.dumps(failed)


def test_a_batch_ends_where_the_model_fails_on_everything(folder: Path) -> None:
    (folder / "in" / "b.jsonl").write_text('{"text": "good"}\n' * 16 + '{"text": "boom"}\n' * 100)
    servable = FakeServable(wire=TEXT)

    async def use(one: httpx.AsyncClient) -> Any:
        return await ended(one, await one.post(PATH, json={"input": "b.jsonl", "output": "x.jsonl"}))

    job = with_batches(folder, use, servable)
    assert (job["status"], job["error"]["code"]) == ("failed", "internal")
    assert not (folder / "in" / "x.jsonl").exists()
    assert servable.seen.count(b"boom") < 100


def test_a_batch_outlives_the_server_and_answers_no_row_twice(folder: Path) -> None:
    order = {"input": "a.jsonl", "output": "x.jsonl"}
    slow, fast = FakeServable(wire=TEXT, delay_s=0.02), FakeServable(wire=TEXT)

    async def leave(one: httpx.AsyncClient) -> str:
        response = await one.post(PATH, json=order)
        while len(slow.seen) < 40:
            await asyncio.sleep(0.01)
        return str(response.headers["location"])

    async def take_up(one: httpx.AsyncClient) -> Any:
        for _ in range(1000):
            if (job := (await one.get(location)).json())["status"] == "done":
                return job
            await asyncio.sleep(0.01)
        raise AssertionError(job)

    location = with_batches(folder, leave, slow)
    assert (folder / "in" / "x.jsonl.journal").exists()
    job = with_batches(folder, take_up, fast)
    assert (job["result"]["n_rows"], job["result"]["n_failed"]) == (100, 1)
    rows = [json.loads(line)["row"] for line in (folder / "in" / "x.jsonl").read_text().splitlines()]
    assert rows == [n for n in range(1, 101) if n != 8]
    assert len(fast.seen) < 100, "what was kept is not asked again"


def test_a_batch_that_is_deleted_stops(folder: Path) -> None:
    servable = Gated(wire=TEXT)

    async def use(one: httpx.AsyncClient) -> None:
        response = await one.post(PATH, json={"input": "a.jsonl", "output": "x.jsonl"})
        assert await asyncio.to_thread(servable.entered.acquire, timeout=20)
        assert (await one.delete(response.headers["location"])).json()["status"] == "cancelled"
        servable.opened.set()
        again = await ended(one, await one.post(PATH, json={"input": "a.jsonl", "output": "x.jsonl"}))
        assert again["status"] == "done"

    with_batches(folder, use, servable)


# --- how far, how many at once, where ---------------------------------------------------------------------


def test_a_batch_says_how_far_it_is_also_after_a_restart(folder: Path) -> None:
    order = {"input": "a.jsonl", "output": "x.jsonl"}
    slow, held = FakeServable(wire=TEXT, delay_s=0.03), Gated(wire=TEXT)

    async def leave(one: httpx.AsyncClient) -> tuple[str, Any]:
        location = (await one.post(PATH, json=order)).headers["location"]
        while not (job := (await one.get(location)).json())["n_failed"]:
            assert job["status"] in ("queued", "running"), job
            await asyncio.sleep(0.01)
        return location, job

    location, job = with_batches(folder, leave, slow)
    assert (job["status"], job["n_inputs"]) == ("running", 100)
    assert 8 <= job["n_done"] < 100, "the eighth is the one that failed"
    assert 0 < job["per_second"] <= 1 / 0.03
    assert job["seconds_left"] == pytest.approx((100 - job["n_done"]) / job["per_second"])
    with closing(JobStore(folder / "jobs.sqlite")) as store:
        [kept] = store.page(Wanted(None)).jobs
    assert kept.status == "queued"
    assert kept.progress.n_inputs == 100
    assert job["n_done"] <= kept.progress.n_done < 100, "before it is begun again as well"

    async def look(one: httpx.AsyncClient) -> Any:
        assert await asyncio.to_thread(held.entered.acquire, timeout=20)
        found = (await one.get(location)).json()
        held.opened.set()
        done = await ended(one, httpx.Response(202, headers={"location": location}))
        assert (done["n_inputs"], done["n_done"], done["n_failed"]) == (100, 100, 1)
        return found

    after = with_batches(folder, look, held)
    assert (after["status"], after["n_inputs"], after["n_failed"]) == ("running", 100, 1)
    assert job["n_done"] <= after["n_done"] < 100, "what was kept when it ended"


def test_slices_run_in_parallel_and_leave_a_place(folder: Path) -> None:
    servable = Gated(wire=TEXT)

    async def use(one: httpx.AsyncClient) -> None:
        response = await one.post(PATH, json={"input": "a.jsonl", "output": "x.jsonl"})
        for _ in range(3):
            assert await asyncio.to_thread(servable.entered.acquire, timeout=20)
        await asyncio.sleep(0.1)
        assert not servable.entered.acquire(blocking=False), "of four places one is kept for requests"
        live = asyncio.create_task(one.post("/predict", json={"input": "live"}))
        assert await asyncio.to_thread(servable.entered.acquire, timeout=20)
        servable.opened.set()
        assert (await live).status_code == 200
        assert (await ended(one, response))["status"] == "done"

    with_batches(folder, use, servable, limits=Limits(max_concurrent=4))
    rows = [json.loads(line)["row"] for line in (folder / "in" / "x.jsonl").read_text().splitlines()]
    assert rows == [n for n in range(1, 101) if n != 8], "in their order all the same"


def test_a_batch_does_not_hold_up_jobs(folder: Path) -> None:
    (folder / "in" / "long.jsonl").write_text('{"text": "one of many"}\n' * 5000)
    servable = FakeServable(wire=TEXT, delay_s=0.002)

    async def use(one: httpx.AsyncClient) -> None:
        batch = await one.post(PATH, json={"input": "long.jsonl", "output": "x.jsonl"})
        while len(servable.seen) < 30:
            await asyncio.sleep(0.001)
        job = await ended(one, await one.post("/v1/models/chess/jobs", json={"inputs": ["a", "b"]}))
        assert job["status"] == "done"
        assert (await one.get(batch.headers["location"])).json()["status"] == "running"

    with_batches(folder, use, servable, limits=Limits(max_concurrent=1))


@pytest.mark.parametrize(("n_places", "delay_s", "n_requests"), [(2, 0.005, 100), (1, 0.02, 40)])
def test_requests_are_answered_as_fast_beside_a_batch(
    folder: Path, n_places: int, delay_s: float, n_requests: int
) -> None:
    """Of two places a batch takes one at most, and none while a request is at work; one place it leaves soon."""
    (folder / "in" / "long.jsonl").write_text('{"text": "one of many"}\n' * 20_000)
    servable = FakeServable(wire=TEXT, delay_s=delay_s)

    async def use(one: httpx.AsyncClient) -> None:
        idle_s = await times(one, n_requests)
        await one.post(PATH, json={"input": "long.jsonl", "output": "x.jsonl"})
        while len(servable.seen) < n_requests + 50:
            await asyncio.sleep(0.001)
        n_before = len(servable.seen)
        beside_s = await times(one, n_requests)
        assert len(servable.seen) - n_before > n_requests + 10, "the batch went on meanwhile"
        assert percentile(beside_s, 0.99) < percentile(idle_s, 0.99) + 2 * SLICE_S, (idle_s, beside_s)
        if n_places > 1:
            assert percentile(beside_s, 0.5) < percentile(idle_s, 0.5) + SLICE_S / 4, (idle_s, beside_s)

    with_batches(folder, use, servable, limits=Limits(max_concurrent=n_places))


async def times(one: httpx.AsyncClient, n_requests: int) -> list[float]:
    """Ask one by one with short pauses, and return how long each answer took."""
    found = []
    for _ in range(n_requests):
        began_s = time.perf_counter()
        response = await one.post("/predict", json={"input": "live"})
        found.append(time.perf_counter() - began_s)
        assert response.status_code == 200
        await asyncio.sleep(0.003)
    return sorted(found)


def percentile(values: list[float], share: float) -> float:
    return values[int(share * (len(values) - 1))]


def test_errors_do_not_tell_where_the_folders_lie(folder: Path) -> None:
    (folder / "in" / "empty").mkdir()
    (folder / "in" / "b.csv").write_text("x,y\n1,2\n")

    async def use(one: httpx.AsyncClient) -> None:
        for name in ("empty", "b.csv"):
            response = await one.post(PATH, json={"input": name, "output": str(folder / "out" / "x.csv")})
            job = await ended(one, response)
            assert job["status"] == "failed"
            assert name in job["error"]["message"]
            assert str(folder) not in json.dumps(job)

    with_batches(folder, use)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{}/in/a.csv is there", "a.csv is there"),
        ("In {}/in.", "In .."),
        ("{}/out/b/c.csv", "out/b/c.csv"),
        ("{}/in/below/d.csv", "below/d.csv"),
        ("{}/inside/e.csv", "{}/inside/e.csv"),
        ("/other{}/in/f.csv", "/other{}/in/f.csv"),
    ],
)
def test_paths_are_shown_from_their_folder_on(tmp_path: Path, text: str, shown: str) -> None:
    found = Batches([tmp_path / "in", tmp_path / "out"], run_served).shown(text.format(tmp_path))
    assert found == shown.format(tmp_path)


def test_settings_of_batches(tmp_path: Path) -> None:
    models = (ModelSettings(Path("a")),)
    with pytest.raises(UsageError, match="batches_below is for jobs"):
        open_jobs(ServerSettings(models, batches_below=(tmp_path,)), run_served)
    with pytest.raises(UsageError, match="is no folder"):
        open_jobs(
            ServerSettings(models, jobs=tmp_path / "jobs", batches_below=(tmp_path / "none",)), run_served
        )
