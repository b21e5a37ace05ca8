"""Texts to write like with what is odd about them mended, written as lines that are read to the same texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from topwork.data.corpus import Corpus, Document, Piece, looks_like_corpus, read_corpus
from topwork.data.corpus_check import content_of, examine_corpus
from topwork.data.corpus_lines import lines_of
from topwork.data.corpus_mending import (
    BY_ITSELF,
    ON_REQUEST,
    Mended,
    chosen,
    keep_short,
    mend_corpus,
    told_mended,
)
from topwork.errors import DataError, UsageError

ALL = (*BY_ITSELF, *ON_REQUEST)


def prompted(*pairs: tuple[str, str]) -> Corpus:
    return Corpus(
        tuple(
            Document((Piece(prompt, is_learned=False), Piece(completion)), f"row {i}")
            for i, (prompt, completion) in enumerate(pairs)
        ),
        "",
    )


def pairs_of(mended: Mended) -> list[tuple[str, str]]:
    return [(one.pieces[0].text, one.pieces[1].text) for one in mended.corpus.documents]


def names_in(corpus: Corpus) -> list[str]:
    return [one.name for one in examine_corpus(corpus, [600] * len(corpus.documents), 512) if one.name]


MESSY = prompted(
    ("Was ist KÃ¤se?\n\n###\n\n", " Milch"),
    ("Was ist Käse?\n\n###\n\n", " Milch"),
    ("Was ist Brot? ->", "Mehl"),
    ("Was ist Brot?", " Teig"),
    ("Sag Ja\n\n###\n\n", " Ja"),
    ("Was ist Wein?\n\n###\n\n", " Trauben"),
)


def test_each_remedy_takes_its_finding_away() -> None:
    assert set(names_in(MESSY)) == {"letters", "told", "long", "separators", "blanks"}
    mended = mend_corpus(MESSY, ALL)
    assert pairs_of(mended) == [
        ("Was ist Käse?\n\n###\n\n", " Milch"),
        ("Was ist Brot?\n\n###\n\n", " Mehl"),
        ("Was ist Wein?\n\n###\n\n", " Trauben"),
    ]
    assert mended.ending == "\n\n###\n\n"
    assert mended.counts == {
        "letters": 1,
        "separators": 2,
        "blanks": 1,
        "duplicates": 1,
        "several": 1,
        "told": 1,
    }
    assert names_in(mended.corpus) == ["long"]
    short, n_tokens = keep_short(mended, [512, 513, 9], 512)
    assert ([one.where for one in short.corpus.documents], n_tokens) == (["row 0", "row 5"], [512, 9])
    assert short.counts["long"] == 1


@pytest.mark.parametrize("name", ["letters", "separators", "blanks", "duplicates", "several", "told"])
def test_no_remedy_does_what_another_is_for(name: str) -> None:
    double = prompted(*[tuple(p.text for p in one.pieces) for one in (*MESSY.documents, MESSY.documents[5])])  # type: ignore[arg-type]
    double = Corpus((*double.documents, *prompted(("Was ist Wein?\n\n###\n\n", " Rot")).documents), "")
    before = set(names_in(double))
    after = set(names_in(mend_corpus(double, [name]).corpus))
    assert before == {"letters", "separators", "blanks", "duplicates", "several", "told", "long"}
    assert name not in after
    assert mend_corpus(double, ()).corpus.documents == double.documents


def test_findings_say_what_is_offered_and_what_was_done() -> None:
    before = examine_corpus(MESSY, [9] * 6, 512)
    assert {one.name: one.mending for one in before} == {
        "letters": "offered",
        "told": "offered",
        "separators": "offered",
        "blanks": "offered",
        "": "none",
    }
    told = {one.name: one for one in told_mended(before, mend_corpus(MESSY, BY_ITSELF), BY_ITSELF)}
    assert told["separators"].mending == "done"
    assert told["separators"].remedy == "All end in '\\n\\n###\\n\\n' now; prompts that were changed: 2."
    assert (told["told"].mending, told[""].mending) == ("offered", "none")


def test_texts_that_are_alike_but_for_their_letters_are_kept_once_and_in_order() -> None:
    corpus = Corpus(tuple(Document((Piece(t),), t) for t in ("KÃ¤se", "Brot", "Käse", "Brot", "Â\u00a0")), "")
    mended = mend_corpus(corpus, BY_ITSELF)
    assert [one.pieces[0].text for one in mended.corpus.documents] == ["Käse", "Brot"]
    [letters] = [one for one in examine_corpus(corpus, [9_000] * 5, 512) if one.name == "letters"]
    mended_letters, doubles = told_mended([letters], mended, BY_ITSELF)
    assert (mended_letters.name, mended_letters.mending) == ("letters", "done")
    assert doubles.what == "More came up once the texts were mended."
    assert doubles.remedy == "Each is kept once; left out: 2."


def test_indented_completions_keep_their_blanks() -> None:
    mended = mend_corpus(prompted(("a###", "    x"), ("b###", "y"), ("c###", " z"), ("d###", "w")), BY_ITSELF)
    assert [completion for _, completion in pairs_of(mended)] == ["    x", "y", "z", "w"]


def test_names_of_remedies_are_checked() -> None:
    assert chosen((), ()) == set(BY_ITSELF)
    assert chosen(["long"], ["blanks"]) == {*BY_ITSELF, "long"} - {"blanks"}
    with pytest.raises(UsageError, match="no remedy 'spelling'; there are encoding, letters"):
        chosen(["spelling"], ())
    with pytest.raises(UsageError, match="'long' is to be mended and to be left"):
        chosen(["long"], ["long"])


# --- lines --------------------------------------------------------------------------------------------------

CHAT = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello\n\u2028there"},
]


@pytest.mark.parametrize(
    ("name", "content", "column", "keys"),
    [
        ("a.txt", "One\u2028 é<|endoftext|>\n  Two\n<|endoftext|>", None, {"text"}),
        ("b.csv", 'story,n\n"One, ""two""",1\n', None, {"text"}),
        ("c.csv", "prompt,completion\na,b\n,c\n", None, {"prompt", "completion"}),
        ("d.jsonl", json.dumps({"messages": CHAT, "id": 1}), None, {"messages"}),
        (
            "e.csv",
            "title,genre,text\nA: b,,One\n,sad  one,Two\nx,y,z\n",
            "title,genre,text",
            {"title", "genre", "text"},
        ),
        ("f.jsonl", json.dumps({"text": "x" * 100_000}), None, {"text"}),
        ("g.json", json.dumps({"first_story_block": "Alone."}), None, {"text"}),
    ],
)
def test_lines_are_read_to_the_same_texts(
    name: str, content: str, column: str | None, keys: set[str], tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    corpus = read_corpus(tmp_path / name, column)
    lines = tmp_path / "lines.jsonl"
    lines.write_bytes(lines_of(corpus))
    found = read_corpus(lines, column)
    assert [content_of(one) for one in found.documents] == [content_of(one) for one in corpus.documents]
    assert [[p.is_learned for p in one.pieces] for one in found.documents] == [
        [p.is_learned for p in one.pieces] for one in corpus.documents
    ]
    assert found.columns == corpus.columns
    assert set(json.loads(lines.read_bytes().split(b"\n")[0])) == keys
    assert looks_like_corpus(lines) is (column is None)


def test_values_that_texts_are_given_are_mended_and_their_columns_are_not(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("catÃ©gorie,text\nKÃ¤se,Brot\n", encoding="utf-8")
    corpus = mend_corpus(read_corpus(tmp_path / "a.csv", "catÃ©gorie,text"), BY_ITSELF).corpus
    assert json.loads(lines_of(corpus)) == {"catÃ©gorie": "Käse", "text": "Brot"}


def test_story_trees_and_several_kinds_are_refused_by_name(tmp_path: Path) -> None:
    tree = {"first_story_block": "You wake.", "action_results": [{"action": "sleep", "result": "You sleep."}]}
    (tmp_path / "a.json").write_text(json.dumps(tree), encoding="utf-8")
    corpus = read_corpus(tmp_path / "a.json")
    with pytest.raises(DataError, match="story tree are no lines of texts"):
        lines_of(corpus)
    double = Corpus(corpus.documents * 2, corpus.layout)
    assert {one.mending for one in examine_corpus(double, [9, 9], 512)} == {"none"}
    mixed = Corpus((*MESSY.documents, Document((Piece("plain"),), "b")), "")
    with pytest.raises(DataError, match="hold plain texts and prompts with completions, which"):
        lines_of(mixed)


def test_bytes_of_two_encodings_are_read_one_by_one(tmp_path: Path) -> None:
    text = "{}\n".format(json.dumps({"text": "Käse “und” Brot"}, ensure_ascii=False))
    path = tmp_path / "a.jsonl"
    path.write_bytes(text.encode() + text.encode("cp1252"))
    assert next(one.name for one in examine_corpus(read_corpus(path), [9, 9], 512)) == "encoding"
    corpus = read_corpus(path, is_mended=True)
    assert [one.pieces[0].text for one in corpus.documents] == ["Käse “und” Brot"] * 2
    assert corpus.notes == ()


def test_half_a_letter_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"text": "a \\ud83d b"}\n{"text": "\\ud83d\\ude00"}\n', encoding="utf-8"
    )
    corpus = read_corpus(tmp_path / "a.jsonl")
    assert [one.pieces[0].text for one in corpus.documents] == ["😀"]
    assert corpus.rejected[0].key == "a.jsonl, line 1"
    assert "half of a letter" in corpus.rejected[0].reason


def test_texts_by_several_columns_are_no_prompts_with_several_completions() -> None:
    rows = [("genre: sad\ntext:\n", " One"), ("genre: sad\ntext:\n", "Two")]
    corpus = Corpus(prompted(*rows).documents, "", columns=("genre", "text"))
    assert names_in(corpus) == ["long"]
    assert mend_corpus(corpus, ALL).corpus.documents == corpus.documents
