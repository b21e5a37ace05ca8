"""What the peers of the serving benchmark are told, and the network that both of them put behind HTTP.

It is the bundle's own graph, as an ONNX file; a peer decodes as its tutorials do, or reduces JPEGs early as topwork
does. Light, because the benchmark imports it too; it knows no server.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Network", "Serving", "opened", "tensor_of"]


@dataclass(frozen=True, slots=True)
class Serving:
    """What a user of a peer may choose.

    Attributes
    ----------
    engine
        ``onnxruntime`` or ``openvino``.
    max_batch, wait_ms
        Largest batch, and how long the first of it waits for others.
    n_workers
        Processes with a network each.
    n_threads
        Threads of each network; 0 leaves them as they come.
    reduces_early
        Whether a JPEG is reduced while it is decoded.
    """

    engine: str = "onnxruntime"
    max_batch: int = 8
    wait_ms: float = 10.0
    n_workers: int = 1
    n_threads: int = 0
    reduces_early: bool = False

    def shown(self) -> str:
        """Return the settings in a few words."""
        words = [
            self.engine,
            f"batches of {self.max_batch}",
            f"{self.wait_ms:g} ms",
            f"{self.n_workers} workers" if self.n_workers > 1 else "",
            f"{self.n_threads} threads" if self.n_threads else "",
            "early reduction" if self.reduces_early else "",
        ]
        return ", ".join(word for word in words if word)


class Network:
    """A graph out of a file in one of two engines.

    Parameters
    ----------
    path
        An ONNX file with the input ``input``, ``uint8 [n, height, width, 3]``.
    output
        Name of the output with the scores.
    """

    def __init__(self, path: str, output: str, settings: Serving) -> None:
        self._output = output
        self._run = (
            _onnxruntime(path, settings) if settings.engine == "onnxruntime" else _openvino(path, settings)
        )

    def labels(self, tensors: Sequence[np.ndarray[Any, Any]], labels: Sequence[str]) -> list[str]:
        """Return the likeliest label of each."""
        scores = self._run(np.stack(list(tensors)), self._output)
        return [labels[place] for place in scores.argmax(axis=1)]


def _onnxruntime(path: str, settings: Serving) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if settings.n_threads:
        options.intra_op_num_threads = settings.n_threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda batch, output: session.run([output], {"input": batch})[0]


def _openvino(path: str, settings: Serving) -> Any:
    import openvino

    chosen: dict[str, object] = {"PERFORMANCE_HINT": "THROUGHPUT"}
    if settings.n_threads:
        chosen["INFERENCE_NUM_THREADS"] = settings.n_threads
    compiled = openvino.Core().compile_model(path, "CPU", chosen)
    return lambda batch, output: compiled({"input": batch})[output]


def tensor_of(photo: Image, preprocessing: Mapping[str, Any], settings: Serving) -> np.ndarray[Any, Any]:
    """Return what the network is given of an opened picture, ``uint8 [height, width, 3]``."""
    from PIL.Image import Resampling

    height, width = preprocessing["height"], preprocessing["width"]
    side = round(max(height, width) / preprocessing["crop_fraction"])
    if settings.reduces_early:
        photo.draft("RGB", (side, side))
    photo = photo.convert("RGB")
    scale = side / min(photo.size)
    size = (max(side, round(photo.width * scale)), max(side, round(photo.height * scale)))
    photo = photo.resize(size, Resampling.BICUBIC)
    left, top = (photo.width - width) // 2, (photo.height - height) // 2
    return np.asarray(photo.crop((left, top, left + width, top + height)))


def opened(content: bytes) -> Image:
    """Open a picture."""
    import PIL.Image

    return PIL.Image.open(io.BytesIO(content))
