"""The real client of the Open Inference Protocol, NVIDIA's tritonclient, against a real server process."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import warnings
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).resolve().parents[1]
SCRIPT = """
from fake_servable import PICTURE, TEXT, FakeServable
from topwork.contracts import Wire
from topwork.serving.app import Application
from topwork.serving.hosting import Hosted
from topwork.serving.limits import Limits
from topwork.serving.server import run
numbers = Wire("numbers", ("text/csv",), "textarea", 1000, "vector")
servables = [FakeServable("photos", PICTURE), FakeServable("texts", TEXT), FakeServable("rows", numbers)]
limits = Limits(max_inputs=4)
app = Application([Hosted(one, limits) for one in servables], limits)
run(app, port=0, on_ready=lambda url: print(url, flush=True))
"""


@contextmanager
def serving() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])},
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip().removeprefix("http://")
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def triton() -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the client's own libraries say of this Python
        import tritonclient.http
    with serving() as address, closing(tritonclient.http.InferenceServerClient(address)) as client:
        yield client


def tensor(values: Any, datatype: str, *, binary: bool = True) -> Any:
    import tritonclient.http

    array = np.array(values)
    given = tritonclient.http.InferInput("input", list(array.shape), datatype)
    return given.set_data_from_numpy(array, binary_data=binary)


def texts(*values: bytes) -> Any:
    return np.array(values, dtype=np.object_)


def test_it_finds_the_server_and_its_models(triton: Any) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("photos")
    assert triton.is_model_ready("photos", "1")
    assert not triton.is_model_ready("photos", "2")
    assert not triton.is_model_ready("other")
    assert triton.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = triton.get_model_metadata("rows", "1")
    assert metadata["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, -1]}]
    assert [output["name"] for output in metadata["outputs"]] == ["answer", "label"]


def test_by_default_all_tensors_are_binary(triton: Any) -> None:
    found = triton.infer("photos", [tensor(texts(b"\xff\xd8\0", b"four"), "BYTES")], request_id="7")
    assert list(found.as_numpy("label")) == [b"Pawn", b"Queen"]
    assert [json.loads(one)["n_bytes"] for one in found.as_numpy("answer")] == [3, 4]
    response = found.get_response()
    assert (response["model_name"], response["model_version"], response["id"]) == ("photos", "1", "7")
    assert "binary_data_size" in found.get_output("label")["parameters"]


@pytest.mark.parametrize("binary", [True, False])
def test_outputs_come_as_they_are_asked_for(triton: Any, binary: bool) -> None:
    import tritonclient.http

    wanted = [tritonclient.http.InferRequestedOutput("label", binary_data=binary)]
    given = tensor(texts("Grüße".encode()), "BYTES", binary=binary)
    found = triton.infer("texts", [given], outputs=wanted)
    assert [one if isinstance(one, str) else one.decode() for one in found.as_numpy("label")] == ["King"]
    assert found.as_numpy("answer") is None


def test_encoded_inputs_in_json_are_base64(triton: Any) -> None:
    encoded = base64.b64encode(b"\xff\xd8\0")
    found = triton.infer("photos", [tensor(texts(encoded), "BYTES", binary=False)])
    assert list(found.as_numpy("label")) == [b"Pawn"]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_numbers_are_rows(triton: Any, dtype: Any, binary: bool) -> None:
    from tritonclient.utils import np_to_triton_dtype

    rows = np.array([[1, 2], [3, 40]], dtype=dtype)
    found = triton.infer("rows", [tensor(rows, np_to_triton_dtype(dtype), binary=binary)])
    sent = [json.dumps(row.tolist()) for row in rows]
    assert [json.loads(one)["n_bytes"] for one in found.as_numpy("answer")] == [len(one) for one in sent]


def test_errors_reach_the_client_as_text(triton: Any) -> None:
    from tritonclient.utils import InferenceServerException

    cases = [
        ("other", tensor(texts(b"a"), "BYTES"), "404", "There is no model 'other'"),
        ("photos", tensor([[1.0]], "FP64"), "400", "The input is FP64 of the shape [1, 1]"),
        ("photos", tensor(texts(b"a", b"bad"), "BYTES"), "422", "Input 1: It is no photo"),
        ("photos", tensor(texts(*[b"a"] * 5), "BYTES"), "422", "more than 4 inputs"),
        ("rows", tensor(texts(b"a"), "BYTES"), "400", "datatype FP32"),
    ]
    for model, given, status, said in cases:
        with pytest.raises(InferenceServerException) as caught:
            triton.infer(model, [given])
        assert caught.value.status() == status
        assert said in caught.value.message()
    with pytest.raises(InferenceServerException, match="content encoding is 'gzip'"):
        triton.infer("photos", [tensor(texts(b"a"), "BYTES")], request_compression_algorithm="gzip")


def test_a_response_may_stay_uncompressed(triton: Any) -> None:
    found = triton.infer("photos", [tensor(texts(b"abc"), "BYTES")], response_compression_algorithm="gzip")
    assert list(found.as_numpy("label")) == [b"Pawn"]
