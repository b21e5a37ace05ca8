"""What every servable keeps to, in the server's process and in worker processes alike."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from fake_servable import LABELS, TEXT, FakeServable, with_client
from topwork.contracts import Answer, Servable
from unruly import Unruly, staffed


@pytest.fixture(scope="module", params=["here", "elsewhere"])
def servable(request: pytest.FixtureRequest) -> Iterator[Servable]:
    with ExitStack() as stack:
        here = request.param == "here"
        yield Unruly() if here else stack.enter_context(staffed(max_replicas=2, init_replicas=2))


def labels(answers: Iterator[Answer]) -> list[Any]:
    return [answer.value.get("label") if answer.value else answer.problem for answer in answers]


def test_it_is_one(servable: Servable) -> None:
    assert isinstance(servable, Servable)
    plain = FakeServable()
    assert (servable.name, servable.wire) == (plain.name, plain.wire)
    assert servable.answer_schema == plain.answer_schema
    assert servable.explanation_schema is None
    assert servable.about["n_train"] == 441
    servable.prove()


def test_answers_come_in_their_order_with_bad_inputs_between(servable: Servable) -> None:
    found = list(servable.submit([b"1", b"bad", b"333"]))
    assert [one.index for one in found] == [0, 1, 2]
    assert [one.last for one in found] == [True] * 3
    assert labels(iter(found)) == [
        LABELS[1],
        "It is no photo: it begins with 'bad'.\nSend a photo.",
        LABELS[3],
    ]
    assert found[0].value == next(FakeServable().submit([b"1"])).value


def test_nothing_asked_is_nothing_answered(servable: Servable) -> None:
    assert list(servable.submit([])) == []


def test_pieces_come_one_by_one(servable: Servable) -> None:
    found = list(servable.submit([b"pieces", b"22"]))
    assert [(one.index, one.last) for one in found] == [(0, False), (0, False), (0, True), (1, True)]


def test_large_inputs_and_many_answers_come_through(servable: Servable) -> None:
    large = b"x" * 3_000_000
    [found] = servable.submit([large])
    assert found.value is not None
    assert found.value["n_bytes"] == 3_000_000
    assert len(list(servable.submit([b"many:500"]))) == 501


def test_who_leaves_early_leaves_it_usable(servable: Servable) -> None:
    for _ in range(5):
        answers = servable.submit([b"many:500", b"1"])
        assert next(answers).index == 0
        answers.close()  # type: ignore[attr-defined]
    assert labels(servable.submit([b"1"])) == [LABELS[1]]


def test_several_threads_get_each_their_own(servable: Servable) -> None:
    def ask(n_bytes: int) -> list[Any]:
        return labels(servable.submit([b"x" * n_bytes, b"pieces", b"y" * (n_bytes + 1)]))

    with ThreadPoolExecutor(8) as pool:
        for n_bytes, found in zip(range(40), pool.map(ask, range(40)), strict=True):
            expected = LABELS[n_bytes % 6], LABELS[(n_bytes + 1) % 6]
            assert (found[0], found[-1]) == expected


@pytest.mark.parametrize(("content", "told"), [(b"boom", "ValueError"), (b"silent", "without an answer")])
def test_a_bug_is_500_tells_nothing_and_is_in_the_log(
    servable: Servable, content: bytes, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def use(one: httpx.AsyncClient) -> list[httpx.Response]:
        return [await one.post("/predict", content=content), await one.post("/predict", content=b"1")]

    broken, sound = with_client(servable, use)
    assert (broken.status_code, sound.status_code) == (500, 200)
    assert broken.json()["error"]["code"] == "internal"
    assert "secret" not in broken.text
    assert told in caplog.text


def test_texts_are_explained() -> None:
    plain = FakeServable(wire=TEXT)
    with staffed({"texts": True}) as model:
        assert model.explanation_schema == plain.explanation_schema
        asked = [b"two words", b"bad one"]
        assert list(model.explain(asked)) == list(plain.explain(asked))


def test_over_http_both_say_the_same(servable: Servable) -> None:
    async def use(one: httpx.AsyncClient) -> list[Any]:
        paths = ("/openapi.json", "/v1/models/chess", "/readyz")
        told = [(await one.get(path)).json() for path in paths]
        accept = {"accept": "application/x-ndjson"}
        files = [("file", ("a.jpg", b"1")), ("file", ("b.jpg", b"bad")), ("file", ("c.jpg", b"pieces"))]
        streamed = await one.post("/predict", files=files, headers=accept)
        return [*told, streamed.text, (await one.post("/predict", content=b"333")).json()]

    assert with_client(servable, use) == with_client(Unruly(), use)
