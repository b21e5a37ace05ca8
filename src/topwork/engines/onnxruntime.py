"""ONNX Runtime: runs wherever OpenVINO does not. It knows nothing of what the graph is."""

from __future__ import annotations

from typing import Any

from topwork.contracts import Array, Graph, Precision
from topwork.engines.graphs import assemble, is_quantized
from topwork.engines.machine import require_share
from topwork.errors import MissingExtraError, TopworkError, UsageError

__all__ = ["OnnxRuntimeEngine"]


class OnnxRuntimeEngine:
    """A session on the CPU; a session may be used by several threads at once.

    Parameters
    ----------
    graph
        What to run.
    precision
        That of the graph: ``fp32``, or ``int8`` of one that was quantised.
    n_threads
        Threads of all streams together.
    n_streams
        Calls that make progress at once, each by ``n_threads / n_streams`` threads.

    Raises
    ------
    MissingExtraError
        ONNX Runtime is not installed.
    UsageError
        ``precision`` is not that of the graph, or there is no thread or stream.
    TopworkError
        ONNX Runtime cannot read the graph.
    """

    name = "onnxruntime"

    def __init__(
        self, graph: Graph, precision: Precision = "fp32", *, n_threads: int, n_streams: int = 1
    ) -> None:
        require_share(n_threads, n_streams)
        if precision != (own := "int8" if is_quantized(graph) else "fp32"):
            raise UsageError(
                f"ONNX Runtime runs a graph as it is, in {own}, not in {precision}.",
                next_step=f"Choose {own}, or the engine openvino.",
            )
        self.precision: Precision = precision
        self.n_streams = n_streams
        self.output_names = graph.output_names
        runtime = _onnxruntime()
        self.version = str(runtime.__version__)
        self._session = _session(runtime, assemble(graph), max(1, n_threads // n_streams))

    def run(self, batch: Array) -> dict[str, Array]:
        """Run a raw batch ``[n, ...]``."""
        try:
            outputs = self._session.run(list(self.output_names), {"input": batch})
        except Exception as error:  # its errors have no common root but Exception
            raise TopworkError(
                f"ONNX Runtime cannot run a batch {batch.dtype} {list(batch.shape)}: {error}",
                next_step="Give inputs of the size and type that the network was exported for.",
            ) from error
        return dict(zip(self.output_names, outputs, strict=True))


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(
            "The engine onnxruntime is not installed.",
            next_step="Install topwork with its extra onnxruntime.",
        ) from error
    return onnxruntime


def _session(runtime: Any, model: bytes, n_threads: int) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.log_severity_level = 3
    try:
        return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common root but Exception
        raise TopworkError(
            f"ONNX Runtime cannot read the network: {error}",
            next_step="Try --engine openvino, and report this with the version of ONNX Runtime.",
        ) from error
