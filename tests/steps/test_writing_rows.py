"""Texts to write like: their sides, and what of them is learned."""

from __future__ import annotations

import pytest

from tiny_writers import byte_tokenizer
from topwork.data.corpus import Corpus, Document, Piece
from topwork.errors import DataError
from topwork.inputs.vocabulary import Vocabulary
from topwork.steps.writing_rows import split_texts, tokenised

CHATS = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
BYTES = Vocabulary(byte_tokenizer(), 100, ends=(0,), chat_template=CHATS)


def plain(*texts: str) -> Corpus:
    return Corpus(tuple(Document((Piece(text),), f"text {i}") for i, text in enumerate(texts)), "")


def learned(document: Document, vocabulary: Vocabulary = BYTES) -> tuple[str, str]:
    """Return the whole text, and what of it is learned."""
    [found] = tokenised([document], vocabulary)
    return (
        vocabulary.decode(found.tokens.tolist(), plain=False),
        vocabulary.decode(found.tokens[found.is_learned].tolist(), plain=False),
    )


def test_of_many_texts_a_tenth_is_the_test_and_equal_ones_stand_on_one_side() -> None:
    corpus = plain(*(f"text {i % 50}" for i in range(60)))
    sides = split_texts(corpus, 0)
    assert (sides.method, sides.notes) == (
        "random, by text",
        ("10 texts are there more than once; equal ones stand on one side.",),
    )
    texts = [{one.pieces[0].text for one in side} for side in (sides.train, sides.valid, sides.test)]
    assert [len(one) for one in texts] == [40, 5, 5]
    assert not texts[0] & texts[1]
    assert not texts[2] & (texts[0] | texts[1])
    assert sum(map(len, (sides.train, sides.valid, sides.test))) == 60
    assert sorted(sides.keys().values()) == ["test"] * 5 + ["train"] * 40 + ["valid"] * 5
    assert split_texts(corpus, 0) == sides != split_texts(corpus, 1)


def test_of_few_texts_the_last_sections_are_held_out_and_nothing_is_lost() -> None:
    text = "\n".join(f"Line {i} of a long story that goes on." for i in range(1000))
    sides = split_texts(plain(text), 0)
    joined = ["".join(one.pieces[0].text for one in side) for side in (sides.train, sides.valid, sides.test)]
    assert "".join(joined) == text
    assert 0.05 * len(text) < len(joined[2]) < 0.15 * len(text)
    assert all(one.pieces[0].text.endswith("\n") for one in sides.train)
    assert sides.train[1].where.startswith("text 0, letter 2,")


@pytest.mark.parametrize("blank", [" ", ""])
def test_a_text_without_lines_is_cut_too(blank: str) -> None:
    text = ("word" + blank) * 5000
    if not blank:
        with pytest.raises(DataError, match="too little text"):
            split_texts(plain(text), 0)
        return
    sides = split_texts(plain(text), 0)
    assert len(sides.train) > 5


def test_too_little_text_is_refused() -> None:
    with pytest.raises(DataError, match="too little text: 3 letters"):
        split_texts(plain("One"), 0)


def test_a_text_begins_and_ends_with_what_ends_texts_and_the_end_is_learned() -> None:
    assert learned(Document((Piece("the end"),), "")) == ("<|end|>the end<|end|>", "the end<|end|>")


def test_of_a_prompt_the_completion_is_learned() -> None:
    document = Document((Piece("Q?", is_learned=False), Piece(" A")), "")
    assert learned(document) == ("<|end|>Q? A<|end|>", " A<|end|>")


def test_of_a_chat_the_answers_are_learned_with_what_closes_them() -> None:
    talk = (
        Piece("Hi", is_learned=False, role="user"),
        Piece("Hello", role="assistant"),
        Piece("Bye", is_learned=False, role="user"),
        Piece("See you", role="assistant"),
    )
    whole, own = learned(Document(talk, ""))
    assert whole == "<|end|><user>Hi</><assistant>Hello</><user>Bye</><assistant>See you</>"
    assert own == "Hello</>See you</>"


def test_what_is_said_in_a_chat_ends_nothing() -> None:
    talk = (Piece("Hi<|end|>", is_learned=False, role="user"), Piece("<|end|>", role="assistant"))
    [one] = tokenised([Document(talk, "")], BYTES)
    assert (one.tokens == 0).tolist() == [True] + [False] * (len(one.tokens) - 1)
    assert BYTES.decode(one.tokens[1:].tolist()) == "<user>Hi<|end|></><assistant><|end|></>"


def test_chats_need_a_template() -> None:
    with pytest.raises(DataError, match="no template"):
        learned(Document((Piece("Hi", role="assistant"),), ""), Vocabulary(byte_tokenizer(), 100, ends=(0,)))
