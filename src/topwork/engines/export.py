"""From a torch module to a `Graph`: an ONNX topology without weights, and the weights by name.

The module's own tensors keep their names, so that a graph's weights can be compared with, stored beside and
exchanged for those of a module. What is small and constant (means, shapes) stays in the topology. It does
not know what the network is for, nor on which machine it will run.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from topwork.contracts import Array, Engine, Exportable, Graph
from topwork.engines.choice import build, reference
from topwork.engines.graphs import split
from topwork.errors import TopworkError, UsageError

if TYPE_CHECKING:
    import torch

__all__ = ["MAX_RELATIVE_DIFFERENCE", "export", "to_onnx", "verify"]

MAX_RELATIVE_DIFFERENCE = 1e-4
"""Between module and exported graph, both in fp32, relative to the largest value of an output."""


def export(exportable: Exportable) -> Graph:
    """Export a module in evaluation mode and prove that the graph gives the same.

    Raises
    ------
    UsageError
        The module is in training mode.
    TopworkError
        The module cannot be exported, or the graph does not give what the module gives.
    """
    if exportable.module.training:
        raise UsageError(
            "Only a module in evaluation mode can be exported; this one is in training mode.",
            next_step="Call module.eval() first.",
        )
    graph = split(_to_onnx(exportable), frozenset(exportable.module.state_dict()), exportable.output_names)
    verify(exportable, graph, build(reference(), graph, n_threads=1, n_streams=1))
    return graph


def verify(exportable: Exportable, graph: Graph, engine: Engine) -> None:
    """Compare module and engine on the example, one row longer than it was exported with, and half as wide if ragged.

    Raises
    ------
    TopworkError
        An output differs by more than `MAX_RELATIVE_DIFFERENCE`.
    """
    batches = [np.concatenate([exportable.example, exportable.example[:1]])]
    if exportable.ragged:
        batches.append(batches[0][(slice(None), *(slice((n + 1) // 2) for n in batches[0].shape[1:]))])
    for batch in batches:
        _verify_batch(exportable, graph, engine, batch)


def _verify_batch(exportable: Exportable, graph: Graph, engine: Engine, batch: Array) -> None:
    found = engine.run(batch)
    for name, expected in zip(graph.output_names, _outputs(exportable.module, batch), strict=True):
        difference = _relative_difference(found[name], expected)
        if not difference <= MAX_RELATIVE_DIFFERENCE:
            raise TopworkError(
                f"The exported network is not the same: {name} differs by {difference:.1e} relative to its largest"
                f" value, at most {MAX_RELATIVE_DIFFERENCE:.0e} is allowed.",
                next_step="Choose another trunk, and report this with the versions of torch and "
                f"{engine.name} {engine.version}.",
            )


def _to_onnx(exportable: Exportable) -> bytes:
    example = (_tensor(exportable.module, exportable.example),)
    return to_onnx(exportable.module, example, ["input"], exportable.output_names, _open_axes(exportable))


def to_onnx(
    module: torch.nn.Module,
    example: tuple[torch.Tensor, ...],
    input_names: Sequence[str],
    output_names: Sequence[str],
    open_axes: Mapping[str, Mapping[int, str]],
) -> bytes:
    """Return a module as a serialised ONNX model, its tensors under their own names.

    Parameters
    ----------
    open_axes
        Axes whose length may change, with a name for each, by the tensor's name.

    Raises
    ------
    TopworkError
        It cannot be exported.
    """
    import torch

    stream = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # The exporter that traces TorchScript is deprecated and says so on every call. It stays the one used:
        # it takes 0.7 s for EfficientNet-Lite0, the one on torch.export 18 s, and it keeps every parameter
        # under its own name where the other folds and renames.
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                module,
                example,
                stream,  # type: ignore[arg-type]  # this exporter takes one, its annotation speaks of the other
                dynamo=False,
                input_names=list(input_names),
                output_names=list(output_names),
                dynamic_axes={name: dict(axes) for name, axes in open_axes.items()},
                # Folding and training clean-up would merge batch normalisation into convolutions, and with
                # it the names go. Engines do that themselves when they compile.
                do_constant_folding=False,
                training=torch.onnx.TrainingMode.PRESERVE,
            )
        except (RuntimeError, TypeError, ValueError) as error:
            raise TopworkError(
                f"This network cannot be exported to ONNX: {error}",
                next_step="Choose another trunk; `topwork trunks list` shows those that can.",
            ) from error
    return stream.getvalue()


def _open_axes(exportable: Exportable) -> dict[str, dict[int, str]]:
    """Return the axes whose length may change, by the tensor's name."""
    sizes = {axis: f"size_{axis}" for axis in range(1, exportable.example.ndim)} if exportable.ragged else {}
    return {"input": {0: "batch", **sizes}, **{name: {0: "batch"} for name in exportable.output_names}}


def _outputs(module: torch.nn.Module, batch: Array) -> list[Array]:
    import torch

    with torch.inference_mode():
        outputs: Any = module(_tensor(module, batch))
    several = outputs if isinstance(outputs, tuple | list) else (outputs,)
    return [output.float().cpu().numpy() for output in several]


def _tensor(module: torch.nn.Module, batch: Array) -> torch.Tensor:
    import torch

    parameter = next(module.parameters(), None)
    return torch.from_numpy(batch).to(parameter.device if parameter is not None else "cpu")


def _relative_difference(found: Array, expected: Array) -> float:
    if found.shape != expected.shape:
        return float("inf")
    scale = max(float(np.abs(expected).max(initial=0.0)), float(np.finfo(np.float32).tiny))
    return float(np.abs(found - expected).max(initial=0.0)) / scale
