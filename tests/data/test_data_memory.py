"""What is in memory: texts, paths, pictures and rows of numbers are told apart, and become a data set."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest

from topwork.contracts import Dataset
from topwork.data.memory import dataset_of, items_of, kind_of_items, rows_of
from topwork.data.reading import ReadOptions, name_of, read, spelled
from topwork.errors import DataError
from topwork.inputs import VECTOR
from toy_photos import photo

PICTURE = np.zeros((8, 9, 3), np.uint8)


def series(values: list[object]) -> Any:
    pandas = pytest.importorskip("pandas")
    return pandas.Series(values)


@pytest.mark.parametrize(
    ("inputs", "kind"),
    [
        (["a text", "photo.jpg"], "text"),
        (("late", "soon"), "text"),
        (np.array(["late", "soon"]), "text"),
        (np.array(["late", "soon"], object), "text"),
        (["a.jpg", "no/b.PNG"], "image"),
        ([Path("a.jpg"), Path("b.txt"), Path("c.jpeg")], "image"),
        ([Path("a.txt")], "text"),
        ([PurePosixPath("a.npy")], "vector"),
        ([PICTURE, PICTURE[:4]], "image"),
        ([photo((1, 2, 3), 0)], "image"),
        (np.zeros((2, 8, 9, 3), np.uint8), "image"),
        (np.zeros((2, 8, 9), np.uint8), "image"),
    ],
)
def test_inputs_that_stand_for_themselves_are_told_apart(inputs: Any, kind: str) -> None:
    items = items_of(inputs)
    assert items is not None
    assert len(items) == len(inputs)
    assert kind_of_items(items).name == kind


def test_a_series_of_pandas_is_a_list() -> None:
    texts = series(["late", "soon"])
    texts.index = [7, 3]
    assert items_of(texts) == ["late", "soon"]
    assert items_of(series([1.0, 2.0])) is None


@pytest.mark.parametrize(
    "inputs",
    [[[1, 2], [3, 4]], np.ones((2, 2)), [np.ones(2), np.ones(2)], np.ones((2, 2), object), ((1, 2), (3, 4))],
)
def test_rows_of_numbers_are_no_items(inputs: Any) -> None:
    assert items_of(inputs) is None
    rows = rows_of(inputs)
    assert rows is not None
    assert rows.dtype == np.float64
    assert rows.shape == (2, 2)


@pytest.mark.parametrize("inputs", [[], "one text", 5, {"a": 1}, [1.0, 2.0], ["text"]])
def test_what_is_neither_is_left_to_others(inputs: Any) -> None:
    assert rows_of(inputs) is None


@pytest.mark.parametrize("inputs", [[[1, 2], [3]], [["a", "b"]], np.array([["a"]])])
def test_rows_that_are_no_table_of_numbers_are_refused(inputs: Any) -> None:
    with pytest.raises(DataError, match="no table of numbers"):
        rows_of(inputs)


def test_files_and_bytes_that_could_be_anything_are_refused() -> None:
    with pytest.raises(DataError, match=r"files such as notes\.docx"):
        kind_of_items([Path("notes.docx")])
    with pytest.raises(DataError, match="may be a photo, a text or anything else"):
        kind_of_items([b"late"])


def test_a_pair_of_rows_and_labels_is_a_data_set_of_vectors() -> None:
    rows = np.arange(6).reshape(3, 2)
    dataset = read((rows, [1, None, 2.0]))
    assert (dataset.modality, dataset.keys) == ("vector", ("row 1", "row 2", "row 3"))
    assert dataset.targets == {"label": ("1", None, "2")}
    assert VECTOR.decode(dataset.read(2), VECTOR.inspection_preprocessing()).tensor.tolist() == [4, 5]
    assert read((rows, [1, 2, 3]), ReadOptions(target=("price",))).targets == {"price": ("1", "2", "3")}


def test_a_pair_of_paths_is_a_data_set_of_files(tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.txt" for name in ("one", "two")]
    for file in files:
        file.write_text(f"text {file.stem}", encoding="utf-8")
    dataset = read((files, ["a", "b"]))
    assert (dataset.modality, dataset.keys) == ("text", tuple(map(str, files)))
    assert dataset.read(1) == b"text two"
    twice = read(([files[0], files[0]], ["a", "b"]))
    assert twice.keys == ("row 1", "row 2")


def test_a_pair_of_texts_stays_a_table() -> None:
    dataset = read((["late", "soon", ""], ["bad", "good", "good"]))
    assert (dataset.modality, len(dataset), len(dataset.rejected)) == ("text", 2, 1)


def test_more_labels_than_inputs_are_refused() -> None:
    with pytest.raises(DataError, match="2 inputs and 3 values of 'label'"):
        read((np.ones((2, 2)), [1, 2, 3]))


def test_a_data_set_that_somebody_made_is_taken_as_it_is() -> None:
    dataset = dataset_of([[1, 2], [3, 4]], {"y": ["a", "b"]}, VECTOR)
    assert isinstance(dataset, Dataset)
    assert read(dataset) is dataset
    assert (name_of(dataset).name, spelled(dataset), spelled(([], []))) == (
        "in-memory",
        "dataset",
        "(inputs, labels)",
    )
