"""The real client of the OpenAI API, and a published tool that is built on it, against a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fake_servable import TEXT, FakeServable
from local_server import serving
from tiny_writers import write_tiny_writer
from topwork import Surroundings
from topwork.completions import speak
from topwork.contracts import Answer, Servable
from topwork.engines.scribe import Scribe
from topwork.progress import Quiet
from topwork.serving.app import Application
from topwork.serving.hosting import Hosted
from topwork.serving.limits import Limits
from topwork.steps.served_writing import ServedWriter
from topwork.steps.writers import engine_on, graph_of
from topwork.trunks import resolve_writer

TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
ARTICLE = {"type": "object", "properties": {"the": {"type": "integer"}}, "required": ["the"]}


class Embedding(FakeServable):
    """Answers a text with three numbers."""

    @property
    def answer_schema(self) -> Any:
        return {"type": "object", "properties": {"embedding": {}}, "required": ["embedding"]}

    def _answers(self, index: int, given: bytes) -> Iterator[Answer]:
        yield Answer(index, {"embedding": [1.0, len(given), 0.5], "tokens": len(given) + 1})


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ServedWriter:
    config = json.dumps({"chat_template": TEMPLATE})
    folder = write_tiny_writer(tmp_path_factory.mktemp("writer") / "tiny")
    (folder / "tokenizer_config.json").write_text(config, encoding="utf-8")
    around = Surroundings(cache_dir=folder / "cache", progress=Quiet(), n_cores=1)
    model = resolve_writer(str(folder), {})
    engine = engine_on(graph_of(model, around), "fp32", around)
    return ServedWriter("tiny", model.vocabulary(), Scribe(engine))


@pytest.fixture(scope="module")
def app(tiny: ServedWriter) -> Application:
    limits = Limits(max_inputs=16)
    models: list[Servable] = [tiny, Embedding("vectors", TEXT), FakeServable("labels", TEXT)]
    return Application([Hosted(one, limits) for one in models], limits, dialects=[speak])


@pytest.fixture(scope="module")
def url(app: Application) -> Iterator[str]:
    with serving(app) as url:
        yield url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Any]:
    import openai

    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def expected(tiny: ServedWriter, prompt: str, n: int) -> str:
    """Return what it writes by itself, nothing else being asked."""
    from topwork.verbs.writing import Writer

    writer = Writer("tiny", tiny._vocabulary, tiny.engine)
    return writer.generate(prompt, length=n, temperature=0, include_prefix=False)


def test_models_are_listed_as_the_client_reads_them(client: Any) -> None:
    assert [one.id for one in client.models.list()] == ["tiny", "vectors", "labels"]
    found = client.models.retrieve("tiny")
    assert (found.id, found.object, found.owned_by) == ("tiny", "model", "topwork")


def test_a_completion_is_what_the_model_writes_alone(client: Any, tiny: ServedWriter) -> None:
    found = client.completions.create(model="tiny", prompt="the end", max_tokens=12, temperature=0)
    assert found.choices[0].text == expected(tiny, "the end", 12)
    assert found.choices[0].finish_reason == "length"
    assert (found.usage.prompt_tokens, found.usage.completion_tokens, found.usage.total_tokens) == (5, 12, 17)


def test_it_is_sixteen_tokens_long_where_nothing_is_said(client: Any) -> None:
    found = client.completions.create(model="tiny", prompt="the end", temperature=0)
    assert found.usage.completion_tokens == 16


def test_a_stream_comes_in_pieces_that_make_the_same_text(client: Any, tiny: ServedWriter) -> None:
    stream = client.completions.create(
        model="tiny",
        prompt="the end",
        max_tokens=12,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    texts = [one.choices[0].text for one in chunks if one.choices]
    assert "".join(texts) == expected(tiny, "the end", 12)
    assert sum(bool(text) for text in texts) > 3
    assert [one.choices[0].finish_reason for one in chunks if one.choices][-1] == "length"
    assert chunks[-1].usage.total_tokens == 17
    assert len({one.id for one in chunks}) == 1


def test_several_prompts_have_several_choices_each(client: Any) -> None:
    asked = {"model": "tiny", "prompt": ["the", "end"], "n": 2, "max_tokens": 8, "temperature": 2, "seed": 5}
    texts = [one.text for one in client.completions.create(**asked).choices]
    assert [one.text for one in client.completions.create(**asked).choices] == texts
    assert len(set(texts)) == 4
    alone = client.completions.create(**{**asked, "prompt": "end"})
    assert [one.text for one in alone.choices] == texts[2:]
    assert alone.usage.prompt_tokens == 3


def test_tokens_stand_for_a_prompt(client: Any, tiny: ServedWriter) -> None:
    tokens = tiny._vocabulary.opening("the end")
    found = client.completions.create(model="tiny", prompt=tokens, max_tokens=6, temperature=0)
    assert found.choices[0].text == expected(tiny, "the end", 6)


def test_words_to_stop_at_are_no_part_of_it(client: Any, tiny: ServedWriter) -> None:
    whole = expected(tiny, "the end", 30)
    stop = whole[5:8]
    for streams in (False, True):
        asked = {
            "model": "tiny",
            "prompt": "the end",
            "max_tokens": 30,
            "temperature": 0,
            "stop": [stop, "zzz"],
        }
        found = client.completions.create(**asked, stream=streams)
        choices = [one.choices[0] for one in found] if streams else found.choices
        assert "".join(one.text for one in choices) == whole[: whole.index(stop)]
        assert choices[-1].finish_reason == "stop"


def test_the_prompt_is_echoed(client: Any, tiny: ServedWriter) -> None:
    found = client.completions.create(model="tiny", prompt="the end", max_tokens=4, temperature=0, echo=True)
    assert found.choices[0].text == "the end" + expected(tiny, "the end", 4)


def test_a_text_is_scored_by_echoing_it(client: Any, tiny: ServedWriter) -> None:
    """What harnesses of evaluation ask: the log probabilities of a prompt, and nothing beyond it."""
    words = tiny._vocabulary.encode("the end of the test")
    with tiny.scribe.alone():
        truth = tiny.engine.said(words)
    for prompt in ("the end of the test", words):
        found = client.completions.create(model="tiny", prompt=prompt, max_tokens=0, echo=True, logprobs=1)
        (choice,) = found.choices
        assert (choice.text, choice.finish_reason) == ("the end of the test", "length")
        assert "".join(choice.logprobs.tokens) == choice.text
        assert choice.logprobs.token_logprobs[0] is choice.logprobs.top_logprobs[0] is None
        assert choice.logprobs.token_logprobs[1:] == pytest.approx(truth, abs=1e-4)
        assert choice.logprobs.text_offset[:3] == [
            0,
            len(choice.logprobs.tokens[0]),
            *choice.logprobs.text_offset[2:3],
        ]
        assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (len(words), 0)
    longer = client.completions.create(
        model="tiny", prompt="the end", max_tokens=3, temperature=0, echo=True, logprobs=1
    ).choices[0]
    assert longer.text == "the end" + expected(tiny, "the end", 3)
    assert len(longer.logprobs.tokens) == 5 + 3
    streamed = [
        one.choices[0].logprobs.tokens
        for one in client.completions.create(
            model="tiny", prompt="the end", max_tokens=3, temperature=0, echo=True, logprobs=1, stream=True
        )
        if one.choices[0].logprobs
    ]
    assert [token for several in streamed for token in several] == longer.logprobs.tokens


def test_probabilities_are_told_token_by_token(client: Any, tiny: ServedWriter) -> None:
    asked = {"model": "tiny", "prompt": "the end", "max_tokens": 6, "temperature": 0}
    told = client.completions.create(**asked, logprobs=2).choices[0].logprobs
    assert len(told.tokens) == len(told.token_logprobs) == len(told.top_logprobs) == 6
    assert all(
        max(top.values()) == one for top, one in zip(told.top_logprobs, told.token_logprobs, strict=True)
    )
    assert all(1 <= len(top) <= 2 for top in told.top_logprobs)
    streamed = [
        one.choices[0].logprobs for one in client.completions.create(**asked, logprobs=2, stream=True)
    ]
    assert [token for one in streamed if one is not None for token in one.tokens] == told.tokens


def test_a_chat_is_put_into_the_template(client: Any, tiny: ServedWriter) -> None:
    messages = [{"role": "developer", "content": "Be brief."}, *chat("the end")]
    found = client.chat.completions.create(model="tiny", messages=messages, max_tokens=8, temperature=0)
    text = "system: Be brief.\nuser: the end\nassistant: "
    assert found.choices[0].message.content == expected(tiny, text, 8)
    assert found.choices[0].message.role == "assistant"


def test_parts_of_a_message_that_are_text_are_joined(client: Any) -> None:
    parts = [{"type": "text", "text": "the "}, {"type": "text", "text": "end"}]
    asked = {"model": "tiny", "max_tokens": 5, "temperature": 0}
    one = client.chat.completions.create(messages=[{"role": "user", "content": parts}], **asked)
    other = client.chat.completions.create(messages=chat("the end"), **asked)
    assert one.choices[0].message.content == other.choices[0].message.content


def test_a_chat_streams_role_text_and_end(client: Any) -> None:
    asked = {"model": "tiny", "messages": chat("the end"), "max_completion_tokens": 9, "temperature": 0}
    whole = client.chat.completions.create(**asked, logprobs=True, top_logprobs=3)
    chunks = [one.choices[0] for one in client.chat.completions.create(**asked, stream=True)]
    assert chunks[0].delta.role == "assistant"
    assert "".join(one.delta.content or "" for one in chunks) == whole.choices[0].message.content
    assert chunks[-1].finish_reason == "length"
    told = whole.choices[0].logprobs.content
    assert len(told) == 9
    assert all(one.top_logprobs[0].logprob == one.logprob for one in told)
    spelled = [bytes(one.bytes).decode() for one in told if one.bytes is not None]
    assert spelled == [one.token for one in told if one.bytes is not None]


def test_an_answer_keeps_to_a_schema(client: Any) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "article", "schema": ARTICLE}}
    for seed in range(5):
        found = client.chat.completions.create(
            model="tiny",
            messages=chat("the"),
            response_format=wanted,
            max_tokens=60,
            temperature=1.5,
            seed=seed,
            logit_bias={str(token): -100 for token in range(16, 26)} if seed else {},
        )
        text, ending = found.choices[0].message.content, found.choices[0].finish_reason
        if ending == "stop":
            assert set(json.loads(text)) >= {"the"}
        else:
            assert text.startswith('{"')


def test_any_object_may_be_asked_for(client: Any) -> None:
    found = client.chat.completions.create(
        model="tiny",
        messages=chat("the"),
        response_format={"type": "json_object"},
        max_tokens=4,
        temperature=0,
    )
    assert found.choices[0].message.content.startswith("{")


def test_a_bias_keeps_a_token_away(client: Any, tiny: ServedWriter) -> None:
    first = tiny._vocabulary.encode(expected(tiny, "the end", 1))[0]
    asked = {"model": "tiny", "prompt": "the end", "max_tokens": 1, "temperature": 0, "logprobs": 0}
    assert client.completions.create(**asked).choices[0].logprobs.tokens == [expected(tiny, "the end", 1)]
    found = client.completions.create(**asked, logit_bias={str(first): -100})
    assert found.choices[0].logprobs.tokens != [expected(tiny, "the end", 1)]


def test_penalties_keep_words_from_coming_again(client: Any) -> None:
    asked = {"model": "tiny", "prompt": "the end", "max_tokens": 40, "temperature": 0, "logprobs": 0}

    def n_different(**further: float) -> int:
        return len(set(client.completions.create(**asked, **further).choices[0].logprobs.tokens))

    assert n_different(frequency_penalty=2.0) >= n_different()
    assert n_different(presence_penalty=2.0) >= n_different()


def test_vectors_come_as_the_client_unpacks_them(client: Any) -> None:
    found = client.embeddings.create(model="vectors", input=["a", "four"])
    assert [one.embedding for one in found.data] == [[1.0, 1.0, 0.5], [1.0, 4.0, 0.5]]
    assert (found.usage.prompt_tokens, found.usage.total_tokens) == (7, 7)
    plain = client.embeddings.create(model="vectors", input="a", encoding_format="float", dimensions=3)
    assert plain.data[0].embedding == [1.0, 1.0, 0.5]


@pytest.mark.parametrize(
    ("asked", "status", "param", "said"),
    [
        ({"model": "none"}, 404, None, "There is no model 'none'"),
        ({"model": "labels"}, 400, "model", "writes no texts. Models that do: tiny"),
        ({"temperature": 3}, 400, "temperature", "temperature is 3; expected a number from 0 to 2"),
        ({"max_tokens": -1}, 400, "max_tokens", "expected a whole number"),
        ({"max_tokens": 5000}, 400, None, "there is room for 512"),
        ({"n": 17}, 400, "n", "expected a whole number from 1 to 16"),
        ({"prompt": ["a"] * 9, "n": 2}, 400, "n", "18 texts are asked for"),
        ({"prompt": []}, 400, "prompt", "expected a string, a list of strings"),
        ({"prompt": [1, 100_000]}, 400, None, "none of this model's"),
        ({"stop": ["", "a"]}, 400, "stop", "empty"),
        ({"suffix": "x"}, 400, "suffix", "do not fill in"),
        ({"max_tokens": 0}, 400, "max_tokens", "nothing to tell"),
        ({"seed": 1.5}, 400, "seed", "expected a whole number"),
        ({"extra_body": {"colour": "red"}}, 400, "colour", "There is no field 'colour'"),
    ],
)
def test_what_cannot_be_granted_is_told(
    client: Any, asked: dict[str, Any], status: int, param: str | None, said: str
) -> None:
    import openai

    with pytest.raises(openai.APIStatusError) as caught:
        client.completions.create(**{"model": "tiny", "prompt": "the end", **asked})
    assert caught.value.status_code == status
    assert said in caught.value.message
    assert caught.value.param == param
    assert caught.value.type == ("not_found_error" if status == 404 else "invalid_request_error")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"messages": []}, "expected a list of messages"),
        ({"messages": [{"role": "king", "content": "a"}]}, "expected system or developer"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "read text alone"),
        ({"tools": [{"type": "function"}]}, "call no tools"),
        ({"top_logprobs": 2}, "without logprobs"),
        ({"response_format": {"type": "json_schema"}}, "expected a JSON Schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "strin"}}}},
            "cannot be held to this JSON Schema: Invalid type: strin",
        ),
    ],
)
def test_what_a_chat_cannot_be_is_told(client: Any, asked: dict[str, Any], said: str) -> None:
    import openai

    with pytest.raises(openai.BadRequestError, match=said):
        client.chat.completions.create(**{"model": "tiny", "messages": chat("the end"), **asked})


def test_bodies_that_are_none_are_told(url: str) -> None:
    import httpx

    for content, kind, said in [
        (b"{", "application/json", "is not JSON"),
        (b"[1]", "application/json", "is a list; expected an object"),
        (b"{}", "application/json", "prompt is missing"),
        (b"{}", "text/plain", "expected application/json"),
    ]:
        found = httpx.post(f"{url}/v1/completions", content=content, headers={"content-type": kind})
        assert found.status_code == 400
        assert said in found.json()["error"]["message"]


def test_who_asks_in_a_crowd_gets_what_it_would_get_alone(client: Any, tiny: ServedWriter) -> None:
    prompts = [f"{'the ' * n}end" for n in range(1, 13)]
    alone = [expected(tiny, prompt, 25) for prompt in prompts]

    def ask(prompt: str) -> str:
        found = client.completions.create(model="tiny", prompt=prompt, max_tokens=25, temperature=0)
        text: str = found.choices[0].text
        return text

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(ask, prompts)) == alone


def test_who_leaves_is_no_longer_written_for(client: Any, app: Application) -> None:
    hosted = app.named("tiny")
    with client.completions.create(
        model="tiny", prompt="the", max_tokens=400, stream=True, temperature=2
    ) as stream:
        next(iter(stream))
        assert hosted.n_working == 1
    until = time.monotonic() + 5
    while hosted.n_working and time.monotonic() < until:
        time.sleep(0.01)
    assert hosted.n_working == 0


def test_tokens_and_the_time_to_the_first_are_counted(client: Any, url: str) -> None:
    import httpx

    def counted(name: str) -> float:
        lines = httpx.get(f"{url}/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    written = 'topwork_tokens_total{kind="written",model="tiny"}'
    before, streams = counted(written), counted("topwork_first_token_seconds_count")
    list(client.completions.create(model="tiny", prompt="the end", max_tokens=7, temperature=0, stream=True))
    client.completions.create(model="tiny", prompt="the end", max_tokens=7, temperature=0)
    assert counted(written) == before + 14
    assert counted("topwork_first_token_seconds_count") == streams + 1


def test_llm_a_published_tool_talks_to_it(url: str, tiny: ServedWriter, tmp_path: Path) -> None:
    (tmp_path / "extra-openai-models.yaml").write_text(
        f'- model_id: tiny\n  model_name: tiny\n  api_base: "{url}/v1"\n', encoding="utf-8"
    )
    for further in ([], ["--no-stream"]):
        words = ["-m", "tiny", "the end", "-o", "temperature", "0", "-o", "max_tokens", "9", *further]
        done = subprocess.run(
            [sys.executable, "-m", "llm", *words],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "LLM_USER_PATH": str(tmp_path), "OPENAI_API_KEY": "none"},
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.rstrip("\n") == expected(tiny, "user: the end\nassistant: ", 9).rstrip("\n")
