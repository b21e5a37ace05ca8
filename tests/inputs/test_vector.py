"""The vector modality: what callers hand over, what is refused, what people see."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from topwork.contracts import Array
from topwork.errors import DecodeError, UsageError
from topwork.inputs import TEXT, VECTOR, VectorPreprocessing, modality
from topwork.inputs.vector_opening import npy_of, opened
from topwork.inputs.vector_preprocessing import MOST_NUMBERS

ANY = VECTOR.inspection_preprocessing()


def npy(array: Array, **how: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **how)
    return stream.getvalue()


def test_the_modality_is_found_by_name_and_says_how_it_travels() -> None:
    assert modality("vector") is VECTOR
    assert VECTOR.suffixes == {".npy"}
    assert (VECTOR.wire.in_json, VECTOR.wire.widget, VECTOR.wire.noun) == ("numbers", "textarea", "vector")


def test_a_specification_comes_back_from_json_and_a_wrong_one_is_refused() -> None:
    spec = VectorPreprocessing(7)
    assert VECTOR.preprocessing(spec.to_json()) == spec
    assert (spec.modality, spec.describe(), ANY.describe()) == (
        "vector",
        "7 numbers",
        "any number of numbers",
    )
    for wrong in ({"n_numbers": -1}, {"n_numbers": True}, {"n_numbers": 2.0}, {"n_numbers": 10**9}):
        with pytest.raises(UsageError, match=r"expected 0 to 1000000"):
            VECTOR.preprocessing(wrong)
    with pytest.raises(UsageError, match=r"exactly this one: n_numbers"):
        VECTOR.preprocessing({"length": 3})


@pytest.mark.parametrize(
    "encoded",
    [
        b"[0.5, -2, 3e1]",
        b"0.5,-2,30",
        b" 0.5\n-2\t30 ",
        "\ufeff0.5; -2; 30".encode(),
        npy(np.array([0.5, -2, 30])),
        npy(np.array([[0.5], [-2], [30]], np.float16)),
        npy(np.asfortranarray(np.array([[0.5, -2, 30]], ">f8"))),
    ],
)
def test_numbers_are_read_however_they_are_written(encoded: bytes) -> None:
    decoded = VECTOR.decode(encoded, VectorPreprocessing(3))
    assert decoded.tensor.dtype == np.float32
    assert decoded.tensor.tolist() == [0.5, -2, 30]
    assert decoded.facts == {}


@pytest.mark.parametrize(
    ("encoded", "complaint"),
    [
        (b"", "holds 0 numbers"),
        (b"[]", "holds 0 numbers"),
        (b"1, two, 3", "'two' is no number"),
        (b"[[1, 2]]", "is no number"),
        (b"1 NaN", "Number 2 of 2 is nan"),
        (b"1e99", "Number 1 of 1 is 1e[+]99; expected finite numbers that 32 bits can hold"),
        (b"\xff\xd8\xff\xe0", "neither a NumPy file nor numbers"),
        (npy(np.array([1.0, np.inf])), "Number 2 of 2 is inf"),
        (npy(np.ones((2, 3))), r"array \[2, 3\] in 6 numbers"),
        (npy(np.array(["a"])), "expected numbers"),
        (npy(np.array([1j])), "expected numbers"),
        (npy(np.array([{}], dtype=object), allow_pickle=True), "expected numbers"),
        (npy(np.ones(4))[:-8], "in 3 numbers"),
        (npy(np.ones(4))[:-3], "cannot be read"),
        (b"\x93NUMPY\x09\x00", "cannot be read"),
        (b"\x93NUM", "neither"),
        (npy(np.zeros(0)), "holds 0 numbers"),
    ],
)
def test_what_is_no_row_of_finite_numbers_is_refused(encoded: bytes, complaint: str) -> None:
    with pytest.raises(DecodeError, match=complaint):
        VECTOR.decode(encoded, ANY)


def test_a_header_that_claims_much_reserves_nothing() -> None:
    honest = npy(np.ones(3))
    padding = b" " * len(b"00000000000")
    lying = honest.replace(b"(3,), }" + padding, b"(300000000000,), }")
    assert len(lying) == len(honest) != 0
    assert lying != honest
    with pytest.raises(DecodeError, match=r"array \[300000000000\] in 3 numbers"):
        opened(lying)


def test_too_many_numbers_are_refused_before_they_are_counted() -> None:
    with pytest.raises(DecodeError, match="1,000,001 numbers"):
        opened(npy_of(np.zeros(MOST_NUMBERS + 1)))
    with pytest.raises(DecodeError, match="at most 1,000,000 numbers"):
        opened(b" " * (32 * MOST_NUMBERS + 1))


def test_another_length_than_that_of_the_specification_is_refused() -> None:
    with pytest.raises(DecodeError, match="has 2 numbers; expected 3"):
        VECTOR.decode(b"1 2", VectorPreprocessing(3))
    with pytest.raises(UsageError, match="preprocessing for text"):
        VECTOR.decode(b"1 2", TEXT.inspection_preprocessing())


@pytest.mark.parametrize(
    "item", [[1, 2], (1.0, 2.0), np.array([1, 2], np.int8), [True, 2], np.array([1, 2], object)]
)
def test_a_caller_may_hand_over_any_row(item: object) -> None:
    assert opened(VECTOR.encode(item)).tolist() == [1, 2]


def test_a_caller_may_hand_over_files_and_bytes(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.array([1.0, 2]))
    for item in (tmp_path / "one.npy", str(tmp_path / "one.npy"), b"1,2", memoryview(b"1,2")):
        assert opened(VECTOR.encode(item)).tolist() == [1, 2]
    with pytest.raises(DecodeError, match="Cannot read"):
        VECTOR.encode(tmp_path / "none.npy")
    with pytest.raises(DecodeError, match="something else than numbers"):
        VECTOR.encode(["a", "b"])
    with pytest.raises(UsageError, match=r"array \[1, 2\]"):
        VECTOR.encode([[1, 2]])


def test_what_is_too_large_for_32_bits_is_refused_when_it_is_read() -> None:
    with pytest.raises(DecodeError, match="is inf"):
        opened(VECTOR.encode([1e300, 1.0]))


def test_the_same_numbers_are_the_same_vector() -> None:
    rows = [b"1 2", b"1 2.5", b"[1.0, 2]", b"3 4", b"1 2"]
    fingerprints = np.stack([VECTOR.decode(one, ANY).fingerprint for one in rows])
    assert VECTOR.near_duplicates(fingerprints).tolist() == [[0, 2], [0, 4]]
    assert VECTOR.near_duplicates(fingerprints[:2]).shape == (0, 2)


def test_a_person_sees_the_first_numbers() -> None:
    shown = VECTOR.show(npy(np.arange(1000) / 3), 40)
    assert [one.text for one in shown.pieces] == ["0, 0.333, 0.667, 1, … (1,000 numbers)"]
    assert VECTOR.show(b"1.5 2", 160).pieces[0].text == "1.5, 2"
    assert VECTOR.overlay(b"1.5 2", np.zeros(2), ANY, 160) == VECTOR.show(b"1.5 2", 160)


def test_the_classical_description_is_the_numbers() -> None:
    described = [VECTOR.classical(one) for one in (b"1 2", b"3 4")]
    fitted, tested = VECTOR.tabulate([*described, ""], described[:1])
    assert fitted.tolist() == [[1, 2], [3, 4], [0, 0]]
    assert tested.tolist() == [[1, 2]]


def test_synthetic_vectors_have_the_length_that_is_wanted() -> None:
    made = VECTOR.synthetic(3, 5, VectorPreprocessing(11))
    assert made == VECTOR.synthetic(3, 5, VectorPreprocessing(11))
    assert made[:2] == VECTOR.synthetic(2, 5, VectorPreprocessing(11))
    assert len({*made, *VECTOR.synthetic(3, 6, VectorPreprocessing(11))}) == 6
    assert {len(VECTOR.decode(one, VectorPreprocessing(11)).tensor) for one in made} == {11}
    assert len(VECTOR.decode(VECTOR.synthetic(1, 0)[0], ANY).tensor) > 1


def test_nothing_is_varied_and_no_part_is_missing() -> None:
    spec = VectorPreprocessing(2)
    tensor = np.array([1, 2], np.float32)
    assert VECTOR.canvas(spec) == spec
    assert VECTOR.vary(tensor, spec, np.random.default_rng(0)) is tensor
    assert VECTOR.parts(tensor) is None  # type: ignore[func-returns-value]
    assert VECTOR.languages([b"1"]) == {}
