"""Worker processes that die, hang, talk nonsense, do not start; how many there are; and that none is left behind."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from fake_servable import LABELS, client
from topwork.contracts import Servable
from topwork.errors import BundleError, ProofError, TopworkError
from topwork.serving.app import Application
from topwork.serving.batching.gate import Load
from topwork.serving.hosting import Hosted
from topwork.serving.http.refusals import Refusal
from topwork.serving.limits import Limits
from topwork.serving.replicas.autoscaling import Policy
from topwork.serving.replicas.fleet import Fleet
from topwork.serving.replicas.frames import Fault
from topwork.serving.replicas.manned import Replicas
from topwork.serving.replicas.staffing import Post, Staffed
from topwork.serving.settings.declared import ModelSettings, ServerSettings
from topwork.serving.succession import Succession
from topwork.serving.watching.logs import written
from topwork.serving.watching.tracing import CURRENT, Trace
from unruly import QUICK, eventually, recipe, staffed


def said(model: Servable, *inputs: bytes) -> list[Any]:
    return [one.value["label"] if one.value else one.problem for one in model.submit(inputs)]


def is_running(pid: int) -> bool:
    """Tell whether there is such a process; one that nobody has taken note of the end of is none."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.fixture(scope="module")
def pair() -> Iterator[Replicas]:
    """Two processes, which the tests of this file kill; others come in their place."""
    with staffed(max_replicas=2, min_replicas=2) as model:
        yield model


@pytest.fixture
def two(pair: Replicas) -> Replicas:
    eventually(lambda: len(pair.pids) == 2)
    return pair


def test_it_is_staffed(two: Replicas) -> None:
    assert isinstance(two, Staffed)
    assert two.n_at_once == 4
    assert two.headcount.states == {"starting": 0, "ready": 2, "leaving": 0}
    assert two.headcount.wanted == 2


def test_it_answers_in_other_processes_and_each_gets_its_share(two: Replicas) -> None:
    started = threading.Barrier(4)
    found: list[Any] = []

    def ask() -> None:
        started.wait()
        answers = two.submit([b"sleep:0.4", b"pid"])
        found.append([one.value["label"] for one in answers if one.value][1])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted([str(pid) for pid in two.pids] * 2)
    assert str(os.getpid()) not in found


# --- death ----------------------------------------------------------------------------------------------


def test_a_killed_process_costs_its_request_nothing(two: Replicas, tmp_path: Path) -> None:
    before, pids = two.headcount, two.pids
    assert said(two, b"1", b"once:%s" % bytes(tmp_path / "a"), b"333")[::2] == [LABELS[1], LABELS[3]]
    eventually(lambda: len(two.pids) == 2)
    after = two.headcount
    assert (after.retried - before.retried, after.given_up - before.given_up) == (1, 0)
    assert after.ended["died"] - before.ended.get("died", 0) == 1
    assert len(set(pids) & set(two.pids)) == 1
    assert not any(is_running(pid) for pid in set(pids) - set(two.pids))


def test_what_was_answered_is_not_asked_again(two: Replicas, tmp_path: Path) -> None:
    first, *_ = said(two, b"pid", b"once:%s" % bytes(tmp_path / "a"))
    eventually(lambda: len(two.pids) == 2)
    assert int(first) not in two.pids, "its answer is that of the process that died"


def test_a_request_that_ends_two_processes_is_given_up(two: Replicas) -> None:
    before = two.headcount
    with pytest.raises(Refusal) as caught:
        said(two, b"1", b"die")
    assert (caught.value.status, caught.value.code) == (503, "unavailable")
    assert "2 processes that worked on it ended" in caught.value.problem
    assert caught.value.headers["retry-after"]
    eventually(lambda: len(two.pids) == 2)
    after = two.headcount
    assert (after.retried - before.retried, after.given_up - before.given_up) == (1, 1)
    assert said(two, b"1") == [LABELS[1]]


