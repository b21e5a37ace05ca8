"""Which engine runs a network best on the machine at hand.

`survey` looks at the machine, once, when it is called; `choose` is a pure function of what it saw; `build`
starts the engine. It knows nothing of networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from topwork.contracts import Engine, Graph, Precision
from topwork.engines.graphs import is_quantized
from topwork.engines.linear import LinearEngine
from topwork.engines.machine import Machine, installed
from topwork.errors import MissingExtraError, UsageError

__all__ = ["EngineChoice", "EngineName", "build", "choose", "has_fast_bf16", "reference"]

EngineName = Literal["openvino", "onnxruntime", "torch"]

_FAST_BF16 = frozenset({"avx512_bf16", "amx_bf16"})


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """An engine and the number format that it computes in."""

    name: EngineName
    precision: Precision


def choose(machine: Machine) -> EngineChoice:
    """Choose the fastest engine whose answers are still those of the network.

    The order is that of measurements. EfficientNet-Lite0, 224 pixels, fp32, batch 8, pictures per second of
    two x86 cores with AVX-512 and without bf16: OpenVINO 150, ONNX Runtime 110, torch 60 (45 in bf16, which
    such a core emulates). OpenVINO's bf16 is twice its fp32 where the core has it.

    Raises
    ------
    MissingExtraError
        No engine is installed at all.
    """
    if machine.has_cuda and "torch" in machine.engines:
        return EngineChoice("torch", "bf16" if machine.has_cuda_bf16 else "fp16")
    if "openvino" in machine.engines:
        return EngineChoice("openvino", "bf16" if has_fast_bf16(machine) else "fp32")
    if "onnxruntime" in machine.engines:
        return EngineChoice("onnxruntime", "fp32")
    if "torch" in machine.engines:
        return EngineChoice("torch", "fp32")
    raise _no_engine()


def has_fast_bf16(machine: Machine) -> bool:
    """Tell whether the processor computes in bf16 rather than emulating it."""
    return bool(_FAST_BF16 & machine.cpu_flags)


def reference() -> EngineChoice:
    """Choose an engine for graphs in fp32, the format that proofs are made in.

    Raises
    ------
    MissingExtraError
        Neither OpenVINO nor ONNX Runtime is installed.
    """
    engines = installed()
    if "openvino" in engines:
        return EngineChoice("openvino", "fp32")
    if "onnxruntime" in engines:
        return EngineChoice("onnxruntime", "fp32")
    raise _no_engine()


def build(
    choice: EngineChoice, graph: Graph, *, n_threads: int, n_streams: int, shelf: Path | None = None
) -> Engine:
    """Start an engine on a graph; torch does not run graphs, see `topwork.engines.torch.TorchEngine`.

    A graph of linear layers on its input alone is run by NumPy, whatever the choice. A graph that was quantised is run
    in int8, whatever the precision of the choice: it has no other numbers.

    Parameters
    ----------
    shelf
        Folder of this graph, in which engines of several processes find its weights, so that they are in memory once.

    Raises
    ------
    UsageError
        The choice is torch, or a precision that the engine does not have.
    MissingExtraError
        The engine is not installed.
    """
    if (linear := LinearEngine.of(graph, n_streams=n_streams)) is not None:
        return linear
    precision: Precision = "int8" if is_quantized(graph) else choice.precision
    if choice.name == "openvino":
        from topwork.engines.openvino import OpenVinoEngine

        return OpenVinoEngine(graph, precision, n_threads=n_threads, n_streams=n_streams, shelf=shelf)
    if choice.name == "onnxruntime":
        from topwork.engines.onnxruntime import OnnxRuntimeEngine

        return OnnxRuntimeEngine(graph, precision, n_threads=n_threads, n_streams=n_streams, shelf=shelf)
    raise UsageError(
        f"{choice.name} runs a module, not a graph; expected openvino or onnxruntime.",
        next_step="Give the module to topwork.engines.torch.TorchEngine.",
    )


def _no_engine() -> MissingExtraError:
    return MissingExtraError(
        "No engine is installed that runs an exported network; expected OpenVINO or ONNX Runtime.",
        next_step="Run: pip install openvino, or install topwork with its extra onnxruntime.",
    )
