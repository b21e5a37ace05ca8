"""Decoding texts: encodings, markup, white space, windows of tokens, and bytes that nobody wrote as a text."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from topwork.contracts import Decoded
from topwork.errors import DecodeError
from topwork.inputs import TEXT, TextPreprocessing
from topwork.inputs.text_opening import MAX_BYTES, opened
from topwork.inputs.text_tokens import N_WORD_IDS, windows_of
from toy_texts import SPECIAL, toy_texts, toy_tokenizer

SPEC = TextPreprocessing(toy_tokenizer(), window=20, max_windows=3)
INSPECTION = TEXT.inspection_preprocessing()
N_TOKENS = Tokenizer.from_str(toy_tokenizer()).get_vocab_size()


def numbers(decoded: Decoded) -> list[list[int]]:
    """Return the tokens' numbers, without the places that are empty."""
    return [[value - 1 for value in row if value] for row in decoded.tensor.tolist()]


# --- encodings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_text_reads_the_same_in_every_encoding(encoding: str) -> None:
    text = "Ein schönes Café – „nur“ 3 €"
    read = opened(text.encode(encoding))
    assert (read.text, read.n_replaced) == (text, 0)


def test_utf_16_of_the_other_end_is_known_by_its_mark() -> None:
    assert opened(b"\xfe\xff" + "Grüße".encode("utf-16-be")).text == "Grüße"


def test_bytes_without_a_character_are_replaced_and_counted() -> None:
    assert opened("Füße und Hände, ja".encode() + b"\xc3").text == "Füße und Hände, ja\ufffd"
    lost = opened("Füße".encode("cp1252") + b"\x81 da")
    assert (lost.text, lost.n_replaced) == ("Füße\ufffd da", 1)


@pytest.mark.parametrize(
    ("encoded", "complaint"),
    [
        (b"", "The text is empty"),
        (b" \n\t \xc2\xa0 ", "no text, only white space"),
        (b"\xef\xbb\xbf", "no text, only white space"),
        (b"\xff\xfe", "no text, only white space"),
        (b"<p>\n<br/></p>", "nothing but markup"),
        (b"abc\0def", "binary data"),
        (b"\x01\x02\x03 abc", "binary data"),
        (b"%PDF-1.7 and so on", "This is a PDF, not plain text"),
        (b"PK\x03\x04 and so on", "zip archive or an office document"),
        (b"\x89PNG\r\n\x1a\n", "This is a picture"),
        (b"a" * (MAX_BYTES + 1), "4,194,305 bytes; at most 4,194,304"),
    ],
)
def test_what_is_no_text_is_refused(encoded: bytes, complaint: str) -> None:
    with pytest.raises(DecodeError, match=complaint):
        TEXT.decode(encoded, INSPECTION)


# --- markup and white space -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("It was<br /><br />bad", "It was\n\nbad"),
        ("<p class='x'>One</P>\n\n\n<div>Two</div>", "One\n\nTwo"),
        ("a <b>very</b> good", "a very good"),
        ("x<script type=a>if (a<b) {}</SCRIPT >y<style>p{}</style>z", "xyz"),
        ("x<!-- <p>not\nshown</p> -->y", "xy"),
        ("<!DOCTYPE html><html><title>T</title>t", "T\nt"),
        ("the <script> tag and <!-- so on", "the tag and so on"),
        ("a &lt;b&gt; c &amp; d&nbsp;&#233; &eacute;", "a <b> c & d é é"),
        ("?a=1&copy=2 & so &on; &#55555555; &#0;", "?a=1&copy=2 & so &on; &#55555555; \ufffd"),
        ("3 < 4 > 2, List<int>, <user>, <3, a<b", "3 < 4 > 2, List<int>, <user>, <3, a<b"),
        (" a \t b\r\nc\u2028d \n\n \n e ", "a b\nc\nd\n\ne"),
        ("so\u00adft\u200b and \x07quiet text that goes on", "soft and quiet text that goes on"),
    ],
)
def test_markup_goes_and_the_rest_stays(raw: str, clean: str) -> None:
    assert opened(raw.encode()).text == clean


