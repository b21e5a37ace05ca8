"""`fit_writer`: a language model is fine-tuned on texts, proven, and put into a bundle."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiny_writers import GPT2, write_tiny_writer
from told import Told
from topwork import (
    BundleError,
    DataError,
    FitOptions,
    ProofError,
    Surroundings,
    UsageError,
    WeightsError,
    Writer,
    estimate_writer,
    export,
    export_writer,
    fit_writer,
    load,
    writer,
)
from topwork.bundle.contents import open_bundle
from topwork.bundle.writing import prove_writing, vocabulary_of
from topwork.contracts import Sampling
from topwork.engines.paged import PagedEngine
from topwork.progress import Quiet
from topwork.verbs.handing_on import hand_on

LINES = ("the cat sat on the mat. ", "then they went to the end. ", "the other one ran home. ")
SETTINGS = {"length": 128, "epochs": 8, "batch": 4, "rate": 1e-2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("writing")


@pytest.fixture(scope="module")
def stories(folder: Path) -> Path:
    draw = np.random.default_rng(0)
    texts = ["".join(LINES[i] for i in draw.integers(0, 3, 5)) for _ in range(50)]
    (folder / "stories.jsonl").write_text("\n".join(json.dumps({"text": one}) for one in texts))
    return folder / "stories.jsonl"


def fitted(stories: Path, out: Path | None, **further: object) -> Writer:
    trunk = write_tiny_writer(stories.parent / "tiny")
    around = Surroundings(cache_dir=stories.parent / "cache", progress=Quiet(), n_cores=1)
    options = FitOptions(recipe_settings=SETTINGS)
    given = {"trunk": str(trunk), "budget": None, "options": options, "around": around, **further}
    return fit_writer(stories, out, **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def model(stories: Path, folder: Path) -> Writer:
    return fitted(stories, folder / "out.topwork")


def test_texts_become_likelier_and_the_record_says_by_how_much(model: Writer) -> None:
    record = model.record
    (target,) = record.targets.values()
    base, ngrams = target.comparisons
    assert (base.name, ngrams.name) == ("base model", "n-gram model")
    assert base.difference["perplexity"].high < 0
    own = target.test["perplexity"]
    assert own.value < 0.7 * base.metrics["perplexity"].value
    assert own.low <= own.value <= own.high
    assert own.value - base.metrics["perplexity"].value == pytest.approx(base.difference["perplexity"].value)
    assert [(rung.name, rung.chosen) for rung in record.rungs] == [("base", False), ("lora", True)]
    split = record.split
    assert split.n_train + split.n_valid + split.n_test == 50
    assert min(split.n_valid, split.n_test) >= 5
    assert "tokens" in record.data.findings[0]
    assert [section.title for section in record.sections] == ["What it writes"]


def test_the_bundle_writes_what_the_model_writes(model: Writer, folder: Path) -> None:
    again = writer(folder / "out.topwork", around=model.around)
    text = model.generate("the", length=20, temperature=0)
    assert again.generate("the", length=20, temperature=0) == text
    assert (folder / "out.report.html").is_file()
    assert again.record.name == "out"


def test_the_weights_are_those_of_transformers(model: Writer, folder: Path) -> None:
    """A network of the library with the bundle's weights costs the test as much as the record says."""
    import torch

    from tiny_writers import tiny_writer

    bundle = open_bundle(folder / "out.topwork")
    network = tiny_writer({**json.loads((folder / "tiny" / "config.json").read_text())})
    weights = {name: torch.from_numpy(np.array(value)) for name, value in bundle.graph().weights.items()}
    assert not network.load_state_dict(weights, strict=False).unexpected_keys
    network.tie_weights()
    golden = bundle.goldens()[0]
    tokens = torch.from_numpy(golden.tensor)
    with torch.inference_mode():
        found = (
            network(tokens[None]).logits[0, :-1].log_softmax(-1)[torch.arange(len(tokens) - 1), tokens[1:]]
        )
    assert np.abs(found.numpy() - golden.outputs["scores"]).max() < 1e-3


