"""Several models behind one name: who is asked, what stands in the answer, and what is refused."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from fake_batches import FakeBatches
from fake_servable import LABELS, PICTURE, TEXT, FakeServable, client, describe, with_client
from topwork.contracts import Answer, Intake, Json, Servable
from topwork.errors import ProofError, UsageError
from topwork.serving.app import Application
from topwork.serving.batching.errands import Errand, Late
from topwork.serving.batching.gathering import Gathering, gathering
from topwork.serving.hosting import Hosted
from topwork.serving.limits import Limits
from topwork.serving.protocols.openapi import document
from topwork.serving.wrapping.chains import CHUNK, Chain, Link
from topwork.serving.wrapping.conditions import holds, require_possible
from unruly import eventually

NUMBERS = replace(TEXT, in_json="numbers", noun="vector")
SCHEMA: Mapping[str, Json] = {
    "type": "object",
    "properties": {
        "label": {"type": "string", "enum": ["car", "plate"]},
        "labels": {"type": "array", "items": {"type": "string", "enum": ["old", "new"]}},
        "probabilities": {"type": "object", "additionalProperties": {"type": "number"}},
        "free": {},
    },
}


def chain(first: FakeServable, second: FakeServable, **rest: Any) -> Chain:
    return Chain("both", [Link(first), Link(second, **rest)])


def answers(servable: Chain, *inputs: bytes) -> list[Answer]:
    return list(servable.submit(inputs))


# --- who is asked ---------------------------------------------------------------------------------------


def test_it_is_a_servable() -> None:
    assert isinstance(chain(FakeServable("a"), FakeServable("b")), Servable)


def test_answers_stand_side_by_side() -> None:
    [one] = answers(chain(FakeServable("a"), FakeServable("b")), b"123")
    assert one == Answer(0, {"a": describe(b"123"), "b": describe(b"123")})


def test_a_link_is_asked_only_where_its_condition_holds() -> None:
    second = FakeServable("b")
    links = chain(FakeServable("a"), second, when={"a": {"label": LABELS[3]}})
    found = answers(links, b"1", b"333", b"22", b"333333333")
    assert second.seen == [b"333", b"333333333"]
    assert [list(one.value or ()) for one in found] == [["a"], ["a", "b"], ["a"], ["a", "b"]]
    assert [one.index for one in found] == [0, 1, 2, 3]


def test_a_link_that_was_not_asked_holds_no_condition() -> None:
    third = FakeServable("c")
    links = Chain(
        "three",
        [
            Link(FakeServable("a")),
            Link(FakeServable("b"), when={"a": {"label": LABELS[3]}}),
            Link(third, when={"b": {}}),
        ],
    )
    assert [list(one.value or ()) for one in answers(links, b"1", b"333")] == [["a"], ["a", "b", "c"]]
    assert third.seen == [b"333"]


def test_all_conditions_must_hold() -> None:
    third = FakeServable("c")
    both: dict[str, Json] = {
        "a": {"label": LABELS[3]},
        "b": {"probabilities": {LABELS[0]: {"at_least": 0.5}}},
    }
    links = Chain("three", [Link(FakeServable("a")), Link(FakeServable("b")), Link(third, when=both)])
    answers(links, b"333")
    assert third.seen == []


def test_many_inputs_go_through_in_order_and_a_few_at_a_time() -> None:
    first, second = FakeServable("a"), FakeServable("b")
    inputs = [b"x" * (1 + n % 5) for n in range(2 * CHUNK + 3)]
    running = chain(first, second).submit(inputs)
    next(running)
    assert len(first.seen) == len(second.seen) == CHUNK
    assert [one.index for one in running] == list(range(1, len(inputs)))
    assert first.seen == second.seen == inputs


def test_an_answer_can_be_the_next_input() -> None:
    second = FakeServable("b", wire=TEXT)
    links = chain(FakeServable("a"), second, takes=("a", "label"))
    answers(links, b"333", b"bad", b"1")
    assert second.seen == [LABELS[3].encode(), LABELS[1].encode()]


def test_a_list_of_numbers_can_be_the_next_input() -> None:
    second = FakeServable("b", wire=NUMBERS)
    links = chain(Embedding("a"), second, takes=("a", "embedding"))
    assert links.wire == PICTURE
    answers(links, b"333")
    assert second.seen == [b"[0.5,3]"]


class Embedding(FakeServable):
    """Answers with two numbers."""

    @property
    def answer_schema(self) -> Mapping[str, Json]:
        return {"type": "object", "properties": {"embedding": {"type": "array"}}}

    def _answers(self, index: int, given: bytes) -> Any:
        yield Answer(index, {"embedding": [0.5, len(given)]})


# --- what goes wrong ------------------------------------------------------------------------------------


def test_a_problem_of_one_link_stands_in_its_place() -> None:
    [one] = answers(chain(FakeServable("a"), FakeServable("b", wire=TEXT), takes=("a", "n_bytes")), b"333")
    assert one.value == {"a": describe(b"333"), "b": {"error": "a.n_bytes is int, which is no sentence."}}


def test_what_no_link_can_read_is_a_problem_of_the_input() -> None:
    first, second = answers(chain(FakeServable("a"), FakeServable("b")), b"bad", b"1")
    assert first.problem is not None
    assert first.problem.startswith("It is no photo")
    assert set(second.value or ()) == {"a", "b"}


def test_pieces_are_a_problem_of_their_link() -> None:
    [one] = answers(chain(FakeServable("a"), FakeServable("b"), when={"a": {"label": LABELS[0]}}), b"pieces")
    assert one.problem is not None
    assert one.problem.startswith("Its answers come in pieces")


@pytest.mark.parametrize("content", [b"boom", b"silent"])
def test_a_bug_of_a_link_is_500(content: bytes) -> None:
    servable = chain(FakeServable("a"), FakeServable("b"))
    response = with_client(servable, lambda one: one.post("/predict", content=content))
    assert response.status_code == 500
    assert "secret" not in response.text


def test_the_proof_is_that_of_every_link() -> None:
    def fail() -> None:
        raise ProofError("another network")

    with pytest.raises(ProofError, match="another network"):
        chain(FakeServable("a"), FakeServable("b", proof=fail)).prove()


# --- over HTTP ------------------------------------------------------------------------------------------


def test_answers_are_as_described() -> None:
    servable = chain(FakeServable("a"), FakeServable("b"), when={"a": {"label": LABELS[3]}})
    root = json.loads(json.dumps(document([servable], Limits())))
    schema = root["components"]["schemas"]["Answer.both"]
    problem = schema["properties"]["b"]["anyOf"][1]
    for link in schema["properties"].values():
        assert link == {"anyOf": [FakeServable().answer_schema, problem]}
    assert (problem["required"], problem["additionalProperties"]) == (["error"], False)
    assert (schema["required"], schema["additionalProperties"]) == (["a"], False)
    files = [("f", ("x", content)) for content in (b"1", b"333", b"bad")]
    response = with_client(servable, lambda one: one.post("/predict", files=files))
    first, second, third = response.json()["predictions"]
    assert (set(first), set(second), set(third)) == ({"a"}, {"a", "b"}, {"error"})


def test_it_says_of_what_it_is_made() -> None:
    servable = chain(FakeServable("a"), FakeServable("b"), when={"a": {"label": LABELS[3]}})
    about = with_client(servable, lambda one: one.get("/v1/models/both")).json()["about"]
    assert [(one["name"], one["when"]) for one in about["chain"]] == [
        ("a", {}),
        ("b", {"a": {"label": LABELS[3]}}),
    ]
    assert about["chain"][0]["about"]["n_train"] == 441


# --- what is refused ------------------------------------------------------------------------------------


def refused(*links: Link) -> str:
    with pytest.raises(UsageError) as caught:
        Chain("both", links)
    assert caught.value.next_step
    return caught.value.problem


def test_names_must_be_there_and_differ() -> None:
    assert "the models none" in refused()
    assert "the models a, a" in refused(Link(FakeServable("a")), Link(FakeServable("a")))


def test_a_link_depends_on_what_is_before_it() -> None:
    a, b = FakeServable("a"), FakeServable("b")
    assert "'a' depends on 'b'; before it there is none" in refused(Link(a, when={"b": {}}), Link(b))
    assert "'b' depends on 'b'; before it there is a" in refused(Link(a), Link(b, when={"b": {}}))
    assert "'b' depends on 'c'" in refused(Link(a), Link(b, takes=("c", "label")))


def test_a_condition_that_can_never_hold_is_refused() -> None:
    a, b = FakeServable("a"), FakeServable("b")
    assert "a has no 'lable'" in refused(Link(a), Link(b, when={"a": {"lable": "King"}}))
    assert "a has no 'vector'" in refused(Link(a), Link(b, takes=("a", "vector")))
    assert "waits for 'King' of 'a'" in refused(Link(a), Link(b, when={"a": "King"}))


def test_all_links_take_the_same_kind_of_input() -> None:
    a = FakeServable("a")
    assert "'a' takes a photo and 'b' a sentence" in refused(Link(a), Link(FakeServable("b", wire=TEXT)))
    told = refused(Link(a), Link(FakeServable("b"), takes=("a", "label")))
    assert "takes a photo, which no model's answer holds" in told


# --- conditions -----------------------------------------------------------------------------------------

ANSWER: Mapping[str, Json] = {
    "label": "plate",
    "labels": ["old"],
    "probabilities": {"plate": 0.8},
    "flag": True,
    "n": 1,
}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, True),
        ({"label": "plate"}, True),
        ({"label": "car"}, False),
        ({"label": ["car", "plate"]}, True),
        ({"label": []}, False),
        ({"labels": "old"}, True),
        ({"labels": "new"}, False),
        ({"labels": ["new", "old"]}, True),
        ({"other": "plate"}, False),
        ({"label": {"plate": 1}}, False),
        ({"probabilities": {"plate": {"at_least": 0.8}}}, True),
        ({"probabilities": {"plate": {"below": 0.8}}}, False),
        ({"probabilities": {"plate": {"at_least": 0.7, "below": 0.9}}}, True),
        ({"probabilities": {"plate": {"at_least": 0.81, "below": 0.9}}}, False),
        ({"label": {"at_least": 0.8}}, False),
        ({"flag": {"at_least": 0}}, False),
        ({"n": 1.0}, True),
        ({"n": True}, False),
        ({"flag": 1}, False),
        ({"label": "plate", "n": 2}, False),
    ],
)
def test_conditions(wanted: Json, expected: bool) -> None:
    assert holds(wanted, ANSWER) is expected


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"label": "plate"},
        {"label": ["car", "plate"]},
        {"labels": "new"},
        {"probabilities": {"anything": {"at_least": 1}}},
        {"free": {"whatever": 3}},
    ],
)
def test_what_may_be_is_let_through(wanted: Json) -> None:
    require_possible(wanted, SCHEMA, where="a")


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"label": "plaet"}, "a.label is never 'plaet'; there is 'car', 'plate'"),
        ({"label": True}, "a.label is never True"),
        ({"label": ["car", "plaet"]}, "a.label is never 'plaet'"),
        ({"labels": "none"}, "a.labels is never 'none'; there is 'old', 'new'"),
        ({"lable": "car"}, "a has no 'lable'; there is 'label', 'labels', 'probabilities', 'free'"),
        (
            {"probabilities": {"car": {"at_least": "0.8"}}},
            "compares with '0.8' (at_least); expected a number",
        ),
    ],
)
def test_what_never_can_be_is_refused(wanted: Json, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        require_possible(wanted, SCHEMA, where="a")
    assert told in caught.value.problem


# --- batches --------------------------------------------------------------------------------------------


@contextmanager
def gathered(*models: FakeBatches, largest: int = 4) -> Iterator[Chain]:
    """Chain models that compute together what several threads ask, one batch at a time each."""
    yield Chain("both", [Link(gathering(one, 1, max_batch=largest)) for one in models])
    for one in models:
        one.gate.set()


def begun(threads: ThreadPoolExecutor, links: Chain, model: FakeBatches) -> Future[list[Answer]]:
    """Close a model's gate, and have it busy."""
    model.gate.clear()
    first = threads.submit(answers, links, b"first")
    assert model.entered.acquire(timeout=20)
    return first