def test_the_share_of_markup_is_told() -> None:
    assert TEXT.decode(b"<b>1234</b>6789", INSPECTION).facts["markup"] == pytest.approx(7 / 15)
    assert TEXT.decode(b"3 < 4", INSPECTION).facts["markup"] == 0


@pytest.mark.parametrize(
    "piece", ["<script", "<script>", "<!--", "<", "<b ", "&", "&#", "<p>", " \n", "\u0301", "</style"]
)
def test_hostile_texts_cost_no_more_than_their_length(piece: str) -> None:
    n = 2**20 // len(piece.encode())
    start = time.perf_counter()
    with suppress(DecodeError):
        TEXT.decode((piece * n + "x").encode(), INSPECTION)
    assert time.perf_counter() - start < 10  # a second; quadratic, some take hours


# --- tokens -----------------------------------------------------------------------------------------------


def test_a_short_text_is_one_window_rounded_up() -> None:
    decoded = TEXT.decode(b"The parcel was late", SPEC)
    assert decoded.tensor.shape == (1, 16)
    assert decoded.tensor.dtype == np.int32
    assert numbers(decoded) == [Tokenizer.from_str(SPEC.tokenizer).encode("The parcel was late").ids]
    assert decoded.facts == {
        "characters": 19.0, "words": 4.0, "tokens": 6.0, "windows": 1.0, "n_dropped": 0.0,
        "markup": 0.0, "n_replaced": 0.0,
    }  # fmt: skip


@pytest.mark.parametrize(("n_words", "width"), [(14, 16), (15, 20), (18, 20)])
def test_a_window_is_never_wider_than_asked(n_words: int, width: int) -> None:
    decoded = TEXT.decode(b"late " * n_words, SPEC)
    assert decoded.tensor.shape == (1, width)
    assert decoded.facts["tokens"] == n_words + 2


def test_a_long_text_is_cut_into_windows_with_special_tokens_each() -> None:
    cls, sep = SPECIAL.index("[CLS]"), SPECIAL.index("[SEP]")
    text = " ".join(toy_texts(4)[0])
    plain = Tokenizer.from_str(SPEC.tokenizer).encode(text, add_special_tokens=False).ids
    decoded = TEXT.decode(text.encode(), SPEC)
    rows = numbers(decoded)
    assert decoded.tensor.shape == (3, 20)
    assert all((row[0], row[-1]) == (cls, sep) for row in rows)
    assert [one for row in rows for one in row[1:-1]] == plain[:54]
    assert decoded.facts["n_dropped"] == len(plain) - 54 > 0
    assert decoded.facts["tokens"] == 60


