"""Texts of a language model: to tokens and back, and shown as they come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiny_writers import byte_tokenizer
from topwork.errors import UsageError
from topwork.inputs.vocabulary import Spelling, Vocabulary

BYTES = Vocabulary(byte_tokenizer(), 100, ends=(0,))


def spelled(text: str, *stops: str) -> tuple[list[str], Spelling]:
    """Return the pieces in which a text is shown, token by token."""
    spelling = Spelling(BYTES, stops)
    pieces = [spelling.add(token) for token in BYTES.encode(text)]
    return [*pieces, spelling.finish()], spelling


def test_texts_become_tokens_and_back() -> None:
    tokens = BYTES.encode("Then the déjà vu 😀")
    assert BYTES.decode(tokens) == "Then the déjà vu 😀"
    assert len(tokens) < len("Then the déjà vu 😀".encode())  # pieces of words are tokens


def test_words_for_special_tokens_are_these() -> None:
    tokens = BYTES.encode("a<|end|>")
    assert tokens[-1] == 0
    assert BYTES.decode(tokens) == "a"
    assert BYTES.decode(tokens, plain=False) == "a<|end|>"


@pytest.mark.parametrize(
    "text", ["<|end|>", "a<|end|><|end|> b", "<<|end|>|end|>", "<|end", "the end", "déjà <|end|>😀"]
)
def test_words_for_special_tokens_may_be_meant_as_they_are_spelled(text: str) -> None:
    tokens = BYTES.encode(BYTES.spelled(text))
    assert 0 not in tokens
    assert BYTES.decode(tokens) == text
    assert BYTES.encode(f"{BYTES.spelled(text)}<|end|>") == [*tokens, 0]


@given(st.text(st.sampled_from("<|end>\ufdd0 x")))
def test_what_is_spelled_never_holds_a_special_token(text: str) -> None:
    tokens = BYTES.encode(BYTES.spelled(text))
    assert 0 not in tokens
    assert BYTES.decode(tokens).replace("\ufdd0", "") == text.replace("\ufdd0", "")


def test_many_texts_at_once() -> None:
    assert BYTES.encode_all(["the", "", "b"]) == [BYTES.encode("the"), [], BYTES.encode("b")]


def test_a_text_begins_with_what_stands_before_every_text_and_never_with_nothing() -> None:
    assert BYTES.opening("the") == BYTES.encode("the")
    assert BYTES.opening("") == [0]
    begun = Vocabulary(byte_tokenizer(), 100, begin=7, ends=(0,))
    assert begun.opening("the") == [7, *BYTES.encode("the")]
    assert begun.opening("") == [7]


def test_it_is_stored_and_restored() -> None:
    whole = Vocabulary(byte_tokenizer(), 100, 3, (0, 2), "{{ messages }}")
    assert Vocabulary.from_json(whole.to_json()) == whole
    with pytest.raises(UsageError, match="describes no vocabulary"):
        Vocabulary.from_json({"window": 3})


def test_a_tokeniser_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="tokeniser cannot be loaded"):
        Vocabulary("{}", 100).encode("a")


def test_no_half_letter_is_shown() -> None:
    pieces, _ = spelled("a😀b")
    assert pieces == ["a", "", "", "", "😀", "b", ""]


def test_bytes_that_never_make_a_letter_are_shown_as_such_in_the_end() -> None:
    spelling = Spelling(BYTES)
    first = BYTES.encode("😀")[0]
    shown = [spelling.add(first) for _ in range(6)] + [spelling.finish()]
    assert "".join(shown) == BYTES.decode([first] * 6)


@given(st.text(max_size=30))
def test_the_pieces_are_the_text(text: str) -> None:
    assert "".join(spelled(text)[0]) == BYTES.decode(BYTES.encode(text))


def test_a_stop_ends_the_text_before_it() -> None:
    pieces, spelling = spelled("one two three", "two")
    assert "".join(pieces) == "one "
    assert spelling.is_ended


def test_the_first_of_several_stops_counts() -> None:
    assert "".join(spelled("one two three", "three", "", "two")[0]) == "one "


def test_what_only_begins_like_a_stop_is_shown_as_soon_as_that_is_certain() -> None:
    pieces, spelling = spelled("a twin", "two")
    assert pieces == ["a", " ", "", "", "twi", "n", ""]
    assert not spelling.is_ended
    assert spelled("a tw", "two")[0][-1] == "tw"


@given(
    st.text(alphabet="ab", max_size=20), st.lists(st.text(alphabet="ab", min_size=1, max_size=4), max_size=3)
)
def test_stops_cut_as_if_the_text_were_whole(text: str, stops: list[str]) -> None:
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    pieces, spelling = spelled(text, *stops)
    # A stop that is complete ends the text, though another one that began before it might have become so later.
    assert text.startswith("".join(pieces))
    assert spelling.is_ended == bool(places)
    if not places:
        assert "".join(pieces) == text
    elif len(stops) == 1:
        assert "".join(pieces) == text[: places[0]]