def prepared(model: FakeBatches, n: int) -> None:
    eventually(lambda: len(model.prepared) == n)
    time.sleep(0.05)  # from there they go into the line


def test_links_compute_together_what_several_requests_ask() -> None:
    first, second = FakeBatches("a"), FakeBatches("b")
    with gathered(first, second) as links, ThreadPoolExecutor(8) as threads:
        busy = begun(threads, links, first)
        found = [threads.submit(answers, links, b"x" * n) for n in (1, 2, 3)]
        prepared(first, 4)
        first.gate.set()
        for n, one in enumerate(found, 1):
            assert one.result(20) == [Answer(0, {"a": describe(b"x" * n), "b": describe(b"x" * n)})]
        busy.result(20)
    assert sorted(map(sorted, first.batches)) == [[b"first"], [b"x", b"xx", b"xxx"]]
    assert links.gathered is not None
    assert (links.gathered.largest, links.gathered.n_at_once, links.gathered.n_seats) == (4, 4, 8)
    assert links.gathered.sizes[3] >= 1
    assert sum(size * n for size, n in links.gathered.sizes.items()) == 8


def test_who_breaks_a_batch_of_a_link_fails_alone() -> None:
    first = FakeBatches("a")
    with gathered(first) as links, ThreadPoolExecutor(8) as threads:
        busy = begun(threads, links, first)
        good, bad = threads.submit(answers, links, b"22"), threads.submit(answers, links, b"boom")
        mixed = threads.submit(answers, links, b"boom", b"1", b"bad")
        prepared(first, 6)
        first.gate.set()
        assert good.result(20) == [Answer(0, {"a": describe(b"22")})]
        with pytest.raises(ValueError, match="secret detail of the server"):
            bad.result(20)
        assert [one.problem is None for one in mixed.result(20)] == [False, True, False]
        busy.result(20)


