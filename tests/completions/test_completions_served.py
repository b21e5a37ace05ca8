"""`topwork serve` of a language model: a bundle, with and without worker processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from commands import Desk
from served import serving
from tiny_writers import write_tiny_writer
from topwork import FitOptions, Surroundings, Writer, fit_writer
from topwork.progress import Quiet

PROMPTS = [f"{'the ' * n}cat" for n in range(1, 9)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Writer:
    folder = tmp_path_factory.mktemp("served")
    texts = [f"the cat sat on mat {n}. then they went to the end." for n in range(40)]
    (folder / "stories.jsonl").write_text("\n".join(json.dumps({"text": one}) for one in texts))
    trunk = write_tiny_writer(folder / "tiny")
    around = Surroundings(cache_dir=folder / "cache", progress=Quiet(), n_cores=1)
    options = FitOptions(recipe_settings={"length": 64, "epochs": 1, "batch": 4})
    return fit_writer(
        folder / "stories.jsonl", folder / "cat.topwork", trunk=str(trunk), options=options, around=around
    )


def streamed(url: str, prompt: str) -> str:
    asked = {"prompt": prompt, "max_tokens": 20, "temperature": 0, "stream": True}
    with httpx.stream("POST", f"{url}/v1/completions", json=asked, timeout=60) as response:
        assert response.status_code == 200, response.read()
        events = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    assert events[-1] == "[DONE]"
    return "".join(json.loads(one)["choices"][0]["text"] for one in events[:-1])


def settings(model: Writer, folder: Path, **further: Any) -> Path:
    path = folder / "topwork.yaml"
    path.write_text(json.dumps({"models": [{"bundle": str(model.path), **further}]}), encoding="utf-8")
    return path


@pytest.fixture(params=["here", "worker processes"])
def url(request: pytest.FixtureRequest, model: Writer, tmp_path: Path) -> Iterator[str]:
    desk = Desk(tmp_path, tmp_path / "cache")
    replicas = {"min_replicas": 2, "max_replicas": 2, "init_replicas": 2}
    further = {"replicas": replicas} if request.param == "worker processes" else {}
    with serving(desk, "--config", str(settings(model, tmp_path, **further))) as (_, url):
        yield url


def test_it_writes_what_the_model_writes(url: str, model: Writer) -> None:
    def alone(prompt: str) -> str:
        return model.generate(prompt, length=20, temperature=0, include_prefix=False)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda one: streamed(url, one), PROMPTS)) == list(map(alone, PROMPTS))
    about = httpx.get(f"{url}/v1/models/cat").json()["about"]
    assert about["writes"]["window"] == 512
    assert about["engine"]["name"] == "openvino"


def test_it_answers_as_any_model_does(url: str, model: Writer) -> None:
    found = httpx.post(f"{url}/predict", json={"inputs": ["the cat", ""]}, timeout=60).json()
    assert [set(one) for one in found["predictions"]] == [
        {"text", "ending", "n_prompt_tokens", "n_tokens", "tokens"}
    ] * 2