def test_a_stream_that_has_begun_is_not_begun_again(two: Replicas) -> None:
    answers = two.submit([b"begin-and-die"])
    assert next(answers).last is False
    with pytest.raises(Refusal, match="the process that worked on it ended") as caught:
        next(answers)
    assert caught.value.code == "unavailable"


def test_an_exit_of_the_models_own_is_a_death(two: Replicas, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Refusal):
        said(two, b"exit:7")
    eventually(lambda: len(two.pids) == 2)
    assert "ended with status 7" in caplog.text


def test_what_a_process_logs_is_a_line_of_the_server_that_names_the_request(two: Replicas) -> None:
    lines = io.StringIO()
    ask, trace = contextvars.copy_context(), Trace("mine", "a" * 32, "b" * 16)
    ask.run(CURRENT.set, trace)
    with written("json", lines):
        ask.run(said, two, b"log:hello")
        eventually(lambda: "hello" in lines.getvalue())
        said(two, b"log:again")
        eventually(lambda: "again" in lines.getvalue())
    first, second = (json.loads(line) for line in lines.getvalue().splitlines() if "unruly" in line)
    assert (first["message"], first["level"], first["logger"]) == ("hello", "warning", "topwork.unruly")
    assert (first["request_id"], first["trace_id"]) == ("mine", "a" * 32)
    assert first["process"] in two.pids
    assert first["traceback"].endswith("ValueError: inside")
    assert "request_id" not in second


def test_nonsense_costs_a_process_its_place(two: Replicas, caplog: pytest.LogCaptureFixture) -> None:
    before = two.headcount
    with pytest.raises(Refusal) as caught:
        said(two, b"garble")
    assert "nonsense" not in str(caught.value)
    eventually(lambda: len(two.pids) == 2)
    assert two.headcount.ended["garbled"] - before.ended.get("garbled", 0) == 2
    assert "it sent what no worker process sends" in caplog.text


# --- hanging --------------------------------------------------------------------------------------------


def test_a_process_that_hangs_is_replaced_and_its_request_asked_again(two: Replicas, tmp_path: Path) -> None:
    began = time.monotonic()
    assert said(two, b"hang-once:%s" % bytes(tmp_path / "a"))[0] in LABELS
    assert time.monotonic() - began >= QUICK.silent_s / 2
    eventually(lambda: two.headcount.ended.get("silent", 0) >= 1)


def test_one_that_computes_for_long_does_not_hang(two: Replicas) -> None:
    before, pids = two.headcount, two.pids
    assert said(two, b"spin:%f" % (QUICK.silent_s + 1))[0] in LABELS
    assert (two.headcount.ended, set(two.pids)) == (before.ended, set(pids))


def test_one_that_works_on_beyond_a_deadline_is_replaced() -> None:
    with staffed(deadline_s=0.5) as model:
        began = time.monotonic()
        # Nobody waits for it any more, so no other process is spent on it.
        with pytest.raises(Refusal, match="the process that worked on it ended"):
            said(model, b"sleep:60")
        assert time.monotonic() - began < 30
        eventually(lambda: model.headcount.ended.get("overdue") == 1)
        assert model.headcount.retried == 0


def test_one_whose_answer_comes_piece_by_piece_is_left_alone() -> None:
    with staffed(deadline_s=0.5) as model:
        assert len(said(model, b"drip:12")) == 13, "it works for 2.4 s, which is beyond any deadline of 0.8"
        assert not model.headcount.ended


# --- the start ------------------------------------------------------------------------------------------


def test_what_cannot_be_opened_says_what_it_would_say_here() -> None:
    with pytest.raises(BundleError) as caught:
        Replicas(recipe(refuse="It is damaged."), Policy(max_replicas=2), vigilance=QUICK)
    assert str(caught.value) == "It is damaged.\nFit it again."


def test_a_bug_at_the_start_is_told_with_where_it_arose() -> None:
    with pytest.raises(Fault, match="secret detail of the start") as caught:
        Replicas(recipe(bug=True), Policy(max_replicas=2), vigilance=QUICK)
    assert "unruly.py" in str(caught.value)