def test_another_network_fails_the_proof(folder: Path, model: Writer) -> None:
    bundle = open_bundle(folder / "out.topwork")
    graph = bundle.graph()
    prove_writing(bundle, vocabulary_of(bundle), PagedEngine(graph, n_threads=1, cache_bytes=1))
    weights = {**graph.weights, "model.norm.weight": graph.weights["model.norm.weight"] * 1.05}
    graph = replace(graph, weights=weights)
    with pytest.raises(ProofError, match="said with other probabilities"):
        prove_writing(bundle, vocabulary_of(bundle), PagedEngine(graph, n_threads=1, cache_bytes=1))


def test_a_bundle_that_writes_answers_nothing(model: Writer, folder: Path) -> None:
    with pytest.raises(BundleError, match="holds a language model") as caught:
        load(folder / "out.topwork")
    assert "topwork generate" in str(caught.value.next_step)


def test_all_weights_may_be_trained(stories: Path) -> None:
    found = fitted(stories, None, recipe="full")
    assert [rung.name for rung in found.record.rungs] == ["base", "full"]
    assert found.record.rungs[1].trained_share == 1.0
    assert found.path.is_file()


def test_gpt2_is_adapted_too(stories: Path, tmp_path: Path) -> None:
    trunk = write_tiny_writer(tmp_path / "gpt2", GPT2)
    found = fitted(stories, tmp_path / "out.topwork", trunk=str(trunk))
    assert found.record.rungs[1].chosen


def test_without_time_the_model_stays_as_it_is(stories: Path, tmp_path: Path) -> None:
    found = fitted(stories, tmp_path / "out.topwork", budget=0.001)
    [rung] = found.record.rungs
    assert (rung.name, rung.chosen, rung.notes) == (
        "base",
        True,
        ("there was no time to train: give a longer --budget",),
    )
    base = found.record.targets["text"].comparisons[0]
    assert base.difference["perplexity"].value == 0


def test_the_same_seed_gives_the_same_model(stories: Path, tmp_path: Path, model: Writer) -> None:
    again = fitted(stories, tmp_path / "again.topwork")
    theirs = open_bundle(model.path).graph().weights
    for name, value in open_bundle(again.path).graph().weights.items():
        assert np.array_equal(value, theirs[name]), name


class KilledError(Exception):
    """Stands for a signal that no program survives."""


