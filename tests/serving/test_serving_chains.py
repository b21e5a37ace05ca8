"""Several models behind one name: who is asked, what stands in the answer, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from fake_servable import LABELS, PICTURE, TEXT, FakeServable, describe, with_client
from topwork.contracts import Answer, Json, Servable
from topwork.errors import ProofError, UsageError
from topwork.serving.chains import CHUNK, Chain, Link
from topwork.serving.conditions import holds, require_possible
from topwork.serving.limits import Limits
from topwork.serving.openapi import document

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
