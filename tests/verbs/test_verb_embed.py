"""`embed`: vectors in the order of the inputs, whatever they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import topwork as tw
from tiny_text_trunk import N_FEATURES as N_TEXT_FEATURES
from tiny_text_trunk import write_tiny_text_trunk
from tiny_trunk import N_FEATURES
from topwork import DataError, Model, Surroundings, UsageError


def test_photos_become_vectors_and_a_bad_one_is_told(
    photos: Path, tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no photo")
    files = sorted((photos / "green").glob("*.jpg"))[:10]
    found = tw.embed([files[0], bad, *files[1:]], str(tiny_trunk), around=around)
    assert found.vectors.shape == (11, N_FEATURES)
    assert (found.vectors.dtype.name, found.trunk) == ("float32", "tiny")
    assert np.isnan(found.vectors).all(axis=1).tolist() == [row == 1 for row in range(11)]
    assert list(found.problems) == [1]
    again = tw.embed(files, str(tiny_trunk), normalize=True, around=around)
    length = np.linalg.norm(found.vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(again.vectors, np.delete(found.vectors / length, 1, 0), atol=1e-5)


def test_texts_become_vectors(tmp_path: Path, around: Surroundings) -> None:
    trunk = write_tiny_text_trunk(tmp_path / "words")
    found = tw.embed(["one text", "another", "one text"], str(trunk), around=around)
    assert found.vectors.shape == (3, N_TEXT_FEATURES)
    np.testing.assert_allclose(found.vectors[0], found.vectors[2], atol=1e-5)
    assert np.abs(found.vectors[0] - found.vectors[1]).max() > 0.01


def test_the_network_of_a_bundle_will_do(fitted: Model, photos: Path, around: Surroundings) -> None:
    file = next(iter(sorted(photos.rglob("*.jpg"))))
    found = tw.embed([file], str(fitted.path), around=around)
    assert (found.vectors.shape, found.trunk) == ((1, N_FEATURES), "colours")


def test_the_kind_of_inputs_chooses_the_trunk(around: Surroundings) -> None:
    """Of rows of numbers that is the one that needs a length, which says which one it was."""
    with pytest.raises(UsageError, match="'identity' takes its length from the data"):
        tw.embed([[1.0, 2.0]], around=around)
    found = tw.embed([[1.0, 2.0]], "identity/2", around=around)
    assert found.vectors.tolist() == [[1, 2]]


@pytest.mark.parametrize("inputs", [[], "one text", {"text": ["one"]}])
def test_what_is_no_list_of_inputs_is_refused(inputs: list[str], around: Surroundings) -> None:
    with pytest.raises(DataError, match="no list of inputs, or an empty one"):
        tw.embed(inputs, around=around)
