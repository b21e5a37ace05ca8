"""OpenVINO: the fastest engine for a CPU. It knows how to run a graph, and nothing of what the graph is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any, Final

import numpy as np

from topwork.contracts import Array, Graph, Precision
from topwork.engines.graphs import assemble, is_quantized
from topwork.engines.machine import require_share
from topwork.engines.mapped import laid_out
from topwork.errors import MissingExtraError, TopworkError, UsageError

__all__ = ["NUMBERS", "OpenVinoEngine", "compiled", "core", "library"]

NUMBERS: Final = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
"""What OpenVINO calls the number formats that it computes an fp32 graph in."""
_FIRST_CALL = Lock()


class OpenVinoEngine:
    """A compiled network and a pool of requests, one for each stream.

    Parameters
    ----------
    graph
        What to run.
    precision
        ``fp32``, ``bf16`` or ``fp16``, or ``int8`` of a graph that was quantised, where what is not quantised is
        computed as OpenVINO finds best here; outputs are ``float32`` in any case.
    n_threads
        Threads of all streams together.
    n_streams
        Calls that make progress at once. With 1, all threads work on one call (lowest latency); with as
        many as threads, each works on a call of its own (highest throughput).
    shelf
        Folder of this network, for processes that map its weights; None keeps them in this one.

    Raises
    ------
    UsageError
        The precision is ``int8`` and the graph is not quantised, or there is no thread or stream.
    MissingExtraError
        OpenVINO is not installed.
    TopworkError
        OpenVINO cannot read or compile the graph.
    """

    name = "openvino"

    def __init__(
        self,
        graph: Graph,
        precision: Precision = "fp32",
        *,
        n_threads: int,
        n_streams: int = 1,
        shelf: Path | None = None,
    ) -> None:
        require_share(n_threads, n_streams)
        self.precision: Precision = _supported(precision, graph)
        self.n_streams = n_streams
        self.output_names = graph.output_names
        self.version = str(library().__version__).split("-")[0]
        source = assemble(graph) if shelf is None else laid_out(graph, shelf / "openvino")
        network = compiled(source, _settings(precision, n_threads, n_streams))
        self._idle: SimpleQueue[Any] = SimpleQueue()
        for _ in range(n_streams):
            self._idle.put(network.create_infer_request())
        # OpenVINO's binding to NumPy sets itself up in the first call of a process, and two first calls at once
        # wait for each other for ever: one thread holds the set-up and wants the GIL, the other the reverse.
        with _FIRST_CALL:
            self.run(_smallest(network.input(0)))

    def run(self, batch: Array) -> dict[str, Array]:
        """Run a raw batch ``[n, ...]``; wait for a free request where ``n_streams`` calls are under way."""
        request = self._idle.get()
        try:
            # Sharing is safe: the call returns only when the request has read the batch.
            request.infer({0: np.ascontiguousarray(batch)}, share_inputs=True)
            # A request's buffer is overwritten by its next call, so what leaves is a copy.
            return {
                name: np.array(request.get_output_tensor(i).data, dtype=np.float32)
                for i, name in enumerate(self.output_names)
            }
        except RuntimeError as error:
            raise TopworkError(
                f"OpenVINO cannot run a batch {batch.dtype} {list(batch.shape)}: {error}",
                next_step="Give inputs of the size and type that the network was exported for.",
            ) from error
        finally:
            self._idle.put(request)


def _supported(precision: Precision, graph: Graph) -> Precision:
    if precision not in NUMBERS and not (precision == "int8" and is_quantized(graph)):
        raise UsageError(
            f"OpenVINO does not run an fp32 graph in {precision}; expected one of {', '.join(NUMBERS)}.",
            next_step="Choose another precision.",
        )
    return precision


def library() -> Any:
    """Return the package.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError(
            "The engine openvino is not installed.", next_step="Run: pip install openvino"
        ) from error
    return openvino


def _settings(precision: Precision, n_threads: int, n_streams: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY" if n_streams == 1 else "THROUGHPUT",
        "NUM_STREAMS": n_streams,
        "INFERENCE_NUM_THREADS": n_threads,
    }
    return found if precision == "int8" else {**found, "INFERENCE_PRECISION_HINT": NUMBERS[precision]}


def _smallest(port: Any) -> Array:
    """Return a batch of one input of zeros, every other axis as short as the network allows."""
    shape = (max(1, axis.get_min_length()) for axis in list(port.get_partial_shape())[1:])
    return np.zeros((1, *shape), dtype=port.get_element_type().to_dtype())


@cache
def core() -> Any:
    """Return the one core of this process, which is never let go.

    OpenVINO's CPU plug-in gives the thread that loads it a signal stack of its own, and frees that stack with
    the last network. Where another thread does the freeing, the first one keeps a stack that is no longer
    there, and its next signal (a Ctrl-C) kills the process.
    """
    return library().Core()


def compiled(
    source: bytes | Path, settings: Mapping[str, Any], change: Callable[[Any], None] = lambda _: None
) -> Any:
    """Read an ONNX model, change it in place as wanted, and compile it.

    Raises
    ------
    TopworkError
        OpenVINO cannot read or compile it.
    """
    try:
        # What lies in files is mapped, and stays so.
        model = (
            core().read_model(source, b"") if isinstance(source, bytes) else core().read_model(str(source))
        )
        change(model)
        return core().compile_model(model, "CPU", dict(settings))
    except RuntimeError as error:
        raise TopworkError(
            f"OpenVINO cannot compile the network: {error}",
            next_step="Try --engine onnxruntime, and report this with the version of OpenVINO.",
        ) from error
