"""Batches in worker processes: they form across requests, and nobody pays for another who shares one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from fake_servable import LABELS, client
from topwork.contracts import Answer
from topwork.serving.app import Application
from topwork.serving.batching.errands import Errand, Late
from topwork.serving.hosting import Hosted
from topwork.serving.http.refusals import Refusal
from topwork.serving.limits import Limits
from topwork.serving.replicas.autoscaling import Policy
from topwork.serving.replicas.manned import Replicas
from unruly import QUICK, REFERENCE, eventually, recipe, staffed

BATCHES = {"batches": True, "n_at_once": 1, "max_batch": 4}


@contextmanager
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as threads:
        yield threads


def ask(model: Replicas, *inputs: bytes) -> list[Any]:
    return [one.value["label"] if one.value else one.problem for one in model.submit(inputs)]


def occupied(threads: ThreadPoolExecutor, model: Replicas, seconds: float = 1.0) -> Future[list[Any]]:
    """Have the only engine busy for so long."""
    busy = threads.submit(ask, model, b"sleep:%f" % seconds)
    time.sleep(seconds / 3)
    return busy


@pytest.fixture(scope="module")
def one() -> Iterator[Replicas]:
    """A process with one engine, whose batches have at most four inputs."""
    with staffed(BATCHES) as model:
        yield model


def test_what_is_asked_while_the_engine_is_busy_is_computed_together(one: Replicas) -> None:
    assert one.n_at_once == 8
    with pool() as threads:
        occupied(threads, one)
        found = [threads.submit(ask, one, b"size") for _ in range(5)]
        assert sorted(each.result() for each in found) == [["1"], ["4"], ["4"], ["4"], ["4"]]


def test_the_batches_of_processes_are_counted(one: Replicas) -> None:
    def largest() -> int:
        assert one.gathered is not None
        return max(one.gathered.sizes, default=0)

    with pool() as threads:
        occupied(threads, one)
        for _ in range(3):
            threads.submit(ask, one, b"size")
    eventually(lambda: largest() >= 3)
    assert one.gathered is not None
    assert (one.gathered.largest, one.gathered.n_at_once) == (4, 4)


def test_who_breaks_a_batch_fails_alone(one: Replicas) -> None:
    with pool() as threads:
        occupied(threads, one)
        good = [threads.submit(ask, one, b"22") for _ in range(2)]
        bad = threads.submit(ask, one, b"boom")
        assert [each.result() for each in good] == [[LABELS[2]]] * 2
        with pytest.raises(Exception, match="secret detail of the server"):
            bad.result()
        occupied(threads, one)
        mixed = threads.submit(ask, one, b"boom", b"1", b"bad").result()
    assert [each.partition("\n")[0] for each in mixed] == [
        LABELS[1],
        "It is no photo: it begins with 'bad'.",
        "The model failed on this input.",
    ]


def test_who_has_left_is_never_computed_for(one: Replicas, tmp_path: Path) -> None:
    errands = [Errand() for _ in range(3)]
    with pool() as threads:

        def run(errand: Errand, name: str) -> list[Any]:
            with errand.here():
                return ask(one, b"touch:%s" % bytes(tmp_path / name))

        occupied(threads, one)
        found = [threads.submit(run, errand, str(n)) for n, errand in enumerate(errands)]
        time.sleep(0.2)
        left_s = time.monotonic()
        errands[1].leave()
        with pytest.raises(Late):
            found[1].result()
        assert time.monotonic() - left_s < 0.3, "it waits neither for its turn nor for the others"
        assert [found[n].result()[0] in LABELS for n in (0, 2)] == [True, True]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "2"]


def test_a_batch_that_dies_is_asked_once_more(tmp_path: Path) -> None:
    with staffed(BATCHES, max_replicas=2, init_replicas=1) as model, pool() as threads:
        [pid] = model.pids
        occupied(threads, model)
        # The answer before is out when the process dies, so that none but this batch is lost.
        first = threads.submit(ask, model, b"sleep:0.3")
        time.sleep(0.1)
        deadly = threads.submit(ask, model, b"once:%s" % bytes(tmp_path / "a"))
        others = [threads.submit(ask, model, b"333") for _ in range(2)]
        assert first.result()[0] in LABELS
        assert deadly.result()[0] in LABELS
        assert [each.result() for each in others] == [[LABELS[3]]] * 2
        eventually(lambda: model.headcount.ended.get("died") == 1)
        # All of the batch, and each of them once.
        assert (model.headcount.retried, model.headcount.given_up) == (4, 0)
        assert pid not in model.pids


def test_a_batch_that_dies_twice_is_given_up() -> None:
    with staffed(BATCHES) as model:
        with pytest.raises(Refusal, match="2 processes that worked on it ended"):
            ask(model, b"die", b"1")
        assert (model.headcount.retried, model.headcount.given_up) == (1, 1)
        eventually(lambda: model.pids)
        assert ask(model, b"1") == [LABELS[1]]


def test_who_stands_in_line_in_a_process_does_not_hang() -> None:
    """Each question is answered within the deadline and what is added to it, but not all of them together."""
    with staffed({**BATCHES, "max_batch": 1}, deadline_s=0.5, max_concurrency=8) as model, pool() as threads:
        pids = model.pids
        found = [threads.submit(ask, model, b"sleep:0.4") for _ in range(6)]
        assert all(each.result()[0] in LABELS for each in found)
        assert (model.pids, model.headcount.ended) == (pids, {})


def test_who_is_worked_on_for_too_long_does() -> None:
    with staffed(BATCHES, deadline_s=0.5) as model:
        with pytest.raises(Refusal, match="the process that worked on it ended"):
            ask(model, b"sleep:60")
        eventually(lambda: model.headcount.ended.get("overdue") == 1)


def test_the_operator_says_how_many_are_at_a_process() -> None:
    with staffed(BATCHES, max_concurrency=3) as model:
        assert model.n_at_once == 3


def test_explanations_share_nothing_and_streams_come_in_pieces() -> None:
    with staffed({**BATCHES, "texts": True}) as model:
        assert len(list(model.explain([b"two words"]))) == 1
        assert [each.last for each in model.submit([b"many:300"])] == [False] * 300 + [True]


def test_what_is_measured_at_the_proof_makes_room() -> None:
    """A sleep takes as long for one as for many, so that a larger batch is always worth it."""
    with staffed({"batches": True, "n_at_once": 1, "sample_s": 0.01}) as model:
        assert model.gathered is None or model.gathered.largest >= 1
        eventually(lambda: model.gathered)
        assert model.gathered is not None
        assert model.n_at_once == 2 * model.gathered.largest > 8


# --- behind a server ------------------------------------------------------------------------------------


async def metrics(http: httpx.AsyncClient) -> str:
    return (await http.get("/metrics")).text


def test_requests_to_a_server_share_batches_and_are_watched() -> None:
    async def main() -> None:
        model = await asyncio.to_thread(Replicas, recipe(**BATCHES), Policy(max_replicas=1), vigilance=QUICK)
        app = Application([Hosted(model, Limits(drift_window=50), model.n_at_once)], Limits())
        async with app.running(), client(app) as http:
            await app.proven()
            busy = asyncio.create_task(http.post("/predict", content=b"sleep:0.8"))
            await asyncio.sleep(0.3)
            found = await asyncio.gather(*(http.post("/predict", content=b"size") for _ in range(4)))
            assert [each.json()["predictions"][0]["label"] for each in found] == ["4"] * 4
            await busy
            hosted = app.named(None)
            assert hosted.watch.current.traits == [(0.5, 0.25)] * 4

            async with asyncio.timeout(20):
                while 'topwork_batch_size_count{model="chess"} 2.0' not in (told := await metrics(http)):
                    await asyncio.sleep(0.05)
            assert 'topwork_batch_limit{model="chess"} 4.0' in told
            assert 'topwork_batch_size_bucket{le="2.0",model="chess"} 1.0' in told
            assert 'topwork_batch_size_bucket{le="4.0",model="chess"} 2.0' in told
            assert 'topwork_batch_size_sum{model="chess"} 5.0' in told

    asyncio.run(main())


def test_a_client_that_left_is_not_computed_for_in_a_process(tmp_path: Path) -> None:
    async def late(http: httpx.AsyncClient) -> httpx.Response:
        content = b"touch:%s" % bytes(tmp_path / "late")
        return await http.post("/predict", content=content, headers={"x-timeout-ms": "200"})

    async def main() -> None:
        model = await asyncio.to_thread(Replicas, recipe(**BATCHES), Policy(max_replicas=1), vigilance=QUICK)
        app = Application([Hosted(model, Limits(), model.n_at_once)], Limits())
        async with app.running(), client(app) as http:
            await app.proven()
            busy = asyncio.create_task(http.post("/predict", content=b"sleep:1"))
            await asyncio.sleep(0.3)
            assert (await late(http)).status_code == 503
            assert (await busy).status_code == 200
            assert (await http.post("/predict", content=b"1")).status_code == 200
            assert app.named(None).gate.n_inside == 0

    asyncio.run(main())
    assert list(tmp_path.iterdir()) == []


def test_what_a_model_knows_of_its_fit_comes_through(one: Replicas) -> None:
    found = one.reference
    assert found is not None
    assert (found.n_rows, found.out_of_domain) == (REFERENCE.n_rows, REFERENCE.out_of_domain)
    assert found.traits.tolist() == REFERENCE.traits.tolist()
    was, now = REFERENCE.profiles[""], found.profiles[""]
    assert (now.n, now.counts) == (was.n, was.counts)
    assert now.spreads["n_bytes"].tolist() == was.spreads["n_bytes"].tolist()


def test_an_answer_keeps_its_traits(one: Replicas) -> None:
    assert list(one.submit([b"size"])) == [Answer(0, {"label": "1"}, traits=(0.5, 0.25))]


def test_leaving_is_told_once_and_to_whoever_comes_later() -> None:
    errand, told = Errand(), threading.Event()
    with errand.waits(told.set, lambda: True):
        assert errand.is_in_line
        errand.leave()
        assert told.is_set()
    assert not errand.is_in_line
    with pytest.raises(Late), errand.waits(told.clear, lambda: True):
        raise AssertionError("nobody waits for it")
