"""Letters that were read in a wrong encoding come back, and those that may be meant stay."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topwork.inputs.text_mending import as_utf8, looks_misread, with_letters_mended

MEANT = [
    "voilà\u00a0»",
    "SpaÃ",
    "“IRMÃ”",
    "“AMANHÃ…”",
    "Spaß“",
    "PÅ…",
    "“Ä“ und “Ü”",
    "É\u00a0» — déjà vu…",
    "Привет, κόσμε, 日本語 😀",
    "Âme, Ångström, Ðorđe, ×2 = ±4",
    "crâ”…",
]
PROPER = [
    "Käse, Maß, ÉTÉ, Ñandú",
    "“très bon” — déjà vu",
    "Žluťoučký kůň pěl",
    "Привет мир",
    "καλημέρα κόσμε",
    "日本語のテキスト",
    "smile 😀 for 5 €™",
    "à la carte",
    "și țară",
]


def misread(text: str, encoding: str) -> str:
    """Read UTF-8 wrongly, as programs do: what Windows-1252 has no letter for is taken for Latin-1."""
    if encoding == "latin-1":
        return text.encode().decode("latin-1")
    return "".join(
        bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in text.encode()
    )  # fmt: skip


@pytest.mark.parametrize("text", MEANT)
def test_what_may_be_meant_stays(text: str) -> None:
    assert with_letters_mended(text) == text


@pytest.mark.parametrize("text", PROPER)
@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_what_was_read_wrongly_comes_back(text: str, encoding: str) -> None:
    wrong = misread(f"é {text}", encoding)
    assert looks_misread(wrong)
    assert with_letters_mended(wrong) == f"é {text}"
    assert not looks_misread(f"é {text}")


def test_what_was_read_wrongly_twice_comes_back() -> None:
    assert with_letters_mended(misread(misread("Käse", "cp1252"), "cp1252")) == "Käse"


def test_beside_proper_letters_only_what_cannot_be_meant_is_read_anew() -> None:
    assert with_letters_mended("déjà → dÃ©jÃ\u00a0 vu\u00a0»") == "déjà → déjÃ\u00a0 vu\u00a0»"
    assert with_letters_mended("voilà\u00a0»\nles gÃ¢teaux Ã\u00a0 moi") == "voilà\u00a0»\nles gâteaux à moi"


@given(st.text(st.characters(min_codepoint=0xA0, max_codepoint=0xFF), max_size=12))
def test_no_mending_loses_a_letter(text: str) -> None:
    mended = with_letters_mended(text)
    assert mended == text or len(mended) < len(text)
    assert with_letters_mended(mended) == mended


def test_bytes_of_two_encodings_become_one() -> None:
    both = "naïve “é”\n".encode() + "naïve “é”\n".encode("cp1252")
    assert as_utf8(both).decode() == "naïve “é”\n" * 2
    assert as_utf8("é".encode("utf-16")) == "é".encode("utf-16")
    assert as_utf8("日本".encode()) == "日本".encode()
