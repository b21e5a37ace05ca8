"""`mend_texts`: a copy that a fit reads, checked; what cannot be written is refused before anything is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import topwork as tw
from tiny_writers import write_tiny_writer

ENDING = "\n\n###\n\n"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny_writer(tmp_path_factory.mktemp("writers") / "tiny"))


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    """Write prompts of two encodings, ends that differ, an empty one, one twice and one that is long."""
    rows = [{"prompt": f"Größe {i}?{ENDING if i % 3 else ''}", "completion": f" {i}0 m"} for i in range(22)]
    rows += [rows[4], {"prompt": "leer", "completion": ""}]
    rows += [{"prompt": f"lang{ENDING}", "completion": " und so weiter" * 100}]
    lines = [
        json.dumps(one, ensure_ascii=False).encode("cp1252" if i % 2 else "utf-8")
        for i, one in enumerate(rows)
    ]
    path = tmp_path / "messy.jsonl"
    path.write_bytes(b"\n".join(lines))
    return path


def test_a_copy_is_mended_checked_and_read_back(messy: Path, tiny: str, tmp_path: Path) -> None:
    original = messy.read_bytes()
    found = tw.mend_texts(messy, tmp_path / "clean.jsonl", trunk=tiny)
    rows = [json.loads(line) for line in found.path.read_text("utf-8").splitlines()]
    assert rows[:22] == [{"prompt": f"Größe {i}?{ENDING}", "completion": f" {i}0 m"} for i in range(22)]
    assert [one["prompt"] for one in rows[22:]] == [f"lang{ENDING}"]
    assert messy.read_bytes() == original
    assert (found.ending, found.columns) == (ENDING, None)
    assert found.counts == {"letters": 0, "separators": 8, "blanks": 0, "duplicates": 1}
    assert {one.name for one in found.before.findings if one.mending == "done"} == {
        "unusable",
        "encoding",
        "letters",
        "separators",
        "duplicates",
    }
    assert [(one.name, one.mending) for one in found.after.findings] == [("long", "offered"), ("", "none")]
    again = tw.check_texts(found.path, trunk=tiny)
    assert again.findings == found.after.findings
    assert again.n_tokens == found.after.n_tokens < found.before.n_tokens
    assert found.after.sides is not None


def test_what_is_asked_for_is_done_and_what_is_to_be_left_is_not(
    messy: Path, tiny: str, tmp_path: Path
) -> None:
    left = ["separators", "encoding", "duplicates"]
    found = tw.mend_texts(messy, tmp_path / "clean.jsonl", also=["long"], leave=left, trunk=tiny)
    prompts = [json.loads(line)["prompt"] for line in found.path.read_text("utf-8").splitlines()]
    assert prompts == [f"Größe {i}?{ENDING if i % 3 else ''}" for i in (*range(22), 4)]
    assert found.counts == {"letters": 12, "blanks": 0, "long": 1}
    assert found.ending is None
    assert found.after.n_tokens == tw.check_texts(found.path, trunk=tiny).n_tokens


def test_what_texts_are_given_stays_in_its_columns(tiny: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("genre,text\nsad,One\n,Two\nsad,One\n", encoding="utf-8")
    options = tw.FitOptions(input="genre,text")
    found = tw.mend_texts(tmp_path / "a.csv", tmp_path / "b.jsonl", trunk=tiny, options=options)
    rows = [json.loads(line) for line in found.path.read_text("utf-8").splitlines()]
    assert rows == [{"genre": "sad", "text": "One"}, {"genre": "", "text": "Two"}]
    assert found.columns == "genre,text"
    assert found.after.corpus.columns == ("genre", "text")


def test_a_copy_takes_the_place_of_nothing(messy: Path, tiny: str, tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("One")
    before = messy.read_bytes()
    for data, out, problem in (
        (messy, messy, "messy.jsonl is there already"),
        (messy, tmp_path / "clean.txt", "does not end in .jsonl or .ndjson"),
        (folder, folder / "b.jsonl", "would stand among the data"),
        (messy, folder, "does not end in"),
    ):
        with pytest.raises(tw.UsageError, match=problem):
            tw.mend_texts(data, out, trunk=tiny)
    assert messy.read_bytes() == before
    assert sorted(one.name for one in tmp_path.rglob("*")) == ["a.txt", "messy.jsonl", "texts"]


def test_what_cannot_be_written_is_refused(tiny: str, tmp_path: Path) -> None:
    out = tmp_path / "b.jsonl"
    (tmp_path / "a.json").write_text(
        json.dumps({"first_story_block": "Up.", "action_results": [{"action": "go", "result": "Away."}]})
    )
    with pytest.raises(tw.DataError, match="story tree"):
        tw.mend_texts(tmp_path / "a.json", out, trunk=tiny)
    (tmp_path / "a.jsonl").write_text(json.dumps({"prompt": "Say so.", "completion": "so"}))
    with pytest.raises(tw.DataError, match="Nothing is left"):
        tw.mend_texts(tmp_path / "a.jsonl", out, also=["told"], trunk=tiny)
    with pytest.raises(tw.UsageError, match="no remedy 'spelling'"):
        tw.mend_texts(tmp_path / "a.jsonl", out, also=["spelling"], trunk=tiny)
    assert not out.exists()
