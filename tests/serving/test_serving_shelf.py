"""Models that share a bounded memory: who is opened, who is closed, and who waits."""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from fake_batches import FakeBatches
from fake_servable import FakeServable, Gated
from keepers import Keeper, Told, answered, used
from topwork.contracts import Answer
from topwork.errors import BundleError, ProofError
from topwork.serving.hosting import Hosted
from topwork.serving.limits import Limits
from topwork.serving.settings.declared import ModelSettings
from topwork.serving.succession import Succession
from topwork.serving.traffic.shelf import Shelf, Shelved, TooLargeError, resident_bytes
from unruly import eventually
from watched_servable import WatchedServable

MIB = 2**20


@pytest.fixture(autouse=True)
def _little_to_collect() -> Iterator[None]:
    """Leave what other tests loaded out of each collection: `Machine.taken` collects often."""
    gc.freeze()
    yield
    gc.unfreeze()


@dataclass
class Machine:
    """Memory that models take: each as much as its test says, as long as it lives."""

    sizes: dict[str, int]
    opened: list[str] = field(default_factory=list)
    alive: dict[str, weakref.ref[FakeServable]] = field(default_factory=dict)
    most: int = 0
    made: dict[str, FakeServable] = field(default_factory=dict)
    fails: set[str] = field(default_factory=set)
    makes: Callable[[str], FakeServable] = FakeServable
    limits: Limits = field(default_factory=Limits)
    n_at_once: int = 3

    def taken(self) -> int:
        gc.collect()
        now = sum(self.sizes[name] for name, one in self.alive.items() if one() is not None)
        self.most = max(self.most, now)
        return now

    def open(self, name: str) -> Hosted:
        if name in self.fails:
            raise BundleError("It is gone.", next_step="Put it back.")
        self.opened.append(name)
        servable = self.made.get(name) or self.makes(name)
        self.alive[name] = weakref.ref(servable)
        self.taken()
        return Hosted(servable, self.limits, self.n_at_once)

    def batches_of(self, name: str) -> FakeBatches:
        servable = self.alive[name]()
        assert isinstance(servable, FakeBatches)
        return servable

    def book(self, shelf: Shelf, name: str, n_file_bytes: int = 0) -> Shelved:
        return Shelved(shelf, lambda: self.open(name), name, n_file_bytes)


def asked(book: Shelved, *inputs: bytes) -> list[Answer]:
    return list(book.submit(inputs or (b"x",)))


def test_models_stay_open_while_they_fit() -> None:
    machine = Machine({"a": 40, "b": 50})
    shelf = Shelf(100, machine.taken)
    a, b = machine.book(shelf, "a"), machine.book(shelf, "b")
    for _ in range(3):
        assert len(asked(a, b"x", b"y")) == 2
        asked(b)
    assert machine.opened == ["a", "b"]
    assert (a.state.n_bytes, b.state.n_bytes) == (40, 50)
    assert a.n_at_once == 3


def test_the_one_that_was_used_least_recently_is_closed() -> None:
    machine = Machine({"a": 40, "b": 40, "c": 40})
    shelf = Shelf(100, machine.taken)
    a, b = machine.book(shelf, "a"), machine.book(shelf, "b")
    asked(a)
    c = machine.book(shelf, "c")
    assert shelf.open_names() == ["a", "c"]
    asked(b)
    assert shelf.open_names() == ["c", "b"]
    asked(c)
    asked(a)
    assert shelf.open_names() == ["c", "a"]
    assert machine.opened == ["a", "b", "c", "b", "a"]
    # A model is known to fit by its last opening, so only what was opened first ever went beyond, by itself.
    assert machine.most <= 120


def test_as_many_are_closed_as_must_be() -> None:
    machine = Machine({"a": 30, "b": 30, "c": 30, "d": 90})
    shelf = Shelf(100, machine.taken)
    books = [machine.book(shelf, name) for name in "abc"]
    d = machine.book(shelf, "d", 90)
    assert shelf.open_names() == ["d"]
    assert machine.most <= 100, "its files said that it would not fit beside the others"
    asked(books[0])
    assert shelf.open_names() == ["a"]
    assert not d.is_open


def test_one_that_does_not_fit_alone_is_refused_without_being_opened_again() -> None:
    machine = Machine({"a": 40, "big": 101})
    shelf = Shelf(100, machine.taken)
    a = machine.book(shelf, "a")
    with pytest.raises(TooLargeError, match="big takes 101 bytes; all models together may take 100"):
        machine.book(shelf, "big")
    with pytest.raises(TooLargeError, match="big takes 500 bytes"):
        machine.book(shelf, "big", 500)
    assert machine.opened == ["a", "big"]
    asked(a)
    shelf.resize(10)
    assert asked(a), "what is open stays so"


