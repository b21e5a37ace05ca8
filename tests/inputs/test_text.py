"""The text modality besides decoding: specifications, what callers hand over, what people see, synthetic texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topwork.contracts import Array, Piece
from topwork.errors import DecodeError, UsageError
from topwork.inputs import IMAGE, TEXT, TextPreprocessing, modality
from topwork.inputs.text_excerpt import around_warmest, excerpt, marked, stretches
from topwork.inputs.text_opening import opened
from topwork.inputs.text_tokens import windows_of
from toy_texts import toy_tokenizer

SPEC = TextPreprocessing(toy_tokenizer(), window=12, max_windows=3)


def excerpt_of(encoded: bytes, n_characters: int) -> str:
    return excerpt(opened(encoded).text, n_characters)


def marked_of(encoded: bytes, heat: Array, spec: TextPreprocessing) -> tuple[tuple[str, float], ...]:
    text = opened(encoded).text
    return marked(text, windows_of(text, spec)[0], heat)


# --- the room ---------------------------------------------------------------------------------------------


def test_the_modality_is_found_by_name_and_says_how_it_travels() -> None:
    assert modality("text").decoder == TEXT.decoder
    assert ".txt" in TEXT.suffixes
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in TEXT.suffixes)
    assert (TEXT.wire.in_json, TEXT.wire.widget, TEXT.wire.noun) == ("text", "textarea", "text")
    assert TEXT.wire.media_types == ("text/plain",)
    assert 2**16 < TEXT.wire.max_bytes <= 2**22


def test_the_decoder_names_the_versions_that_its_tokens_hang_on() -> None:
    import unicodedata

    import tokenizers

    assert f"tokenizers {tokenizers.__version__}" in TEXT.decoder
    assert unicodedata.unidata_version in TEXT.decoder


# --- specifications ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [SPEC, TEXT.inspection_preprocessing()])
def test_a_specification_comes_back_from_json(spec: TextPreprocessing) -> None:
    stored = spec.to_json()
    assert stored["window"] == spec.window
    assert TEXT.preprocessing(stored) == spec
    assert spec.modality == TEXT.name


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"overlap": 3}, "overlap"),
        ({"window": None}, "window"),
        ({"window": 0}, "1 to"),
        ({"window": True}, "1 to"),
        ({"window": 2.5}, "window"),
        ({"max_windows": 10**9}, "max_windows"),
        ({"tokenizer": "bert-base"}, r"'bert-base'; expected the content of a tokenizer.json or 'words'"),
        ({"tokenizer": 7}, "content of a tokenizer.json"),
    ],
)
def test_a_wrong_specification_is_refused(change: dict[str, Any], complaint: str) -> None:
    stored = {**SPEC.to_json(), **change}
    with pytest.raises(UsageError, match=complaint):
        TEXT.preprocessing(stored)
    with pytest.raises(UsageError, match="missing keys: max_windows"):
        TEXT.preprocessing({"tokenizer": "words", "window": 8})


def test_a_specification_says_little_of_its_tokeniser() -> None:
    assert "PAD" in SPEC.tokenizer
    assert len(repr(SPEC)) < 100


def test_a_tokeniser_that_is_none_is_refused_when_it_is_needed() -> None:
    with pytest.raises(UsageError, match="The tokeniser cannot be loaded"):
        TEXT.decode(b"a text", TextPreprocessing('{"model": 1}', 8))
    with pytest.raises(UsageError, match="2 tokens has no room beside the tokeniser's special tokens"):
        TEXT.decode(b"a text", TextPreprocessing(toy_tokenizer(), 2))


def test_a_specification_for_pictures_is_refused() -> None:
    with pytest.raises(UsageError, match="text cannot be decoded with a preprocessing for image"):
        TEXT.decode(b"a text", IMAGE.inspection_preprocessing())


# --- what callers hand over -------------------------------------------------------------------------------


def test_a_string_is_the_text_and_a_path_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_bytes(b"in the file")
    assert TEXT.encode("note.txt") == b"note.txt"
    assert TEXT.encode(path) == b"in the file"
    assert TEXT.encode(bytearray(b"bytes")) == b"bytes"
    assert TEXT.encode("caf\u00e9 \ud83d") == b"caf\xc3\xa9 ?"


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Received int; expected a text"):
        TEXT.encode(3)
    with pytest.raises(DecodeError, match="it is a folder"):
        TEXT.encode(tmp_path)
    with pytest.raises(DecodeError, match="no such file"):
        TEXT.encode(tmp_path / "gone.txt")


# --- what people see --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_characters", "expected"),
    [
        (100, "One two, three. Four"),
        (20, "One two, three. Four"),
        (19, "One two, three.…"),
        (16, "One two, three.…"),
        (15, "One two,…"),
        (2, "O…"),
        (1, "…"),
    ],
)
def test_an_excerpt_is_cut_between_words(n_characters: int, expected: str) -> None:
    assert excerpt_of(b"One <b>two</b>,\n\nthree.  Four", n_characters) == expected


@given(st.text(min_size=1), st.integers(1, 60))
def test_an_excerpt_is_never_longer_than_asked(text: str, n_characters: int) -> None:
    try:
        shown = excerpt_of(TEXT.encode(text), n_characters)
    except DecodeError:
        return
    assert 1 <= len(shown) <= n_characters
    assert "\n" not in shown


def test_heat_lands_on_the_words_of_its_tokens() -> None:
    encoded = b"The parcel was broken.<br>The zzzparcel too"
    decoded = TEXT.decode(encoded, SPEC)
    heat = np.zeros(decoded.tensor.shape, dtype=np.float32)
    heat[0, 4] = 2.0  # [CLS] the parcel was broken .
    heat[0, 5] = 0.5
    heat[0, 0] = 9.0  # [CLS] stands nowhere
    pieces = dict(marked_of(encoded, heat, SPEC))
    assert pieces["broken."] == 2.5
    assert sum(pieces.values()) == 2.5


@given(st.text(min_size=1, max_size=200))
def test_marked_pieces_give_the_text_and_the_heat_of_its_own_tokens(text: str) -> None:
    encoded = TEXT.encode(text)
    try:
        decoded = TEXT.decode(encoded, SPEC)
    except DecodeError:
        return
    pieces = marked_of(encoded, np.ones(decoded.tensor.shape, dtype=np.float32), SPEC)
    assert "".join(piece for piece, _ in pieces) == opened(encoded).text
    n_special = 2 * decoded.facts["windows"]
    assert sum(heat for _, heat in pieces) == decoded.facts["tokens"] - n_special


def test_heat_of_another_shape_is_refused() -> None:
    with pytest.raises(UsageError, match=r"heat is \[1, 3\]; expected \[1, 4\]"):
        marked_of(b"the parcel", np.zeros((1, 3), dtype=np.float32), SPEC)
    with pytest.raises(UsageError, match=r"heat is \[2, 16\]"):
        marked_of(b"the parcel", np.zeros((2, 16), dtype=np.float32), SPEC)


# --- variants and synthetic texts -------------------------------------------------------------------------


def test_texts_are_not_varied() -> None:
    tensor = TEXT.decode(b"the parcel was late", SPEC).tensor
    assert TEXT.canvas(SPEC) is SPEC
    assert TEXT.vary(tensor, SPEC, np.random.default_rng(0)) is tensor


def test_synthetic_texts_are_made_for_a_seed_and_differ_in_length() -> None:
    made = TEXT.synthetic(6, 3)
    assert made == TEXT.synthetic(6, 3)
    assert made[:2] == TEXT.synthetic(2, 3)
    assert len({*made, *TEXT.synthetic(6, 4)}) == 12
    words = [TEXT.decode(one, TEXT.inspection_preprocessing()).facts["words"] for one in made]
    assert min(words) < 8
    assert max(words) > 300


def test_of_a_long_text_the_part_with_the_warmest_words_is_shown() -> None:
    words = [(f"word{i} ", 0.9 if i in (57, 60) else 0.01) for i in range(100)]
    shown = around_warmest(words, 60)
    assert shown[0] == ("…", 0.0)
    assert shown[-1] == ("…", 0.0)
    assert {"word57 ", "word60 "} <= {text for text, _ in shown}
    assert sum(len(text) for text, _ in shown) <= 62
    assert around_warmest(words[:5], 60) == tuple(words[:5])
    assert around_warmest([("x" * 100, 1.0), ("y", 0.5)], 60)[0] == ("x" * 100, 1.0)


def test_the_parts_of_a_text_are_all_of_its_tokens_but_those_at_the_ends_of_a_window() -> None:
    tensor = np.array([[5, 6, 7, 8, 9], [5, 6, 7, 0, 0]], dtype=np.int32)
    single = stretches(tensor, 100)
    assert single.sum(axis=0).tolist() == [[0, 1, 1, 1, 0], [0, 1, 0, 0, 0]]
    assert single.sum(axis=(1, 2)).tolist() == [1, 1, 1, 1]
    longer = stretches(tensor, 2)
    assert longer.sum(axis=(1, 2)).tolist() == [2, 2]
    assert (longer.sum(axis=0) == single.sum(axis=0)).all()
    assert len(stretches(np.array([[5, 9]], dtype=np.int32), 10)) == 0


def test_what_a_person_sees_first_is_the_beginning() -> None:
    assert TEXT.show(b"one two " * 1000, 20).pieces[0].text.startswith("one two one")
    assert len(TEXT.show(b"one two " * 1000, 20).pieces[0].text) <= 40
    assert TEXT.show(b"short", 20).pieces == (Piece("short"),)


def test_the_classical_description_counts_words_that_the_fitted_texts_have() -> None:
    told = [TEXT.classical(text) for text in (b"good film", b"bad film", b"good <b>play</b>")]
    fitted, tested = TEXT.tabulate(told, [TEXT.classical(b"good unheard film")])
    assert fitted.shape[0] == 3
    assert tested.shape == (1, fitted.shape[1])
    assert tested.nnz == 2
    assert np.allclose(np.sqrt(fitted.multiply(fitted).sum(axis=1)), 1)


def test_the_warmest_word_is_shown_as_1_however_many_tokens_it_has() -> None:
    heat = np.full((1, 16), 0.4, np.float32)
    shown = TEXT.overlay(b"the parcelparcel", heat, SPEC, 160).pieces
    assert "".join(one.text for one in shown) == "the parcelparcel"
    assert max(one.heat for one in shown) == 1
    cold = TEXT.overlay(b"the parcel", np.zeros((1, 16), np.float32), SPEC, 160).pieces
    assert {one.heat for one in cold} == {0.0}


def test_what_was_done_to_texts_can_be_told_of_them() -> None:
    spec = TEXT.inspection_preprocessing()
    texts = {
        "markup": b"<p>so <b>it</b> is</p>",
        "n_replaced": b"caf\x81 au lait",
        "windows": b"word " * 600,
        "n_dropped": b"word " * 60_000,
        "": b"a plain text, 2 < 3",
    }
    for what, encoded in texts.items():
        facts = TEXT.decode(encoded, spec).facts
        true = {one.fact for one in TEXT.remarks if facts[one.fact] > one.above}
        assert what in true or not what
        assert true <= {what, "windows"} - {""}