def test_a_link_computes_for_nobody_who_has_left() -> None:
    first, errand = FakeBatches("a"), Errand()
    with gathered(first) as links, ThreadPoolExecutor(8) as threads:

        def run() -> list[Answer]:
            with errand.here():
                return answers(links, b"gone")

        busy = begun(threads, links, first)
        left = threads.submit(run)
        prepared(first, 2)
        assert errand.is_in_line
        errand.leave()
        with pytest.raises(Late):
            left.result(20)
        first.gate.set()
        busy.result(20)
    assert first.batches == [[b"first"]]


def test_a_link_is_sized_at_its_proof_and_the_server_makes_room() -> None:
    model = FakeBatches("a", delay_s=0.0)

    async def use(one: httpx.AsyncClient) -> str:
        answers = await asyncio.gather(*(one.post("/predict", content=b"x") for _ in range(6)))
        assert [each.status_code for each in answers] == [200] * 6
        return (await one.get("/metrics")).text

    links = Chain("both", [Link(gathering(model, 1, max_batch=3))])
    hosted = Hosted(links, Limits(), 1)
    told = served(hosted, use)
    assert (hosted.gate.max_concurrent, hosted.workers.n_threads) == (6, 6)
    assert 'topwork_batch_limit{model="both"} 3.0' in told
    assert served(Hosted(links, Limits(max_concurrent=2), 1), use)
    assert gathering(FakeServable("b"), 1).name == "b"


