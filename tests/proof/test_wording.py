"""Words that drive a class, out of texts with heat."""

from __future__ import annotations

from topwork.contracts import Piece
from topwork.proof.wording import telling_words


def text(**heats: float) -> tuple[Piece, ...]:
    return tuple(Piece(f" {word},", heat) for word, heat in heats.items())


def test_a_word_that_is_warm_in_several_texts_comes_first() -> None:
    texts = [text(late=0.9, The=0.1, chair=0.0), text(late=0.8, the=0.1, lamp=0.1), text(rude=1.0, the=0.2)]
    assert telling_words(texts)[:2] == [("late", 2), ("rude", 1)]


def test_a_word_as_warm_as_its_text_tells_nothing() -> None:
    assert telling_words([text(all=0.5, alike=0.5)]) == []


def test_a_word_counts_once_in_a_text_however_often_it_stands_there() -> None:
    twice = (Piece("Late!", 1.0), Piece("late", 0.0), Piece("chair", 0.1))
    assert telling_words([twice]) == [("late", 1)]


def test_what_stands_between_words_is_no_word() -> None:
    assert telling_words([(Piece("— 12 …", 1.0), Piece("late", 0.5), Piece("chair", 0.1))]) == [("late", 1)]


def test_words_of_texts_that_are_gone_are_none() -> None:
    assert telling_words([(), ()]) == []