@pytest.mark.parametrize("n_words", [63, 64, 100, 130, 140])
def test_the_windows_of_a_text_are_about_equally_long_and_lose_nothing(n_words: int) -> None:
    spec = TextPreprocessing(toy_tokenizer(), window=64, max_windows=3)
    text = " ".join(["late", "parcel", "[SEP]"][i % 3] for i in range(n_words))
    plain = Tokenizer.from_str(spec.tokenizer).encode(text, add_special_tokens=False)
    windows, n_dropped = windows_of(text, spec)
    sizes = [one.n_own for one in windows]
    assert len(windows) == -(-n_words // 62)
    assert max(sizes) - min(sizes) <= 1
    assert (sum(sizes), n_dropped) == (n_words, 0)
    cls, sep = SPECIAL.index("[CLS]"), SPECIAL.index("[SEP]")
    assert all((one.ids[0], one.ids[-1], one.n_special) == (cls, sep, 2) for one in windows)
    assert [number for one in windows for number in list(one.ids)[1:-1]] == plain.ids
    assert [span for one in windows for span in list(one.spans)[1:-1]] == plain.offsets
    width = TEXT.decode(text.encode(), spec).tensor.shape[1]
    assert width == min(64, -(-(max(sizes) + 2) // 16) * 16)


def test_a_tokenisers_own_padding_and_truncation_do_not_count() -> None:
    tokenizer = Tokenizer.from_str(toy_tokenizer())
    tokenizer.enable_padding(length=64)
    tokenizer.enable_truncation(5)
    padded = TextPreprocessing(str(tokenizer.to_str()), window=20, max_windows=3)
    for text in (b"late", b"late " * 30):
        assert (TEXT.decode(text, padded).tensor == TEXT.decode(text, SPEC).tensor).all()


def test_a_text_that_the_tokeniser_does_not_see_is_refused() -> None:
    assert numbers(TEXT.decode("\u65e5".encode(), SPEC))[0][1] == SPECIAL.index("[UNK]")
    with pytest.raises(DecodeError, match="finds no token in the text"):
        TEXT.decode("\u0301\u0301".encode(), SPEC)


def test_words_need_no_tokeniser() -> None:
    one, other = (TEXT.decode(text, INSPECTION) for text in (b"Late, late!", b"late parcel"))
    assert numbers(one)[0][0] == numbers(one)[0][1] == numbers(other)[0][0] != numbers(other)[0][1]
    assert TEXT.decode(b"!!!", INSPECTION).facts["tokens"] == 1
    assert TEXT.decode("日本語".encode(), INSPECTION).facts["words"] == 3


def test_looking_at_texts_works_without_the_package_tokenizers() -> None:
    code = (
        "import sys; sys.modules['tokenizers'] = None\n"
        "from topwork.errors import MissingExtraError\n"
        "from topwork.inputs import TEXT, TextPreprocessing\n"
        "print(TEXT.decode(b'a text', TEXT.inspection_preprocessing()).tensor.shape)\n"
        "try:\n    TEXT.decode(b'a text', TextPreprocessing('{}', 8))\n"
        "except MissingExtraError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("(1, 16)\n")
    assert "its extra text" in done.stdout


def test_threads_give_what_one_thread_gives() -> None:
    texts = [" ".join(toy_texts(n, seed=n)[0]).encode() for n in range(1, 40)]
    alone = [TEXT.decode(text, SPEC).tensor.tolist() for text in texts]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda text: TEXT.decode(text, SPEC).tensor.tolist(), texts * 4))
    assert together == alone * 4


# --- any bytes whatever -----------------------------------------------------------------------------------


def check_any(encoded: bytes, spec: TextPreprocessing, n_numbers: int) -> None:
    try:
        decoded = TEXT.decode(encoded, spec)
    except DecodeError:
        return
    tensor = decoded.tensor
    k, w = tensor.shape
    assert tensor.dtype == np.int32
    assert 1 <= k <= spec.max_windows
    assert w % 16 == 0 or w == spec.window
    assert 0 <= tensor.min() <= tensor.max() <= n_numbers
    assert (tensor > 0).any(axis=1).all()
    assert (np.diff((tensor > 0).astype(int), axis=1) <= 0).all()  # nothing stands behind an empty place
    assert decoded.fingerprint.dtype == np.uint8
    assert decoded.facts["windows"] == k


ANY = st.one_of(
    st.binary(max_size=400),
    st.text(max_size=400).map(lambda text: text.encode("utf-8", "replace")),
    st.text(alphabet="<>/!-pbrscit &;#x3a\n", max_size=200).map(str.encode),
    st.lists(st.sampled_from(toy_texts(20)[0]), max_size=9).map(lambda texts: " ".join(texts).encode()),
    st.text(max_size=60).map(lambda text: text.encode("utf-16", "replace")),
)


@settings(max_examples=400)
@given(ANY)
@example(b"\xff\xfe\x00\xd8")
@example(b"\xef\xbb\xbf\xef\xbb\xbfx")
@example(b"&#x10FFFF;&#xD800;")
def test_no_bytes_whatever_crash_the_decoder(encoded: bytes) -> None:
    check_any(encoded, SPEC, N_TOKENS)
    check_any(encoded, TextPreprocessing("words", window=7, max_windows=2), N_WORD_IDS)
