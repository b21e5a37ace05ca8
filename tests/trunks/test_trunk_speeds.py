from __future__ import annotations

from pathlib import Path

import pytest

from topwork.errors import StorageError
from topwork.trunks import recall, remember


def test_what_was_remembered_is_recalled(tmp_path: Path) -> None:
    remember(tmp_path, "a", engine="openvino", precision="fp32", items_per_s=130.456)
    remember(tmp_path, "a", engine="torch", precision="bf16", items_per_s=50)
    remember(tmp_path, "b", engine="openvino", precision="fp32", items_per_s=7)
    assert recall(tmp_path, "a", engine="openvino", precision="fp32") == 130.46
    assert recall(tmp_path, "a", engine="torch", precision="bf16") == 50
    assert recall(tmp_path, "b", engine="openvino", precision="fp32") == 7


def test_a_later_measurement_replaces_an_earlier_one(tmp_path: Path) -> None:
    for rate in (1.0, 2.0):
        remember(tmp_path, "a", engine="openvino", precision="fp32", items_per_s=rate)
    assert recall(tmp_path, "a", engine="openvino", precision="fp32") == 2
    assert [p.name for p in tmp_path.iterdir()] == ["speeds.json"]


def test_what_was_never_measured_is_not_known(tmp_path: Path) -> None:
    assert recall(tmp_path / "nowhere", "a", engine="openvino", precision="fp32") is None
    remember(tmp_path, "a", engine="openvino", precision="fp32", items_per_s=1)
    assert recall(tmp_path, "a", engine="openvino", precision="bf16") is None


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b"\xff", b'{"a": 3}', b'{"a": {"openvino-fp32": "fast"}}', b'{"a": {"openvino-fp32": -1}}',
     b'{"a": {"openvino-fp32": NaN}}'],
)  # fmt: skip
def test_a_damaged_file_means_that_nothing_is_known(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "speeds.json").write_bytes(content)
    assert recall(tmp_path, "a", engine="openvino", precision="fp32") is None
    remember(tmp_path, "a", engine="openvino", precision="fp32", items_per_s=3)
    assert recall(tmp_path, "a", engine="openvino", precision="fp32") == 3


def test_a_cache_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        remember(tmp_path / "file", "a", engine="openvino", precision="fp32", items_per_s=1)
