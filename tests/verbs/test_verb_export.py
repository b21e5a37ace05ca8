"""`export`: one ONNX file, proven in ONNX Runtime before it is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from topwork import Model, StorageError, Surroundings, UsageError, export


def test_the_file_answers_as_the_bundle(fitted: Model, tmp_path: Path, around: Surroundings) -> None:
    found = export(fitted.path, tmp_path / "colours.onnx", around=around)
    assert found.path == tmp_path / "colours.onnx"
    assert found.n_bytes == found.path.stat().st_size
    assert found.largest_difference < 1e-4 < found.allowed
    assert found.n_goldens == 8
    assert found.inputs == {"input": ("batch", 32, 32, 3)}
    assert found.outputs["scores.label"] == ("batch", 3)
    onnx.checker.check_model(str(found.path), full_check=True)
    session = onnxruntime.InferenceSession(found.path)
    golden = fitted.servable.bundle.goldens()[0]
    scores = session.run(["scores.label"], {"input": golden.tensor[None]})[0]
    np.testing.assert_allclose(scores[0], golden.outputs["scores.label"], rtol=1e-3, atol=1e-3)
    told = {one.key: one.value for one in onnx.load(str(found.path)).metadata_props}
    assert told["topwork.bundle"] == fitted.servable.bundle.identity


def test_the_same_bundle_gives_the_same_file(fitted: Model, tmp_path: Path, around: Surroundings) -> None:
    for name in ("a.onnx", "b.onnx"):
        export(fitted.path, tmp_path / name, around=around)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_places_that_cannot_be_are_refused_before_anything_is_read(
    fitted: Model, tmp_path: Path, around: Surroundings
) -> None:
    with pytest.raises(UsageError, match=r"does not end in \.onnx") as told:
        export(fitted.path, tmp_path / "colours.pb", around=around)
    assert told.value.next_step == "Give a name such as colours.onnx."
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        export(tmp_path / "gone.topwork", tmp_path / "folder.onnx", around=around)
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    with pytest.raises(StorageError):
        export(fitted.path, tmp_path / "file" / "a.onnx", around=around)


def test_a_target_that_is_not_there_is_refused(fitted: Model, tmp_path: Path, around: Surroundings) -> None:
    with pytest.raises(UsageError, match="no target 'colour'"):
        export(fitted.path, tmp_path / "a.onnx", only="colour", around=around)
    assert not list(tmp_path.iterdir())