def test_a_model_takes_no_less_than_its_files_and_no_less_than_before() -> None:
    machine = Machine({"a": 1, "b": 1})
    shelf = Shelf(100, machine.taken)
    a = machine.book(shelf, "a", 60)
    b = machine.book(shelf, "b", 60)
    assert shelf.open_names() == ["b"]
    machine.sizes["a"] = 99
    asked(a)
    machine.sizes["a"] = 2
    asked(b)
    asked(a)
    assert a.state.n_bytes == 99


def test_a_closed_model_still_says_what_it_is() -> None:
    machine = Machine({"a": 60, "b": 60})
    shelf = Shelf(100, machine.taken)
    a = machine.book(shelf, "a")
    machine.book(shelf, "b")
    assert not a.is_open
    there = FakeServable("a")
    assert (a.name, a.wire, a.answer_schema, a.about) == ("a", there.wire, there.answer_schema, there.about)
    assert a.explanation_schema is None
    assert not a.is_open


# --- proofs ---------------------------------------------------------------------------------------------


def test_it_is_proven_whenever_it_is_opened() -> None:
    proofs: list[str] = []
    machine = Machine({"a": 60, "b": 60})
    machine.made["a"] = FakeServable("a", proof=lambda: proofs.append("a"))
    machine.made["b"] = FakeServable("b", proof=lambda: proofs.append("b"))
    shelf = Shelf(100, machine.taken)
    a, b = machine.book(shelf, "a"), machine.book(shelf, "b")
    for book in (a, b, b, a):
        book.prove()
    assert proofs == ["a", "b"], "each once at the start, though the first was closed for the other"
    asked(a)
    assert proofs[2:] == ["a"]


def test_one_that_fails_on_the_way_back_says_so_and_is_tried_again() -> None:
    machine = Machine({"a": 60, "b": 60})
    machine.made["a"] = a_servable = FakeServable("a")
    shelf = Shelf(100, machine.taken)
    a, b = machine.book(shelf, "a"), machine.book(shelf, "b")

    def fails() -> None:
        raise ProofError("Output 3 differs.", next_step="Fit it anew.")

    a_servable.proof = fails
    with pytest.raises(ProofError):
        asked(a)
    machine.fails.add("a")
    with pytest.raises(BundleError):
        asked(a)
    assert len(asked(b)) == 1
    machine.fails.clear()
    a_servable.proof = lambda: None
    assert len(asked(a)) == 1


def test_one_that_came_back_as_another_is_refused() -> None:
    machine = Machine({"a": 60, "b": 60})
    shelf = Shelf(100, machine.taken)
    a = machine.book(shelf, "a")
    machine.book(shelf, "b")
    machine.made["a"] = Told("a", text="other answers")
    with pytest.raises(ValueError, match="is of another model by now: it differs in answer_schema"):
        asked(a)


# --- several threads ------------------------------------------------------------------------------------


def test_a_model_is_not_closed_under_a_request() -> None:
    machine = Machine({"a": 60, "b": 60})
    machine.made["a"] = slow = Gated("a")
    shelf = Shelf(100, machine.taken)
    a, b = machine.book(shelf, "a"), machine.book(shelf, "b")
    with ThreadPoolExecutor(4) as pool:
        working = pool.submit(asked, a)
        slow.entered.acquire()
        waiting = pool.submit(asked, b)
        late = pool.submit(asked, a)
        time.sleep(0.05)
        assert (a.is_open, waiting.done()) == (True, False)
        slow.opened.set()
        assert [len(one.result(20)) for one in (working, waiting, late)] == [1, 1, 1]


def test_all_who_wait_for_a_model_are_answered_before_it_is_closed_again() -> None:
    """Two models with room for one, ten requests for each at once: two openings, or three, but no ten."""
    machine = Machine({"a": 60, "b": 60})
    machine.made["a"], machine.made["b"] = FakeServable("a", delay_s=0.01), FakeServable("b", delay_s=0.01)
    shelf = Shelf(100, machine.taken)
    a, b = machine.book(shelf, "a"), machine.book(shelf, "b")
    machine.opened.clear()
    together = threading.Barrier(20)

    def ask(book: Shelved) -> int:
        together.wait(20)
        return len(asked(book))

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(ask, [a, b] * 10)) == [1] * 20
    assert len(machine.opened) <= 6, machine.opened


def test_a_model_that_is_never_idle_keeps_no_other_out() -> None:
    machine = Machine({"a": 60, "b": 60})
    machine.made["a"] = FakeServable("a", delay_s=0.005)
    shelf = Shelf(100, machine.taken)
    a, b = machine.book(shelf, "a"), machine.book(shelf, "b")
    over = threading.Event()

    def keep_busy() -> int:
        n = 0
        while not over.is_set():
            n += len(asked(a))
        return n

    with ThreadPoolExecutor(5) as pool:
        busy = [pool.submit(keep_busy) for _ in range(4)]
        time.sleep(0.05)
        assert len(pool.submit(asked, b).result(20)) == 1
        over.set()
        assert all(one.result(20) > 0 for one in busy)