def served(hosted: Hosted, use: Callable[[httpx.AsyncClient], Awaitable[str]]) -> str:
    async def main() -> str:
        app = Application([hosted], hosted.limits)
        async with app.running(), client(app) as one:
            await app.proven()
            return await use(one)

    return asyncio.run(main())


def test_what_is_measured_at_the_proof_is_how_large_batches_are() -> None:
    slow = SlowBatches("a")
    model = gathering(slow, 2)
    assert isinstance(model, Gathering)
    assert model.gathered.largest == 1
    model.prove()
    assert model.gathered.largest > 4
    assert model.gathered.n_at_once == 2 * model.gathered.largest


class SlowBatches(FakeBatches):
    """Takes as long for many as for one."""

    def compute(self, prepared: Sequence[bytes], intake: Intake) -> Iterator[Answer]:
        time.sleep(0.01)
        yield from super().compute(prepared, intake)


def test_the_threads_of_a_link_end_with_it() -> None:
    def n_threads() -> int:
        return sum("short-lived-gathering" in one.name for one in threading.enumerate())

    model = gathering(FakeBatches("short-lived"), 2)
    assert n_threads() == 4
    assert len(list(model.submit([b"1"]))) == 1
    del model
    gc.collect()
    eventually(lambda: not n_threads())
