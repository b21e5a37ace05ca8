"""Schemathesis finds nothing in the OpenAI API of a server: what its description allows is accepted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exploring import schemathesis
from fake_servable import TEXT, FakeServable
from local_server import serving
from topwork.completions import speak
from topwork.contracts import Answer, Json, Servable
from topwork.inputs.orders import read_order
from topwork.serving.app import Application
from topwork.serving.hosting import Hosted
from topwork.serving.limits import Limits
from topwork.steps.served_writing import SCHEMA


class Echo(FakeServable):
    """Goes on with a text by saying it again, letter by letter where that is asked for."""

    @property
    def answer_schema(self) -> Any:
        return SCHEMA

    def _answers(self, index: int, given: bytes) -> Iterator[Answer]:
        order = read_order(given)
        text = order.prompt or "again"
        for place, letter in enumerate(text if order.every_s == 0 else [text], start=1):
            is_last = order.every_s != 0 or place == len(text)
            value: dict[str, Json] = {
                "text": letter,
                "ending": "stop" if is_last else None,
                "n_prompt_tokens": 1,
                "n_tokens": place,
                "tokens": [],
            }
            yield Answer(index, value, last=is_last)


class Vectors(FakeServable):
    """Answers a text with three numbers."""

    @property
    def answer_schema(self) -> Any:
        return {
            "type": "object",
            "properties": {"embedding": {"type": "array", "items": {"type": "number"}}},
            "required": ["embedding"],
            "additionalProperties": False,
        }

    def _answers(self, index: int, given: bytes) -> Iterator[Answer]:
        yield Answer(index, {"embedding": [1.0, len(given), 0.5]})


def explored(folder: Path, n_examples: int) -> Any:
    limits = Limits(max_waiting=1000)
    models: list[Servable] = [Echo("echo", TEXT), Vectors("vectors", TEXT)]
    app = Application([Hosted(one, limits) for one in models], limits, dialects=[speak])
    with serving(app) as url:
        paths = "/v1/(completions|chat|embeddings)"
        # That `dimensions` must be those of the model, that n texts for each prompt are not too many, and that an echo
        # goes without probabilities, no schema says.
        options = ("--include-path-regex", paths, "--exclude-checks", "positive_data_acceptance")
        return schemathesis(url, folder, "--max-examples", str(n_examples), *options)


@pytest.mark.slow
def test_it_finds_nothing(tmp_path: Path) -> None:
    done = explored(tmp_path, 60)
    assert done.returncode == 0, done.stdout
    assert "Tested: 3\n" in done.stdout


def test_it_finds_nothing_at_a_glance(tmp_path: Path) -> None:
    done = explored(tmp_path, 4)
    assert done.returncode == 0, done.stdout
    assert "Tested: 3\n" in done.stdout
