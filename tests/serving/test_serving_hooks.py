"""A user's code around a model: what it may do, what its mistakes cost, and what is refused at the start."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from fake_servable import LABELS, TEXT, FakeServable, with_client
from topwork.contracts import Answer, Servable
from topwork.errors import DecodeError, UsageError
from topwork.serving.limits import Limits
from topwork.serving.protocols.openapi import document
from topwork.serving.wrapping.hooks import Hooked, Hooks, load_hooks


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose modules are forgotten after the test."""
    known, path = set(sys.modules), list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - known:
        del sys.modules[name]


def write(folder: Path, text: str, name: str = "own_code") -> Path:
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


def longer(content: bytes) -> bytes:
    if content == b"dark":
        raise DecodeError("It is too dark.", next_step="Switch on a light.")
    if content == b"trap":
        raise ValueError("secret detail of the operator")
    return content + b"!"


def short(answer: dict[str, Any]) -> dict[str, Any]:
    answer["probabilities"].clear()  # what the code is given is its own
    return {"best": answer["label"]}


def ask(hooks: Hooks, *inputs: bytes, servable: FakeServable | None = None) -> httpx.Response:
    files = [("file", (str(i), one)) for i, one in enumerate(inputs)]
    hooked = Hooked(servable or FakeServable(), hooks)
    return with_client(hooked, lambda one: one.post("/predict", files=files))


# --- around a model -------------------------------------------------------------------------------------


def test_it_is_a_servable_with_the_face_of_its_model() -> None:
    inner = FakeServable(wire=TEXT)
    hooked = Hooked(inner, Hooks("own:code", longer))
    assert isinstance(hooked, Servable)
    assert (hooked.name, hooked.wire) == (inner.name, inner.wire)
    assert hooked.answer_schema == inner.answer_schema
    assert hooked.explanation_schema == inner.explanation_schema
    assert hooked.about["app"] == "own:code"
    assert set(inner.about) < set(hooked.about)


def test_both_functions_are_asked() -> None:
    servable = FakeServable()
    response = ask(Hooks("own", longer, short), b"1", b"22", servable=servable)
    assert servable.seen == [b"1!", b"22!"]
    assert response.json()["predictions"] == [{"best": LABELS[2]}, {"best": LABELS[3]}]


class Shared(FakeServable):
    """Gives the same object for every input."""

    value: ClassVar[dict[str, Any]] = {"label": "King", "probabilities": {"King": 1.0}, "labels": ("King",)}

    def _answers(self, index: int, given: bytes) -> Iterator[Answer]:
        yield Answer(index, self.value)


def test_an_answer_is_given_as_a_client_reads_it_and_as_a_copy() -> None:
    seen = []

    def after(answer: dict[str, Any]) -> dict[str, Any]:
        seen.append(answer["labels"])
        return short(answer)

    response = ask(Hooks("own", after=after), b"1", b"2", servable=Shared())
    assert response.json()["predictions"] == [{"best": "King"}, {"best": "King"}]
    assert seen == [["King"], ["King"]]
    assert Shared.value["probabilities"] == {"King": 1.0}


def test_one_of_them_will_do() -> None:
    assert ask(Hooks("own", longer), b"1").json()["predictions"][0]["n_bytes"] == 2
    assert ask(Hooks("own", after=short), b"1").json()["predictions"] == [{"best": LABELS[1]}]


def test_its_mistakes_cost_one_input_and_stay_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    servable = FakeServable()
    response = ask(Hooks("own:code", longer, short), b"1", b"trap", b"dark", b"bad", b"22", servable=servable)
    assert response.status_code == 200
    first, trap, dark, bad, last = response.json()["predictions"]
    assert (first, last) == ({"best": LABELS[2]}, {"best": LABELS[3]})
    assert trap["error"].startswith("The server's own code before the model failed on this input.\n")
    assert dark == {"error": "It is too dark.\nSwitch on a light."}
    assert bad["error"].startswith("It is no photo")
    assert servable.seen == [b"1!", b"bad!", b"22!"]
    assert "secret" not in response.text
    [record] = caplog.records
    assert record.getMessage() == "chess: before() of own:code failed"
    assert record.exc_info
    assert "secret detail" in caplog.text


def test_where_it_was_the_only_input_the_status_says_so() -> None:
    response = ask(Hooks("own", longer), b"dark")
    assert response.status_code == 422
    assert response.json()["error"]["message"] == "It is too dark."


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (lambda answer: [answer], "after() returned list; expected a dict"),
        (lambda _: {"share": float("nan")}, "not JSON compliant"),
        (lambda _: {"raw": b"bytes"}, "bytes is not JSON serializable"),
        (lambda answer: answer["nothing"], "KeyError"),
    ],
)
def test_what_is_no_json_object_is_no_answer(after: Any, told: str, caplog: pytest.LogCaptureFixture) -> None:
    response = ask(Hooks("own", after=after), b"1", b"2")
    assert response.status_code == 200
    assert ["error" in one for one in response.json()["predictions"]] == [True, True]
    assert told in caplog.text


def test_answers_are_held_against_the_users_own_description(caplog: pytest.LogCaptureFixture) -> None:
    label: dict[str, Any] = {"type": "string", "enum": [LABELS[1]]}
    schema: dict[str, Any] = {"type": "object", "properties": {"best": label}, "required": ["best"]}
    response = ask(Hooks("own", None, short, schema), b"1", b"22")
    first, second = response.json()["predictions"]
    assert first == {"best": LABELS[1]}
    assert second["error"].startswith("The server's own code after the model failed")
    assert "what answer_schema does not have: the answer.best is 'Knight'" in caplog.text


