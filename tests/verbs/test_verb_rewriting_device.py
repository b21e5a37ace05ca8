"""Where a language model is fine-tuned: on a GPU it comes out the same again, and answers on the processor."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tiny_writers import write_tiny_writer
from topwork import FitOptions, Surroundings, UsageError, Writer, fit_writer, writer
from topwork.progress import Quiet

LINE = "the cat sat on the mat and slept. "


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Surroundings:
    return Surroundings(
        cache_dir=tmp_path_factory.mktemp("cache"), progress=Quiet(), n_cores=1, device="cuda"
    )


def fitted(folder: Path, around: Surroundings, name: str = "a") -> Writer:
    folder.mkdir(exist_ok=True)
    trunk = write_tiny_writer(folder / "tiny")
    (folder / "lines.jsonl").write_text("\n".join(json.dumps({"text": LINE * 3}) for _ in range(30)))
    options = FitOptions(recipe_settings={"length": 64, "batch": 4, "rate": 1e-2}, proof="none", steps=20)
    out = folder / f"{name}.topwork"
    return fit_writer(folder / "lines.jsonl", out, trunk=str(trunk), options=options, around=around)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told(tmp_path: Path, around: Surroundings) -> None:
    with pytest.raises(UsageError, match="sees no GPU"):
        fitted(tmp_path, around)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_to_write_on_that_is_not_there_is_told(tmp_path: Path, around: Surroundings) -> None:
    with pytest.raises(UsageError, match="sees no GPU"):
        writer(write_tiny_writer(tmp_path / "tiny"), around=around)


@pytest.mark.gpu
def test_a_fit_on_a_gpu_is_better_comes_out_the_same_again_and_answers_on_both(
    tmp_path: Path, around: Surroundings
) -> None:
    first, second = (fitted(tmp_path, around, name) for name in "ab")
    assert first.record.settings["device"] == "cuda"
    told = first.record.targets["text"]
    assert told.comparisons[0].difference["perplexity"].high < 0
    weights = [dict(one.bundle.graph().weights) for one in (first, second) if one.bundle is not None]
    assert all((value == weights[1][name]).all() for name, value in weights[0].items())
    on_processor = replace(around, device="auto")
    text = writer(first.path, around=on_processor).generate("the cat", length=12, temperature=0)
    assert text == writer(second.path, around=on_processor).generate("the cat", length=12, temperature=0)
    exact = writer(first.path, precision="fp32", around=on_processor)
    on_gpu = writer(first.path, precision="fp32", around=around)
    texts = [one.generate("the cat", length=12, temperature=0) for one in (exact, on_gpu)]
    assert texts[0] == texts[1]