@dataclass
class KillsAfter:
    """A progress that kills the fit when so many examples have been trained on."""

    n: int

    def say(self, line: str) -> None:
        """Show nothing."""

    @contextmanager
    def track(self, title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        def advance(n: int) -> None:
            if title.startswith("Training"):
                self.n -= n
                if self.n <= 0:
                    raise KilledError

        yield advance


def test_a_fit_that_is_killed_goes_on_to_the_same_model(stories: Path, tmp_path: Path, model: Writer) -> None:
    around = replace(model.around, progress=KillsAfter(70))
    with pytest.raises(KilledError):
        fitted(stories, tmp_path / "out.topwork", around=around)
    assert (tmp_path / "out.unfinished" / "state.safetensors").is_file()
    options = FitOptions(recipe_settings=SETTINGS, resume=True)
    n_before = len(model.record.rungs)
    again = fitted(stories, tmp_path / "out.topwork", options=options)
    assert len(again.record.rungs) == n_before
    theirs = open_bundle(model.path).graph().weights
    for name, value in open_bundle(again.path).graph().weights.items():
        assert np.array_equal(value, theirs[name]), name
    assert not (tmp_path / "out.unfinished").exists()


def test_another_fit_is_not_gone_on_with(stories: Path, tmp_path: Path, model: Writer) -> None:
    with pytest.raises(KilledError):
        fitted(stories, tmp_path / "out.topwork", around=replace(model.around, progress=KillsAfter(70)))
    other = FitOptions(recipe_settings={**SETTINGS, "rank": 8}, resume=True)
    with pytest.raises(UsageError, match="was another one: data was"):
        fitted(stories, tmp_path / "out.topwork", options=other)
    with pytest.raises(UsageError, match="There is no unfinished fit"):
        fitted(stories, tmp_path / "none.topwork", options=other)


@pytest.mark.parametrize(
    ("further", "problem"),
    [
        ({"recipe": "ladder"}, "no recipe 'ladder' for texts"),
        ({"options": FitOptions(recipe_settings={"speed": 3})}, "has no setting 'speed'"),
        ({"options": FitOptions(recipe_settings={"length": 2})}, "length is 2; expected 8 or more"),
    ],
)
def test_what_makes_no_sense_is_refused(further: dict[str, object], problem: str, stories: Path) -> None:
    with pytest.raises(UsageError, match=problem):
        fitted(stories, None, **further)


def test_a_writer_that_was_not_fitted_has_no_record(stories: Path) -> None:
    bare = writer(
        stories.parent / "tiny", around=Surroundings(cache_dir=stories.parent / "cache", progress=Quiet())
    )
    with pytest.raises(UsageError, match="was not fitted here"):
        _ = bare.record


def test_what_was_fitted_is_handed_on_to_transformers(model: Writer, folder: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = export_writer(folder / "out.topwork", tmp_path / "theirs")
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(found.files)
    assert found.largest_difference < 1e-4
    network: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "theirs")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "theirs")
    tokens = tokenizer("the cat", return_tensors="pt")
    written = network.generate(**tokens, max_new_tokens=12, do_sample=False, pad_token_id=0)
    exact = writer(folder / "out.topwork", precision="fp32", around=model.around)
    (own,) = exact.passages("the cat", length=12, sampling=Sampling(temperature=0))
    assert written[0, tokens["input_ids"].shape[1] :].tolist()[: len(own.tokens)] == list(own.tokens)
    with pytest.raises(UsageError, match="there already"):
        export_writer(folder / "out.topwork", tmp_path / "theirs")
    with pytest.raises(UsageError, match="does not go as one ONNX file"):
        export(folder / "out.topwork", tmp_path / "other.onnx")
    assert not (tmp_path / "other.onnx").exists()


def test_a_folder_that_says_otherwise_is_not_left_behind(folder: Path, tmp_path: Path) -> None:
    bundle = open_bundle(folder / "out.topwork")
    (first, *others) = bundle.goldens()
    off = replace(first, outputs={name: value - 0.5 for name, value in first.outputs.items()})

    @dataclass(frozen=True)
    class Other:
        path: Path = bundle.path
        manifest = bundle.manifest

        def goldens(self) -> tuple[object, ...]:
            return (off, *others)

        def graph(self) -> object:
            return bundle.graph()

    with pytest.raises(ProofError, match=r"0\.5 nats off"):
        hand_on(Other(), tmp_path / "theirs")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_texts_are_written_by_what_other_columns_say(folder: Path, suffix: str) -> None:
    kinds = {"animal": LINES[0], "travel": LINES[1]}
    rows = [
        {"kind": kind, "mood": "calm" if i % 2 else "", "body": kinds[kind] * 3}
        for i in range(20)
        for kind in kinds
    ]
    data = folder / f"kinds.{suffix}"
    if suffix == "jsonl":
        data.write_text("\n".join(map(json.dumps, rows)))
    else:
        data.write_text("kind,mood,body\n" + "\n".join(f"{r['kind']},{r['mood']},{r['body']}" for r in rows))
    options = FitOptions(recipe_settings=SETTINGS, input="kind,mood,body", proof="none")
    found = fitted(data, folder / f"kinds-{suffix}.topwork", options=options)
    assert found.vocabulary.columns == ("kind", "mood", "body")
    again = writer(folder / f"kinds-{suffix}.topwork", around=found.around)
    written = {
        kind: again.generate(given={"kind": kind}, length=40, temperature=0, include_prefix=False)
        for kind in kinds
    }
    assert written["animal"] != written["travel"]
    assert again.beginning({"kind": "animal", "mood": "calm"}) == "kind: animal\nmood: calm\nbody:\n"
    with pytest.raises(UsageError, match="it is given kind, mood"):
        again.generate(given={"colour": "red"})