def test_a_crash_at_every_start_is_told_after_three(tmp_path: Path) -> None:
    with pytest.raises(TopworkError, match=r"cannot be started in a worker process: .* status 3"):
        Replicas(recipe(crash_while=str(tmp_path)), Policy(max_replicas=2), vigilance=QUICK)


def test_a_proof_that_fails_is_the_models_failure() -> None:
    model = Replicas(recipe(unproven=True), Policy(max_replicas=2), vigilance=QUICK)
    assert model.name == "chess"
    with pytest.raises(ProofError, match="Output 3 differs"):
        model.prove()


def test_where_none_can_be_started_any_more_it_says_so_and_goes_on_trying(tmp_path: Path) -> None:
    broken = tmp_path / "broken"

    async def main() -> None:
        model = await asyncio.to_thread(
            Replicas, recipe(crash_while=str(broken)), Policy(max_replicas=1), vigilance=QUICK
        )
        app = Application([Hosted(model, Limits(), model.n_at_once)], Limits())
        async with app.running(), client(app) as one:
            await app.proven()
            assert (await one.get("/readyz")).status_code == 200
            broken.touch()
            os.kill(model.pids[0], signal.SIGKILL)
            await asyncio.to_thread(eventually, lambda: model.trouble)
            unready = await one.get("/readyz")
            assert (unready.status_code, unready.json()["error"]["code"]) == (503, "not_ready")
            assert "its process ended with status 3" in unready.json()["error"]["message"]
            assert (await one.post("/predict", content=b"x")).status_code == 503
            assert (await one.get("/v1/models")).json()["models"][0]["state"] == "failed"
            broken.unlink()
            await asyncio.to_thread(eventually, lambda: model.pids)
            assert (await one.get("/readyz")).status_code == 200
            assert (await one.post("/predict", content=b"x")).status_code == 200

    asyncio.run(main())


def test_another_file_under_the_same_name_is_not_another_answer(tmp_path: Path) -> None:
    name = tmp_path / "name"
    name.write_text("old", encoding="utf-8")
    with staffed({"name_file": str(name)}, max_replicas=2, min_replicas=2) as model:
        eventually(lambda: len(model.pids) == 2)
        name.write_text("new", encoding="utf-8")
        os.kill(model.pids[0], signal.SIGKILL)
        eventually(lambda: model.headcount.ended.get("start", 0) >= 2)
        assert model.name == "old"
        assert said(model, b"1") == [LABELS[1]]
        assert model.trouble is None
        name.write_text("old", encoding="utf-8")
        eventually(lambda: len(model.pids) == 2)


# --- how many there are ---------------------------------------------------------------------------------


async def asked(one: httpx.AsyncClient, content: bytes, **headers: str) -> httpx.Response:
    return await one.post("/predict", content=content, headers=headers)


def test_a_model_that_sleeps_is_ready_and_woken_by_a_request() -> None:
    policy = Policy(
        min_replicas=0,
        max_replicas=2,
        window_s=0.3,
        downscale_stabilization_period_s=0.3,
        upscale_stabilization_period_s=0.3,
    )

    async def main() -> None:
        model = await asyncio.to_thread(Replicas, recipe(), policy, vigilance=QUICK)
        app = Application([Hosted(model, Limits(), model.n_at_once)], Limits())
        async with app.running(), client(app) as one:
            await app.proven()
            for _ in range(2):
                await asyncio.to_thread(
                    eventually,
                    lambda: not model.headcount.wanted and not any(model.headcount.states.values()),
                )
                assert (await one.get("/readyz")).status_code == 200
                answers = await asyncio.gather(*(asked(one, b"x" * n) for n in range(1, 4)))
                assert [one.status_code for one in answers] == [200] * 3
            assert model.headcount.ended == {}

    asyncio.run(main())


