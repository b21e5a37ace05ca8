"""torch on a GPU without the cost of launching: a module's work is recorded once for each shape and then replayed.

Small batches leave a GPU waiting for Python, which hands it one operation after the other; a CUDA graph hands it all of
them at once. It knows nothing of what the module is. Untested: it has not been run on any GPU yet.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from topwork.contracts import Array, Exportable, Precision
from topwork.errors import TopworkError, UsageError

if TYPE_CHECKING:
    import torch

__all__ = ["CudaGraphEngine"]

_N_WARM: Final = 3
"""Calls before recording: in the first ones torch chooses algorithms and sets up workspaces, which is not recorded."""
_MOST_SHAPES: Final = 16
"""Recordings that are kept, each with memory of its own; texts come in many shapes."""


@dataclass(frozen=True, slots=True)
class _Recording:
    """A recorded call: what is read and written each time, always in the same memory."""

    graph: Any
    given: torch.Tensor
    outputs: tuple[torch.Tensor, ...]


class CudaGraphEngine:
    """A copy of a module on the first GPU, called by one thread at a time; see `topwork.contracts.Engine`.

    Parameters
    ----------
    exportable
        The module; the caller's stays as it is.
    precision
        ``fp32``, or ``bf16`` or ``fp16`` through autocast; outputs are ``float32`` in any case.

    Raises
    ------
    UsageError
        ``int8``, or torch sees no GPU.
    """

    name = "torch"
    n_streams = 1

    def __init__(self, exportable: Exportable, precision: Precision) -> None:
        import torch

        if precision == "int8" or not torch.cuda.is_available():
            raise UsageError(
                f"CUDA graphs were asked for in {precision}; torch {torch.__version__} "
                f"{'does not run a module so' if torch.cuda.is_available() else 'sees no GPU'}.",
                next_step="Choose another precision, or another engine.",
            )
        self.precision: Precision = precision
        self.version = str(torch.__version__)
        self.output_names = exportable.output_names
        self._module = copy.deepcopy(exportable.module).eval().to("cuda")
        self._recordings: dict[tuple[int, ...], _Recording] = {}
        self._one_at_a_time = Lock()

    def run(self, batch: Array) -> dict[str, Array]:
        """Run a raw batch ``[n, ...]``; the first of its shape is recorded."""
        import torch

        tensor = torch.from_numpy(np.require(batch, requirements=("C", "W")))
        try:
            with self._one_at_a_time, torch.inference_mode():
                recording = self._recordings.get(batch.shape) or self._record(tensor)
                recording.given.copy_(tensor)
                recording.graph.replay()
                arrays = [output.float().cpu().numpy() for output in recording.outputs]
        except RuntimeError as error:
            raise TopworkError(
                f"torch cannot run a batch {batch.dtype} {list(batch.shape)} as a CUDA graph: {error}",
                next_step="Use it without CUDA graphs, or give fewer inputs at once.",
            ) from error
        return dict(zip(self.output_names, arrays, strict=True))

    def _record(self, tensor: torch.Tensor) -> _Recording:
        import torch

        if len(self._recordings) >= _MOST_SHAPES:
            self._recordings.pop(next(iter(self._recordings)))
        given = tensor.to("cuda")
        aside: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_N_WARM):
                self._call(given)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = self._call(given)
        self._recordings[tuple(tensor.shape)] = found = _Recording(graph, given, outputs)
        return found

    def _call(self, given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        import torch

        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float16
        # Autocast's cache of cast weights would be freed under a recording that still reads it.
        with torch.autocast("cuda", dtype, enabled=self.precision != "fp32", cache_enabled=False):
            outputs: Any = self._module(given)
        return tuple(outputs) if isinstance(outputs, tuple | list) else (outputs,)
