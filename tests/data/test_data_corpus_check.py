"""What is odd about texts to write like."""

from __future__ import annotations

import pytest

from topwork.contracts import Rejected
from topwork.data.corpus import Corpus, Document, Piece
from topwork.data.corpus_check import CorpusFinding, examine_corpus


def found(
    *documents: Document | str,
    n_tokens: int = 50_000,
    notes: tuple[str, ...] = (),
    rejected: tuple[Rejected, ...] = (),
) -> tuple[CorpusFinding, ...]:
    made = tuple(
        Document((Piece(one),), f"text {i}") if isinstance(one, str) else one
        for i, one in enumerate(documents)
    )
    return examine_corpus(Corpus(made, "", notes, rejected), [n_tokens] * len(made), 100_000)


def prompted(prompt: str, completion: str) -> Document:
    return Document((Piece(prompt, is_learned=False), Piece(completion)), "row")


def test_sound_texts_have_no_findings() -> None:
    assert found("One café.", "Two naïve words; “quoted”.") == ()
    assert found(*(prompted(f"Question {i}?\n###\n", f" answer {i + 100}") for i in range(9))) == ()


def test_what_is_left_out_is_told_first_and_counted() -> None:
    rejected = (Rejected("a", "it is empty"), Rejected("b", "it is empty"))
    first, *_ = found("One", "One", rejected=rejected)
    assert (first.kind, first.what) == ("necessary", "2 texts cannot be used: it is empty.")


@pytest.mark.parametrize(
    ("documents", "what"),
    [
        (("One", "One", "Two"), "1 text was there before"),
        (("Ein KÃ¤se", "fine"), "1 text holds letters such as"),
        ((prompted("Q###", "a"), prompted("Q###", "b")), "1 prompt has several completions"),
        (
            (prompted("Is it red? It is red.###", "It is red."), prompted("b###", "c")),
            "1 completion stands word for word",
        ),
        ((prompted("one", "x"), prompted("two", "y"), prompted("six", "z")), "Prompts do not end alike"),
        (
            ("\n".join(["same"] * 15 + [f"line {i}" for i in range(15)]),),
            "47% of the lines were there before; 'same'",
        ),
    ],
)
def test_what_is_odd_is_told(documents: tuple[Document | str, ...], what: str) -> None:
    [one] = found(*documents)
    assert one.kind == "recommended"
    assert what in one.what
    assert one.remedy


def test_a_few_prompts_that_end_otherwise_are_odd() -> None:
    documents = [prompted(f"Question {i}\n###\n", f"{i + 100}") for i in range(19)]
    [one] = found(*documents, prompted("Question", "yes"))
    assert "19 of 20 prompts end in '###\\n', and the others do not" in one.what


def test_what_is_longer_than_a_row_is_told_of_prompts_alone() -> None:
    long = prompted("Q###", "a")
    corpus = Corpus((long, Document((Piece("story"),), "s")), "")
    [one] = examine_corpus(corpus, [600, 90_000], 512)
    assert "1 text has more than 512 tokens together with the prompt, such as row" in one.what


def test_little_text_is_a_warning() -> None:
    [one] = found("One", n_tokens=300)
    assert "There are 300 tokens" in one.what
    assert one.kind == "recommended"


def test_lost_bytes_are_told() -> None:
    [one] = found("One", notes=("3 bytes of a.txt stand for no character.",))
    assert one.what.startswith("3 bytes")