def test_who_wakes_it_waits_within_the_deadline() -> None:
    policy = Policy(
        min_replicas=0, max_replicas=1, window_s=0.3, downscale_stabilization_period_s=0.3, max_queue_length=0
    )

    async def main() -> None:
        model = await asyncio.to_thread(Replicas, recipe(start_s=1.0), policy, vigilance=QUICK)
        app = Application([Hosted(model, Limits(), model.n_at_once)], Limits())
        async with app.running(), client(app) as one:
            await app.proven()
            await asyncio.to_thread(
                eventually, lambda: not model.headcount.wanted and not any(model.headcount.states.values())
            )
            # No line, so it is turned away, and wakes the model all the same.
            assert (await asked(one, b"x")).status_code == 429
            await asyncio.to_thread(eventually, lambda: model.pids)
            assert (await asked(one, b"x")).status_code == 200

    asyncio.run(main())


def test_load_brings_processes_and_their_end_takes_them_away() -> None:
    policy = Policy(
        max_replicas=3,
        max_concurrency=1,
        window_s=0.5,
        upscale_stabilization_period_s=0.3,
        downscale_stabilization_period_s=1.0,
    )
    rooms: list[int] = []

    async def main() -> None:
        model = await asyncio.to_thread(Replicas, recipe(), policy, vigilance=QUICK)
        app = Application([Hosted(model, Limits(), model.n_at_once)], Limits())
        async with app.running(), client(app) as one:
            await app.proven()
            seen = set()

            async def keep_asking() -> None:
                while len(model.pids) < 3:
                    answer = await asked(one, b"sleep:0.1")
                    assert answer.status_code == 200
                    seen.add(len(model.pids))

            await asyncio.wait_for(asyncio.gather(*(keep_asking() for _ in range(6))), 60)
            assert {1, 3} <= seen
            rooms.append(app.models["chess"].gate.max_concurrent)
            await asyncio.to_thread(eventually, lambda: len(model.pids) == 1)
            assert (await asked(one, b"x")).status_code == 200
            assert model.headcount.ended == {}

    asyncio.run(main())


def test_it_follows_another_as_far_as_it_may() -> None:
    with staffed(max_replicas=2) as model:
        model.follow(5)
        assert model.headcount.wanted == 2
        eventually(lambda: len(model.pids) == 2)
        model.follow(1)
        assert model.headcount.wanted == 2


def test_the_line_is_as_long_as_the_policy_says() -> None:
    with staffed(max_replicas=2, max_queue_length=5) as model:
        assert Hosted(model, Limits(max_waiting=1)).gate.max_waiting == 10
    with staffed(max_replicas=2) as model:
        assert Hosted(model, Limits(max_waiting=1)).gate.max_waiting == 1


def test_other_limits_leave_the_processes_alone() -> None:
    async def main() -> None:
        model = await asyncio.to_thread(Replicas, recipe(), Policy(max_replicas=1), vigilance=QUICK)
        first = Hosted(model, Limits(), model.n_at_once)
        app = Application([first], Limits())
        async with app.running(), client(app) as one:
            await app.proven()
            pids = model.pids
            second = first.under(Limits(max_waiting=3, max_concurrent=1))
            second.start()
            app.adopt([second], second.limits, door=app.door)
            while first.workers.stopped is False:
                await asyncio.sleep(0.01)
            assert (await asked(one, b"x")).status_code == 200
            assert model.pids == pids
        assert not any(is_running(pid) for pid in pids)

    asyncio.run(main())


# --- settings applied again -----------------------------------------------------------------------------


def opens(opened: list[Replicas]) -> Callable[[ModelSettings, Limits], Hosted]:
    def open_model(settings: ModelSettings, limits: Limits) -> Hosted:
        if settings.name == "bad":
            raise BundleError("It is damaged.")
        opened.append(Replicas(recipe(name=settings.name), settings.replicas, vigilance=QUICK))
        return Hosted(opened[-1], limits, opened[-1].n_at_once)

    return open_model


