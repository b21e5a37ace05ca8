"""ONNX Runtime: runs wherever OpenVINO does not. It knows nothing of what the graph is."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from topwork.contracts import Array, Graph, Precision
from topwork.engines.graphs import assemble, is_quantized
from topwork.engines.machine import processor_mark, require_share
from topwork.engines.mapped import MODEL, WEIGHTS, made
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
    shelf
        Folder of this network, for processes that map its weights; None keeps them in this one.

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
        self,
        graph: Graph,
        precision: Precision = "fp32",
        *,
        n_threads: int,
        n_streams: int = 1,
        shelf: Path | None = None,
    ) -> None:
        require_share(n_threads, n_streams)
        if precision != (has := "int8" if is_quantized(graph) else "fp32"):
            raise UsageError(
                f"ONNX Runtime runs a graph as it is, in {has}, not in {precision}.",
                next_step=f"Choose {has}, or the engine openvino.",
            )
        self.precision: Precision = precision
        self.n_streams = n_streams
        self.output_names = graph.output_names
        runtime = _onnxruntime()
        self.version = str(runtime.__version__)
        # How it packs weights is a matter of its version and of the processor.
        own = f"onnxruntime-{self.version}-{processor_mark()}"
        source = assemble(graph) if shelf is None else made(shelf / own, partial(_pack, runtime, graph))
        self._session = _session(runtime, source, max(1, n_threads // n_streams))

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


def _pack(runtime: Any, graph: Graph, folder: Path) -> None:
    """Write the network as ONNX Runtime has it once it is optimised, with its weights as they are computed with."""
    options = runtime.SessionOptions()
    options.optimized_model_filepath = str(folder / MODEL)
    for key, value in (
        ("optimized_model_external_initializers_file_name", WEIGHTS),
        ("optimized_model_external_initializers_min_size_in_bytes", "1024"),
        ("save_external_prepacked_constant_initializers", "1"),
    ):
        options.add_session_config_entry(f"session.{key}", value)
    _session(runtime, assemble(graph), 1, options)


def _session(runtime: Any, source: bytes | Path, n_threads: int, options: Any = None) -> Any:
    options = options or runtime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.log_severity_level = 3
    model = source if isinstance(source, bytes) else str(source)
    try:
        return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common root but Exception
        raise TopworkError(
            f"ONNX Runtime cannot read the network: {error}",
            next_step="Try --engine openvino, and report this with the version of ONNX Runtime.",
        ) from error