def test_what_is_no_bytes_is_no_input(caplog: pytest.LogCaptureFixture) -> None:
    servable = FakeServable()
    response = ask(Hooks("own", lambda content: content.decode()), b"1", servable=servable)
    assert response.status_code == 422
    assert servable.seen == []
    assert "before() returned str; expected bytes" in caplog.text


def test_pieces_are_each_given_to_it() -> None:
    response = ask(Hooks("own", after=lambda answer: {"said": answer["text"].upper()}), b"pieces")
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert [(line["value"], line["last"]) for line in lines] == [
        ({"said": "A"}, False),
        ({"said": "B"}, False),
        ({"said": "C"}, True),
    ]


def test_explanations_are_the_models_own() -> None:
    def spaced(content: bytes) -> bytes:
        return content.replace(b"_", b" ")

    hooked = Hooked(FakeServable(wire=TEXT), Hooks("own", spaced, short))
    response = with_client(hooked, lambda one: one.post("/explain", json={"input": "two_words"}))
    pieces = response.json()["explanations"][0]["pieces"]
    assert [one["text"] for one in pieces] == ["two", "words"]


def test_a_failed_proof_is_that_of_the_model() -> None:
    def proof() -> None:
        raise ValueError("not the same network")

    with pytest.raises(ValueError, match="not the same network"):
        Hooked(FakeServable(proof=proof), Hooks("own", longer)).prove()


def test_answers_are_open_unless_the_user_describes_them() -> None:
    described: dict[str, Any] = {"type": "object", "properties": {"best": {"type": "string"}}}
    for hooks, schema in (
        (Hooks("own", after=short), None),
        (Hooks("own", None, short, described), described),
    ):
        found = document([Hooked(FakeServable(), hooks)], Limits())["components"]
        assert isinstance(found, dict)
        answer = found["schemas"]["Answer.chess"]
        assert answer == schema if schema else (answer["type"] == "object" and "properties" not in answer)


# --- finding it -----------------------------------------------------------------------------------------


def test_a_module_of_the_folder_is_found(folder: Path) -> None:
    write(folder, "import own_words\ndef before(content): return content + own_words.END\n")
    write(folder, "END = b'.'\n", "own_words")
    hooks = load_hooks("own_code", folder)
    assert hooks.before is not None
    assert hooks.before(b"x") == b"x."
    assert (hooks.source, hooks.after, hooks.answer_schema) == ("own_code", None, None)


def test_the_folder_hides_no_module_of_others(folder: Path) -> None:
    assert "pyclbr" not in sys.modules
    write(folder, "raise ValueError('mine')", "pyclbr")
    write(folder, "import pyclbr\ndef after(answer): return answer\n")
    assert load_hooks("own_code", folder).after is not None


def test_an_attribute_may_be_any_object_that_has_them(folder: Path) -> None:
    write(
        folder,
        "class Loud:\n"
        "    answer_schema = {'type': 'object'}\n"
        "    def after(self, answer): return {'loud': answer['label'].upper()}\n"
        "class shop:\n"
        "    loud = Loud()\n",
    )
    hooks = load_hooks("own_code:shop.loud", folder)
    assert hooks.after is not None
    assert hooks.after({"label": "a"}) == {"loud": "A"}
    assert (hooks.before, hooks.answer_schema) == (None, {"type": "object"})


def test_an_installed_package_will_do(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"json.__init__\.py\) has neither `before` nor `after`"):
        load_hooks("json", folder)


@pytest.mark.parametrize(
    ("source", "text", "told"),
    [
        ("nothing_here", "", r"'nothing_here' cannot be imported: ModuleNotFoundError: .*'nothing_here'\.$"),
        ("own_code", "\nimport nothing_here", r"No module named 'nothing_here' \(own_code\.py, line 2\)\.$"),
        ("own_code", "x = 1\nx.y", r"AttributeError: .* \(own_code\.py, line 2\)\.$"),
        ("own_code", "def before(:", r"SyntaxError: .*own_code\.py, line 1\)\.$"),
        ("own_code:other", "", r"own_code\.py has no 'other'"),
        ("own_code:x", "x = 1", r"\(a int\) has neither `before` nor `after`"),
        ("own_code", "async def before(content): return content", r"as 'before' an async function; expected"),
        ("own_code", "after = 3", r"as 'after' int; expected a plain function"),
        (
            "own_code",
            "def after(a): ...\nanswer_schema = {'x': {1}}",
            r"answer_schema that is no JSON object",
        ),
        ("own_code", "def after(a): ...\nanswer_schema = {'$ref': '#/x'}", r"it has a \$ref"),
        ("own_code", "def after(a): ...\nanswer_schema = []", r"it is list, not a dict"),
        ("own_code.py:", "", r"expected MODULE or MODULE:ATTRIBUTE"),
        ("", "", r"expected MODULE or MODULE:ATTRIBUTE"),
        ("../own_code", "", r"expected MODULE or MODULE:ATTRIBUTE"),
    ],
)
def test_what_cannot_be_used_is_told_at_the_start(source: str, text: str, told: str, folder: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_hooks(source, write(folder, text))
    found = caught.value.problem
    assert re.search(told, found), found
    assert caught.value.next_step
