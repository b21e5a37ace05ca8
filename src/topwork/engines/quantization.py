"""A graph in eight bits, by NNCF: weights stored so, activations measured on examples.

What comes out is ONNX with the standard's own operators for it (QuantizeLinear, DequantizeLinear), which every engine
for ONNX reads, rather than a format of one of them. It knows nothing of labels, nor of what was lost: whoever calls
measures that.
"""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from topwork.contracts import Array, Graph
from topwork.engines.grafting import scores_name
from topwork.engines.graphs import assemble, parse, split
from topwork.errors import MissingExtraError, TopworkError, UsageError

__all__ = ["quantize", "require_quantizer"]

MIN_EXAMPLES: Final = 8
"""Fewer do not show how far activations reach."""

_LEAST_OPSET: Final = 13
"""Of ONNX, where a weight is first quantised channel by channel."""
_SMALL: Final = 64
"""Numbers of a tensor that stays in the topology: scales of few channels, means, shapes."""
_OFF: Final = "NNCF_CI"
_KEPT_APART: Final = ["MatMulAddFusion"]
"""Of ONNX Runtime's rules one that hides the layers of a transformer behind reshapes."""


def quantize(graph: Graph, examples: Sequence[Array], advance: Callable[[int], None]) -> Graph:
    """Return the graph in eight bits; its heads, which cost next to nothing, stay as they are.

    Batch normalisation is folded into convolutions first, because a bias that is not there cannot be corrected.
    Networks with attention are quantised as transformers: softmax, norms and sums stay in floating point, and
    channels with outliers are smoothed (Xiao et al., *SmoothQuant*, 2023).

    Parameters
    ----------
    examples
        Tensors as the network takes them, without a batch axis; at least eight.
    advance
        Called with the number of examples that were just run; NNCF runs all of them several times.

    Raises
    ------
    MissingExtraError
        NNCF or ONNX Runtime, which it measures with, is not installed.
    UsageError
        There are too few examples.
    TopworkError
        NNCF cannot quantise the graph.
    """
    if len(examples) < MIN_EXAMPLES:
        raise UsageError(
            f"Got {len(examples)} examples; at least {MIN_EXAMPLES} were expected.",
            next_step="Give more inputs to calibrate on.",
        )
    require_quantizer()
    try:
        with _silence():
            found = _quantized(_named(_simplified(graph)), examples, graph, advance)
    except Exception as error:  # its errors, and those of what it runs, have no common root but Exception
        raise TopworkError(
            f"NNCF cannot quantise this network: {type(error).__name__}: {error!s:.300}",
            next_step="Use it in another precision, and report this with the version of nncf.",
        ) from error
    return _taken_apart(found, graph.output_names)


def require_quantizer() -> None:
    """Refuse to go on where NNCF or ONNX Runtime is missing; neither is imported.

    Raises
    ------
    MissingExtraError
        One of them is not installed.
    """
    from importlib.util import find_spec

    missing = [name for name in ("nncf", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"Eight bits need {' and '.join(missing)}, not installed here.",
            next_step="Install topwork with its extra optimize.",
        )


def _quantized(model: Any, examples: Sequence[Array], graph: Graph, advance: Callable[[int], None]) -> Any:
    import nncf

    def batch_of(example: Array) -> dict[str, Array]:
        advance(1)
        return {"input": example[None]}

    heads = [node.name for node in model.graph.node if _is_of_a_head(node, graph)]
    has_attention = any(node.op_type == "Softmax" for node in model.graph.node)
    return nncf.quantize(
        model,
        nncf.Dataset(list(examples), batch_of),
        subset_size=len(examples),
        model_type=nncf.ModelType.TRANSFORMER if has_attention else None,
        ignored_scope=nncf.IgnoredScope(names=heads, validate=False) if heads else None,
    )


def _is_of_a_head(node: Any, graph: Graph) -> bool:
    """Tell whether a node computes the scores of a target, or a hidden layer of its head; see `engines.grafting`."""
    targets = [name for name in graph.output_names if name.startswith(scores_name(""))]
    layers = [f"heads.{name.removeprefix(scores_name(''))}" for name in targets]
    return any(str(one).startswith(tuple(layers)) for one in node.input) if layers else False


@contextmanager
def _silence() -> Iterator[None]:
    """Keep NNCF from writing to standard output, where results alone stand, and from reporting to its makers.

    It sends what it is used for over the network unless this variable is set when it is first imported.
    """
    before = os.environ.get(_OFF)
    os.environ[_OFF] = "1"
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import nncf

            # Not by `nncf.set_log_level`, which silences the handlers of the whole process.
            nncf.common.logging.nncf_logger.setLevel(logging.CRITICAL)
            yield
    finally:
        if before is None:
            del os.environ[_OFF]
        else:
            os.environ[_OFF] = before


# --- before and after -----------------------------------------------------------------------------------


def _simplified(graph: Graph) -> Any:
    """Return the model with constants and normalisation folded, by rules of ONNX Runtime that keep the standard."""
    import onnxruntime

    with TemporaryDirectory(prefix="topwork-") as folder:
        path = Path(folder) / "simplified.onnx"
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 3
        providers = ["CPUExecutionProvider"]
        onnxruntime.InferenceSession(
            _of_new_opset(graph), options, providers, disabled_optimizers=_KEPT_APART
        )
        model = parse(path.read_bytes())
    _keep_used_domains(model)
    return model


def _of_new_opset(graph: Graph) -> bytes:
    """Return the complete model in a version of ONNX that quantises channel by channel."""
    model = assemble(graph)
    proto = parse(model)
    version = next((one.version for one in proto.opset_import if one.domain in ("", "ai.onnx")), 0)
    if version >= _LEAST_OPSET:
        return model
    from onnx import version_converter

    converted: bytes = version_converter.convert_version(proto, _LEAST_OPSET).SerializeToString()
    return converted


def _keep_used_domains(model: Any) -> None:
    """Import the operators that are used alone, the standard's first; ONNX Runtime lists all that it knows."""
    used = {"" if node.domain == "ai.onnx" else node.domain for node in model.graph.node} | {""}
    found = sorted((one.domain, one.version) for one in model.opset_import if one.domain in used)
    del model.opset_import[:]
    for domain, version in found:
        model.opset_import.add(domain=domain, version=version)


def _named(model: Any) -> Any:
    """Give every node a name of its own, which NNCF tells them by."""
    seen: set[str] = set()
    for number, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}.{number}"
        seen.add(node.name)
    return model


def _taken_apart(model: Any, output_names: tuple[str, ...]) -> Graph:
    del model.metadata_props[:]  # what NNCF did and how, in its own words
    large = frozenset(one.name for one in model.graph.initializer if _size(one) > _SMALL)
    return split(model.SerializeToString(), large, output_names)


def _size(tensor: Any) -> int:
    size = 1
    for n in tensor.dims:
        size *= n
    return size
