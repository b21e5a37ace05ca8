"""`topwork data check --mend`: what it prints, what it writes, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from commands import Told

Command = Callable[..., Told]


@pytest.fixture
def messy(tmp_path: Path) -> str:
    rows = [(f"What is {i}?{' ->' if i % 4 else ''}", f" {i + 100} Ã©") for i in range(24)]
    rows += [rows[3], ("Say yes ->", " yes"), ("empty", "")]
    lines = (json.dumps({"prompt": a, "completion": b}) for a, b in rows)
    (tmp_path / "a messy.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return "a messy.jsonl"


def test_what_can_be_mended_is_offered_with_the_command_that_does_it(topwork: Command, messy: str) -> None:
    told = topwork("data", "check", messy)
    assert told.status == 0
    for name in ("letters", "separators", "duplicates"):
        assert f"  Can be mended: {name}\n" in told.out
    assert "  Can be mended on request: --also told\n" in told.out
    assert "  topwork data check 'a messy.jsonl' --mend 'a messy.mended.jsonl'\n" in told.err
    assert "as it is: letters, duplicates, separators\n" in told.err
    assert "leaves such texts out, too: told\n" in told.err
    Path("a messy.mended.jsonl").touch()
    assert "--mend 'a messy.mended-2.jsonl'" in topwork("data", "check", messy).err


def test_a_copy_is_written_and_what_to_do_with_it_is_told(topwork: Command, messy: str) -> None:
    told = topwork("data", "check", messy, "--mend", "clean.jsonl")
    assert told.status == 0
    assert "Mended: Prompts do not end alike" in told.out
    assert "All end in ' ->' now; prompts that were changed: 6." in told.out
    assert "Mended: 1 text cannot be used: it has no completion to learn.\n" in told.out
    assert "Wrote clean.jsonl: 25 texts, " in told.out
    assert "Recommended: 1 completion stands word for word in the prompt." in told.out
    assert "  topwork fit clean.jsonl\n" in told.err
    assert "has to end as the prompts do now, in ' ->':" in told.err
    assert "  topwork generate clean.topwork $'… ->'\n" in told.err
    again = topwork("data", "check", "clean.jsonl")
    assert "Can be mended:" not in again.out
    assert "--mend clean.mended.jsonl --also told\n" in again.err
    last = topwork("data", "check", "clean.jsonl", "--mend", "last.jsonl", "--also", "told", "-q")
    assert "Wrote last.jsonl: 24 texts, " in last.out
    assert "told" not in topwork("data", "check", "last.jsonl").err


def test_json_tells_of_each_finding_whether_it_was_mended(topwork: Command, messy: str) -> None:
    found = topwork("data", "check", messy, "--json", "-q").json
    assert {one["name"]: one["mending"] for one in found["findings"]} == {
        "unusable": "offered",
        "letters": "offered",
        "told": "offered",
        "duplicates": "offered",
        "separators": "offered",
        "": "none",
    }
    assert "mended" not in found
    words = ("--mend", "clean.jsonl", "--leave", "letters", "--leave", "duplicates", "--json", "-q")
    found = topwork("data", "check", messy, *words).json
    assert {one["name"] for one in found["findings"] if one["mending"] == "done"} == {
        "unusable",
        "separators",
    }
    mended = found["mended"]
    assert (found["n_texts"], mended["n_texts"], mended["path"]) == (26, 26, "clean.jsonl")
    assert mended["prompt_ending"] == " ->"
    assert mended["counts"] == {"separators": 6, "blanks": 0}
    assert {one["name"] for one in mended["findings"]} == {"letters", "told", "duplicates", ""}


def test_a_copy_that_a_fit_would_refuse_is_told_by_the_status(topwork: Command) -> None:
    Path("a.csv").write_text("text\n" + "Same.\n" * 30)
    assert topwork("data", "check", "a.csv").status == 0
    told = topwork("data", "check", "a.csv", "--mend", "b.jsonl")
    assert told.status == 1
    assert "Each is kept once; left out: 29." in told.out
    assert "A fit would refuse these data: There is too little text" in told.out
    told = topwork("data", "check", "b.jsonl", "--mend", "c.jsonl")
    assert "Wrote c.jsonl: 1 text, " in told.out
    assert "There was nothing to mend." in told.out


def test_columns_are_named_again_for_the_fit(topwork: Command) -> None:
    Path("a.csv").write_text("genre,text\n" + "".join(f"sad,Story {i}.\n" for i in range(30)))
    told = topwork("data", "check", "a.csv", "--input", "genre,text", "--mend", "b.jsonl")
    assert "  topwork fit b.jsonl --input genre,text\n" in told.err
    again = topwork("data", "check", "b.jsonl", "--input", "genre,text", "--json", "-q").json
    assert again["n_texts"] == 30


def test_what_makes_no_sense_is_refused(topwork: Command, messy: str) -> None:
    told = topwork("data", "check", messy, "--also", "told")
    assert told.status == 1
    assert "there is no copy to write.\nAdd --mend FILE.jsonl." in told.err
    Path("labels.csv").write_text("text,label\none,a\ntwo,b\n")
    told = topwork("data", "check", "labels.csv", "--mend", "b.jsonl")
    assert told.status == 1
    assert "--mend is for texts to write like; labels.csv looks like data with labels." in told.err
    told = topwork("data", "check", "gone.txt", "--mend", "b.jsonl")
    assert told.status == 1
    assert "There is no file or folder gone.txt." in told.err
    assert not Path("b.jsonl").exists()