def test_requests_share_batches_and_what_they_made_is_known_when_it_is_closed() -> None:
    machine = Machine({"a": 60, "b": 60}, makes=FakeBatches, limits=Limits(max_batch=4), n_at_once=1)
    shelf = Shelf(100, machine.taken)
    a = machine.book(shelf, "a")
    model = machine.batches_of("a")
    prepared, batches = model.prepared, model.batches
    model.gate.clear()
    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(asked, a, b"first")]
        assert model.entered.acquire(timeout=20)
        asking += [pool.submit(asked, a, b"later") for _ in range(3)]
        eventually(lambda: len(prepared) == 4)
        model.gate.set()
        assert [len(one.result(20)) for one in asking] == [1] * 4
    assert batches == [[b"first"], [b"later"] * 3]
    del model
    machine.book(shelf, "b")
    assert machine.alive["a"]() is None, "its threads still hold it"
    asked(a)
    assert a.gathered is not None
    assert a.gathered.sizes == {1: 2, 3: 1}


def test_how_large_batches_may_be_is_measured_once() -> None:
    machine = Machine({"a": 60, "b": 60}, makes=FakeBatches)
    shelf = Shelf(100, machine.taken)
    a = machine.book(shelf, "a")
    a.prove()
    assert [b"sample"] in machine.batches_of("a").batches
    assert a.gathered is not None
    largest = a.gathered.largest
    machine.book(shelf, "b")
    asked(a)
    assert machine.batches_of("a").batches == [[b"x"]]
    assert a.gathered.largest == largest


def test_what_it_is_held_against_is_known_when_it_is_closed() -> None:
    machine = Machine({"a": 60, "b": 60}, makes=WatchedServable)
    shelf = Shelf(100, machine.taken)
    a = machine.book(shelf, "a")
    machine.book(shelf, "b")
    assert not a.is_open
    assert a.reference is not None


def test_a_reader_who_leaves_early_gives_the_model_back() -> None:
    machine = Machine({"a": 60, "b": 60})
    shelf = Shelf(100, machine.taken)
    a = machine.book(shelf, "a")
    answers: Iterator[Answer] = a.submit([b"x", b"y"])
    next(answers)
    assert a.state.n_users == 1
    answers.close()  # type: ignore[attr-defined]
    assert a.state.n_users == 0


def test_a_model_that_nobody_knows_any_more_takes_nothing() -> None:
    machine = Machine({"a": 60, "b": 60})
    shelf = Shelf(100, machine.taken)
    a = machine.book(shelf, "a")
    asked(a)
    del a
    gc.collect()
    assert shelf.open_names() == []


def test_the_process_has_a_size() -> None:
    assert resident_bytes() == 0 or resident_bytes() > MIB


# --- on a server ----------------------------------------------------------------------------------------


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    found = Keeper.at(tmp_path)
    for name in ("a", "b"):
        os.truncate(found.put(name, name), 600 * MIB)  # a hole, which takes no room on the disk
    models = [ModelSettings(tmp_path / name, name) for name in ("a", "b")]
    found.wants(*models, limits=Limits(model_memory_bytes=1000 * MIB))
    return found


def test_a_server_opens_models_by_turns_within_its_memory(keeper: Keeper) -> None:
    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        for _ in range(2):
            for name in ("a", "b"):
                assert await answered(one, name) == (name, "")
        assert (await one.get("/readyz")).status_code == 200
        assert (await one.get("/v1/models/a")).json()["about"]
        (keeper.folder / "a").unlink()
        gone = await one.post("/v1/models/a/predict", content=b"x")
        assert (gone.status_code, gone.json()["error"]["code"]) == (503, "unavailable")
        assert await answered(one, "b") == ("b", "")
        text = (await one.get("/metrics")).text
        assert 'topwork_model_memory_bytes{model="a"} 0.0' in text
        assert 'topwork_model_openings_total{model="b"}' in text

    used(keeper, use)


def test_who_waits_for_a_model_waits_within_the_deadline(keeper: Keeper) -> None:
    release = threading.Event()

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        await answered(one, "a")
        keeper.made["b"] = Told("b", text="b", proof=lambda: assert_set(release))
        late = await one.post("/v1/models/b/predict", content=b"x", headers={"x-timeout-ms": "100"})
        assert (late.status_code, late.json()["error"]["code"]) == (503, "deadline_exceeded")
        release.set()
        assert await answered(one, "b") == ("b", "")

    used(keeper, use)


def assert_set(event: threading.Event) -> None:
    assert event.wait(20)


def test_a_model_too_large_for_the_memory_ends_the_start(keeper: Keeper) -> None:
    keeper.wants(*keeper.settings.models, limits=Limits(model_memory_bytes=500 * MIB))
    with pytest.raises(TooLargeError, match=r"The model a takes 629,145,600 bytes; .*\nRaise model_memory"):
        keeper.begin()
    assert keeper.opened == []
