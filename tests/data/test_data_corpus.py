"""Texts to write like, in every form in which people have them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from topwork.data.corpus import Corpus, looks_like_corpus, read_corpus
from topwork.errors import DataError


def texts_of(corpus: Corpus) -> list[str]:
    return ["".join(piece.text for piece in one.pieces) for one in corpus.documents]


def written(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8", newline="")
    return path


def test_a_text_file_is_one_text_whose_blanks_stay(tmp_path: Path) -> None:
    corpus = read_corpus(written(tmp_path / "a.txt", "One\r\n\r\n  two  \n"))
    assert texts_of(corpus) == ["One\n\n  two  \n"]
    assert corpus.layout == "A text file."


def test_a_text_file_may_hold_several(tmp_path: Path) -> None:
    content = "<|startoftext|>One<|endoftext|>\n<|endoftext|>Two<|endoftext|>"
    corpus = read_corpus(written(tmp_path / "a.txt", content))
    assert texts_of(corpus) == ["One", "Two"]
    assert [one.where for one in corpus.documents] == ["a.txt, text 1", "a.txt, text 2"]


def test_other_encodings_are_read_and_what_is_lost_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("Käse".encode("utf-16"))
    assert texts_of(read_corpus(tmp_path / "a.txt")) == ["Käse"]
    (tmp_path / "b.txt").write_bytes("é é é é".encode() + b"\xff")
    corpus = read_corpus(tmp_path / "b.txt")
    assert corpus.notes == ("1 bytes of b.txt stand for no character.",)


def test_a_folder_and_a_glob_are_texts_by_name(tmp_path: Path) -> None:
    for name in ("b.txt", "a.md", "sub/c.txt", "d.jpg"):
        written(tmp_path / "texts" / name, name)
    assert texts_of(read_corpus(tmp_path / "texts")) == ["a.md", "b.txt", "sub/c.txt"]
    assert texts_of(read_corpus(str(tmp_path / "texts" / "*.txt"))) == ["b.txt"]
    assert read_corpus(tmp_path / "texts").layout == "3 text files, each a text."


def test_a_table_of_one_column_has_no_header_unless_it_is_called_so(tmp_path: Path) -> None:
    assert texts_of(read_corpus(written(tmp_path / "a.csv", 'One\n"Two, too"\n'))) == ["One", "Two, too"]
    assert texts_of(read_corpus(written(tmp_path / "b.csv", "text\nOne\nTwo\n"))) == ["One", "Two"]


def test_a_column_is_named_or_known_by_its_name(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "id,story,mood\n1,One,gay\n2,,sad\n")
    corpus = read_corpus(path)
    assert texts_of(corpus) == ["One"]
    assert [(one.key, one.reason) for one in corpus.rejected] == [("a.csv, line 3", "it is empty")]
    assert texts_of(read_corpus(path, "mood")) == ["gay", "sad"]


def test_a_column_that_is_not_clear_or_not_there_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "a,b\n1,2\n")
    with pytest.raises(DataError, match="columns a, b; which of them") as caught:
        read_corpus(path)
    assert "--input" in str(caught.value.next_step)
    with pytest.raises(DataError, match="no column 'c'; it has a, b"):
        read_corpus(path, "c")


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_of_prompts_with_completions_these_are_learned(suffix: str, tmp_path: Path) -> None:
    rows = [{"prompt": "Q: 1?", "completion": " yes"}, {"prompt": "Q: 2?", "completion": ""}]
    content = {
        "csv": "prompt,completion\nQ: 1?,yes\nQ: 2?,\n",
        "jsonl": "\n".join(json.dumps(row) for row in rows),
    }[suffix]
    corpus = read_corpus(written(tmp_path / f"a.{suffix}", content))
    [document] = corpus.documents
    assert [(piece.text.strip(), piece.is_learned) for piece in document.pieces] == [
        ("Q: 1?", False),
        ("yes", True),
    ]
    assert [one.reason for one in corpus.rejected] == ["it has no completion to learn"]
    assert not document.is_chat


def test_of_chats_the_assistant_is_learned_and_bad_ones_are_told(tmp_path: Path) -> None:
    good = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    bad = [
        "none",
        [{"role": "user", "content": "Hi"}],
        [{"role": "pirate", "content": "Arr"}],
        [{"role": "user"}],
    ]
    lines = "\n".join(json.dumps({"messages": one}) for one in (good, *bad))
    corpus = read_corpus(written(tmp_path / "a.jsonl", lines))
    [document] = corpus.documents
    assert document.is_chat
    assert [(p.role, p.text, p.is_learned) for p in document.pieces] == [
        ("user", "Hi", False),
        ("assistant", "Hello", True),
    ]
    assert [one.reason for one in corpus.rejected] == [
        "its messages are no list of such",
        "no message is the assistant's, so that there is nothing to learn",
        "a message has the role 'pirate'; expected one of system, user, assistant, tool",
        "a message has no role and content",
    ]


def test_json_lines_may_hold_plain_texts(tmp_path: Path) -> None:
    corpus = read_corpus(written(tmp_path / "a.jsonl", '{"text": "One"}\n{"text": 2}\n'))
    assert texts_of(corpus) == ["One"]
    assert corpus.rejected[0].reason == "its 'text' is no text"


@pytest.mark.parametrize("name", ["missing.txt", "missing/*.txt", "empty"])
def test_where_there_is_nothing_that_is_told(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"There is no file|No file is called|holds no text file"):
        read_corpus(str(tmp_path / name))


def test_an_empty_text_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no text in .*: it holds no text"):
        read_corpus(written(tmp_path / "a.txt", " \n"))


def test_plain_texts_are_told_from_data_with_labels(tmp_path: Path) -> None:
    assert looks_like_corpus(written(tmp_path / "only" / "a.txt", "One"))
    assert looks_like_corpus(str(tmp_path / "only" / "*.txt"))
    assert looks_like_corpus(tmp_path / "only")
    assert looks_like_corpus(written(tmp_path / "a.csv", "prompt,completion\na,b\n"))
    assert looks_like_corpus(written(tmp_path / "b.csv", "text\nOne\n"))
    assert looks_like_corpus(written(tmp_path / "a.jsonl", '{"messages": []}\n'))
    assert looks_like_corpus(written(tmp_path / "b.jsonl", '{"prompt": "a", "completion": "b"}\n'))


def test_what_may_have_labels_is_not_taken_for_plain_texts(tmp_path: Path) -> None:
    written(tmp_path / "classes" / "cat" / "a.txt", "One")
    (tmp_path / "empty").mkdir()
    assert not looks_like_corpus(tmp_path / "classes")
    assert not looks_like_corpus(tmp_path / "empty")
    assert not looks_like_corpus(written(tmp_path / "mixed" / "a.txt", "One").parent.parent)
    assert not looks_like_corpus(written(tmp_path / "a.csv", "text,label\na,b\n"))
    assert not looks_like_corpus(written(tmp_path / "b.csv", "photo\na.jpg\n"))
    assert not looks_like_corpus(written(tmp_path / "a.jsonl", '{"text": "a", "label": "b"}\n'))
    assert not looks_like_corpus(written(tmp_path / "b.jsonl", "[1]\n"))
    assert not looks_like_corpus(tmp_path / "missing")