def test_what_was_opened_beside_one_that_cannot_be_is_ended(tmp_path: Path) -> None:
    policy = Policy(max_replicas=1)
    models = [ModelSettings(tmp_path / name, name=name, replicas=policy) for name in ("good", "bad")]
    opened: list[Replicas] = []
    with pytest.raises(BundleError, match="It is damaged"):
        Succession(lambda: ServerSettings(tuple(models)), opens(opened))
    assert len(opened) == 1
    assert not any(opened[0].headcount.states.values())


def test_a_new_version_begins_with_as_many_processes_as_the_old_one_has(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_text("old")
    model = ModelSettings(path, name="chess", replicas=Policy(max_replicas=3))
    opened: list[Replicas] = []

    async def main() -> None:
        succession = await asyncio.to_thread(Succession, lambda: ServerSettings((model,)), opens(opened))
        async with succession.app.running():
            await succession.app.proven()
            old_pids = opened[0].pids
            opened[0].follow(2)
            await asyncio.to_thread(eventually, lambda: len(opened[0].pids) == 2)
            path.write_text("a new one")
            assert (await succession.reload())["opened"] == ["chess"]
            assert len(opened[1].pids) == 2
            await asyncio.to_thread(eventually, lambda: not any(opened[0].headcount.states.values()))
            assert not any(is_running(pid) for pid in old_pids)
            assert (await succession.reload())["kept"] == ["chess"]
            succession.end()

    asyncio.run(main())
    assert len(opened) == 2


# --- none is left behind --------------------------------------------------------------------------------


def test_dismissed_from_its_last_place_it_ends_its_processes() -> None:
    with staffed(max_replicas=2, init_replicas=2) as model:
        pids = model.pids
        other = Post(Load(), 1.0, lambda _: None)
        model.employ(other)
        model.dismiss(other)
        assert all(is_running(pid) for pid in pids)
    assert len(pids) == 2
    assert not any(is_running(pid) for pid in pids)


def test_let_go_it_ends_its_processes() -> None:
    model = Replicas(recipe(), Policy(max_replicas=1), vigilance=QUICK)
    model.prove()
    [pid] = model.pids
    del model
    gc.collect()
    eventually(lambda: not is_running(pid))


SERVER = """
import sys, time
from topwork.serving.replicas.autoscaling import Policy
from topwork.serving.replicas.manned import Replicas
from unruly import recipe
model = Replicas(recipe(), Policy(max_replicas=2, min_replicas=2))
model.prove()
print(*model.pids, flush=True)
time.sleep(60)
"""


def test_they_end_with_a_server_that_is_killed() -> None:
    path = os.pathsep.join(one for one in sys.path if one)
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        text=True,
    )
    with server:
        assert server.stdout is not None
        pids = [int(word) for word in server.stdout.readline().split()]
        assert len(pids) == 2
        assert all(is_running(pid) for pid in pids)
        # What everybody is told, say by whoever stops the machine, is for the server to act on.
        os.kill(pids[0], signal.SIGTERM)
        time.sleep(0.2)
        assert is_running(pids[0])
        server.kill()
    eventually(lambda: not any(is_running(pid) for pid in pids))


def test_a_stopped_server_finds_its_processes_as_they_were() -> None:
    """Ctrl-Z, or a machine that was asleep: who could not be heard was not silent."""
    later = [0.0]
    fleet = Fleet(
        recipe(), Policy(max_replicas=1), vigilance=QUICK, clock=lambda: time.monotonic() + later[0]
    )
    fleet.proven()
    pids = fleet.pids
    os.kill(pids[0], signal.SIGSTOP)  # so that it is not heard at the very moment
    time.sleep(0.3)
    later[0] = 100.0
    time.sleep(0.7)
    os.kill(pids[0], signal.SIGCONT)
    time.sleep(0.5)
    assert fleet.pids == pids
    assert fleet.headcount.ended == {}
    fleet.end()
    assert fleet.has_ended(10)


def test_a_process_is_told_its_share_of_the_cores() -> None:
    shared = replace(recipe(), n_cores=3)
    assert shared.environment()["OMP_NUM_THREADS"] == os.environ.get("OMP_NUM_THREADS", "3")
    assert recipe().environment() == dict(os.environ)