def test_a_column_that_is_missing_is_told(folder: Path) -> None:
    (folder / "few.csv").write_text("kind,body\na,b\n")
    for asked, said in (
        ("kind,title,body", "has no column 'title'"),
        ("kind,kind,body", "give a column twice"),
    ):
        with pytest.raises(DataError, match=said):
            fitted(folder / "few.csv", folder / "few.topwork", options=FitOptions(input=asked))


def test_what_it_would_take_is_told_beforehand(stories: Path, folder: Path) -> None:
    around = Surroundings(cache_dir=folder / "cache", progress=Quiet(), n_cores=1)
    trunk = str(write_tiny_writer(folder / "tiny"))
    options = FitOptions(recipe_settings=SETTINGS)
    found = estimate_writer(stories, trunk=trunk, options=options, around=around)
    assert found.n_rows == 50
    assert [(one.name, one.unit) for one in found.forecasts] == [
        ("base", "seconds"),
        ("lora", "seconds"),
        ("lora", "bytes"),
    ]
    base, lora, memory = found.forecasts
    assert 0 < base.low < lora.low < lora.high < 300
    assert memory.high > 1e8
    assert "tokens are to be learned; 8 times each" in found.notes[0]
    short = estimate_writer(
        stories, trunk=trunk, budget="10s", options=replace(options, steps=10**6), around=around
    )
    assert "The budget has time for 0% of the steps" in short.notes[0]


def test_it_shows_what_it_writes_while_it_learns(stories: Path, folder: Path) -> None:
    heard = Told()
    around = Surroundings(cache_dir=folder / "cache", progress=heard, n_cores=1)
    options = FitOptions(recipe_settings={**SETTINGS, "epochs": 2}, proof="none")
    fitted(stories, folder / "heard.topwork", around=around, options=options)
    written = [one for one in heard.lines if one.startswith("It writes: ")]
    assert len(written) >= 3
    assert len(set(written)) > 1


@pytest.mark.parametrize("recipe", ["lora", "full"])
def test_the_adapter_alone_is_kept_where_that_is_asked_for(stories: Path, folder: Path, recipe: str) -> None:
    options = FitOptions(
        recipe_settings=SETTINGS if recipe == "lora" else {**SETTINGS, "rate": 1e-3}, proof="none"
    )
    whole = fitted(stories, folder / f"whole-{recipe}.topwork", recipe=recipe, options=options)
    alone = replace(options, adapter_only=True)
    fitted(stories, folder / f"alone-{recipe}.topwork", recipe=recipe, options=alone)
    again = writer(folder / f"alone-{recipe}.topwork", around=whole.around)
    assert again.generate("the cat", length=20, temperature=0) == whole.generate(
        "the cat", length=20, temperature=0
    )
    if recipe == "lora":
        sizes = [(folder / f"{name}-lora.topwork").stat().st_size for name in ("whole", "alone")]
        assert sizes[1] < 0.7 * sizes[0]
    manifest = open_bundle(folder / f"alone-{recipe}.topwork").manifest
    assert manifest.base is not None
    assert manifest.base.name == "tiny"


def test_an_adapter_says_which_base_it_lacks(stories: Path, folder: Path, tmp_path: Path) -> None:
    options = FitOptions(recipe_settings=SETTINGS, proof="none", adapter_only=True)
    fitted(stories, folder / "moved.topwork", options=options)
    moved = tmp_path / "moved.topwork"
    moved.write_bytes((folder / "moved.topwork").read_bytes())
    with pytest.raises(WeightsError, match="holds an adapter alone, and its base 'tiny'"):
        writer(moved)
    write_tiny_writer(tmp_path / "tiny", GPT2)
    with pytest.raises(WeightsError, match="made on 'tiny'"):
        writer(moved)
