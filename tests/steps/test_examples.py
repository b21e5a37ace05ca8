"""Which training inputs a bundle keeps for calibrating: how many, of which rows, and when none."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from quick import fit_probe
from tiny_bundle import N_BYTES, TinyModality, TinyPreprocessing
from topwork import FitOptions, Model, Surroundings
from topwork.contracts import Dataset
from topwork.errors import DecodeError
from topwork.steps.examples import MOST, MOST_BYTES, spread_out


def dataset(n: int, *, bad: frozenset[int] = frozenset()) -> Dataset:
    def read(row: int) -> bytes:
        if row in bad:
            raise DecodeError("gone")
        return bytes([row % 256]) * N_BYTES

    return Dataset("grid", tuple(map(str, range(n))), read, {"label": ("a",) * n})


def kept(n: int, bad: frozenset[int] = frozenset()) -> list[int]:
    rows = np.arange(n)
    found = spread_out(dataset(n, bad=bad), rows, TinyModality(), TinyPreprocessing())
    return [int(one[0, 0, 0]) for one in found]


def test_rows_are_spread_over_all_that_were_fitted_on() -> None:
    assert kept(5) == [0, 1, 2, 3, 4]
    many = kept(256)
    assert len(many) == MOST
    assert (many[0], many[-1]) == (0, 255)
    assert set(np.diff(many)) <= {2, 3}


def test_what_cannot_be_read_any_more_is_left_out() -> None:
    assert kept(5, frozenset({0, 3})) == [1, 2, 4]
    assert kept(3, frozenset({0, 1, 2})) == []
    assert kept(0) == []


def test_large_inputs_are_fewer_and_spread_all_the_same() -> None:
    class Large(TinyModality):
        def decode(self, encoded, preprocessing):  # type: ignore[no-untyped-def]
            one = super().decode(encoded, preprocessing)
            return type(one)(np.repeat(one.tensor, 40_000, axis=0), one.fingerprint, one.facts)

    found = spread_out(dataset(200), np.arange(200), Large(), TinyPreprocessing())
    assert 0 < len(found) < 10
    assert sum(one.nbytes for one in found) <= MOST_BYTES
    assert int(found[-1][0, 0, 0]) == 199


def test_a_fit_keeps_training_rows_as_the_network_takes_them(fitted: Model, photos: Path) -> None:
    examples = fitted.servable.bundle.examples()
    assert 40 <= len(examples) <= 48
    assert {one.shape for one in examples} == {(32, 32, 3)}
    assert {one.dtype for one in examples} == {np.dtype(np.uint8)}
    decode, spec = fitted.servable.modality.decode, fitted.servable.preprocessing
    sides = fitted.servable.bundle.sides()
    contents = {path: path.read_bytes() for path in photos.rglob("*.jpg")}
    of_sides = {
        decode(one, spec).tensor.tobytes(): sides[sha256(one).hexdigest()] for one in contents.values()
    }
    assert {of_sides[one.tobytes()] for one in examples} == {"train"}


@pytest.mark.parametrize(
    "options",
    [
        FitOptions(keep_examples=False, proof="none"),
        FitOptions(keep_training_data=False, proof="none"),
    ],
    ids=["asked", "no data"],
)
def test_none_are_kept_where_they_are_not_wanted(
    options: FitOptions, photos: Path, tiny_trunk: Path, around: Surroundings
) -> None:
    model = fit_probe(photos, trunk=str(tiny_trunk), options=options, around=around)
    assert model.servable.bundle.examples() == ()
    assert model.servable.bundle.manifest.format == 1
