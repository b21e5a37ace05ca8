"""`topwork generate`: texts on standard output, in a file, as JSON; what makes no sense refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from commands import Told
from tiny_writers import write_tiny_writer

Command = Callable[..., Told]
GREEDY = ("--temperature", "0", "--precision", "fp32", "--length", "12")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_writer(tmp_path_factory.mktemp("writers") / "tiny")


def test_a_text_is_printed_with_what_it_begins_with_or_without(topwork: Command, tiny: Path) -> None:
    told = topwork("generate", tiny, "the end", *GREEDY)
    assert told.status == 0
    assert told.out.startswith("the end")
    assert len(told.out) > len("the end\n")
    assert topwork("generate", tiny, "the end", *GREEDY, "--no-prefix").out == told.out[len("the end") :]


def test_several_texts_are_parted_by_a_line(topwork: Command, tiny: Path) -> None:
    told = topwork("generate", tiny, "the", *GREEDY, "--samples", "2")
    one, other = told.out.rstrip("\n").split(f"\n{'=' * 20}\n")
    assert one == other
    assert one.startswith("the")


def test_json_tells_why_each_ended(topwork: Command, tiny: Path) -> None:
    told = topwork("generate", tiny, "the", *GREEDY, "--json")
    [found] = json.loads(told.out.splitlines()[-1])
    assert set(found) == {"text", "n_tokens", "ending"}
    assert found["ending"] in {"length", "stop"}
    assert 0 < found["n_tokens"] <= 12


def test_texts_go_into_a_file(topwork: Command, tiny: Path, tmp_path: Path) -> None:
    told = topwork("generate", tiny, "the", *GREEDY, "--samples", "2", "--out", tmp_path / "texts.txt")
    assert (told.status, told.out) == (0, "")
    assert "2 texts in" in told.err
    assert (tmp_path / "texts.txt").read_text("utf-8").count("=" * 20) == 2


def test_a_text_cannot_steer_the_terminal(topwork: Command, tiny: Path) -> None:
    told = topwork("generate", tiny, "a\x1b[2Jb\nc", *GREEDY)
    assert told.out.startswith("a\\x1b[2Jb\nc")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--temperature", "-1"), "temperature is -1.0; expected 0 or more"),
        (("--top-p", "2"), "top_p is 2.0; expected 0 to 1"),
        (("--length", "600"), "sees 512"),
    ],
)
def test_what_makes_no_sense_is_refused(
    words: tuple[str, ...], problem: str, topwork: Command, tiny: Path
) -> None:
    told = topwork("generate", tiny, "the", *words)
    assert told.status == 1
    assert problem in told.err


def test_a_model_that_is_none_is_refused(topwork: Command) -> None:
    told = topwork("generate", "smollm", "the")
    assert told.status == 1
    assert "Did you mean smollm2-135m?" in told.err


# --- texts to write like ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stories") / "stories.txt"
    path.write_text("".join(f"Then the cat number {i} ran home to the end.\n" for i in range(600)))
    return path


FEW = ("--set", "length=128", "--steps", "3", "--proof", "none")


def test_a_text_file_is_something_to_write_like(topwork: Command, tiny: Path, stories: Path) -> None:
    told = topwork("fit", stories, "--trunk", tiny, *FEW)
    assert told.status == 0, told.err
    assert "text: writing, measured on" in told.out
    assert "perplexity" in told.out
    assert "base model" in told.out
    assert "lora" in told.out
    assert 'topwork generate stories.topwork "A BEGINNING"' in told.err
    assert Path("stories.report.html").is_file()
    written = topwork("generate", "stories.topwork", "Then the", *GREEDY)
    assert written.status == 0
    assert written.out.startswith("Then the")
    refused = topwork("predict", "stories.topwork", "-")
    assert refused.status == 1
    assert "holds a language model" in refused.err


def test_a_prompt_that_does_not_end_as_those_of_the_fit_is_told_of(topwork: Command, tiny: Path) -> None:
    rows = [{"prompt": f"the {i}? ->", "completion": f" {i + 1}"} for i in range(40)]
    rows.append(rows[0])
    Path("sums.jsonl").write_text("\n".join(map(json.dumps, rows)))
    told = topwork("fit", "sums.jsonl", "--trunk", tiny, *FEW)
    assert told.status == 0, told.err
    assert "topwork generate sums.topwork $'… ->'" in told.err
    assert "topwork data check sums.jsonl --mend FILE.jsonl" in Path("sums.report.html").read_text()
    odd = topwork("generate", "sums.topwork", "the 3?", *GREEDY)
    assert "Note: prompts ended in ' ->' when this model was fitted, and this one does not." in odd.err
    for prompt in ("the 3? ->", ""):
        assert "Note: prompts" not in topwork("generate", "sums.topwork", prompt, *GREEDY).err


def test_what_looks_like_labelled_data_is_told_apart_by_the_task(
    topwork: Command, tiny: Path, stories: Path, tmp_path: Path
) -> None:
    lines = stories.read_text().splitlines()
    (tmp_path / "rows.csv").write_text("id,tale\n" + "\n".join(f"{i},{one}" for i, one in enumerate(lines)))
    words = ("fit", "rows.csv", "--task", "writing", "--trunk", tiny, *FEW)
    assert "which of them holds the texts" in topwork(*words).err
    told = topwork(*words, "--input", "tale", "--json")
    assert told.status == 0, told.err
    assert told.json["targets"]["text"]["test"]["perplexity"]["value"] > 1


def test_texts_are_checked_before_anything_is_trained(
    topwork: Command, stories: Path, tmp_path: Path
) -> None:
    told = topwork("data", "check", stories)
    assert told.status == 0
    assert "1 text, " in told.out
    assert "texts to learn from" in told.out
    found = topwork("data", "check", stories, "--json").json
    assert found["n_texts"] == 1
    assert found["n_tokens"] > 5000
    assert found["findings"][0]["kind"] == "recommended"
    (tmp_path / "tiny.txt").write_text("One")
    refused = topwork("data", "check", "tiny.txt")
    assert refused.status == 1
    assert "A fit would refuse these data: There is too little text" in refused.out


def test_a_bundle_that_answers_writes_nothing(topwork: Command, bundle: Path) -> None:
    told = topwork("generate", bundle, "the")
    assert told.status == 1
    assert "it writes nothing" in told.err
    assert "topwork predict" in told.err


def test_texts_have_recipes_of_their_own(topwork: Command, stories: Path, tiny: Path) -> None:
    told = topwork("fit", stories, "--trunk", tiny, "--recipe", "probe")
    assert told.status == 1
    assert "There is no recipe 'probe' for texts to write like" in told.err
    assert "Give one of lora, full" in told.err
