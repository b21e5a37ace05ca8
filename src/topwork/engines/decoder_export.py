"""From a language model with marked attention to a `Graph`, as `topwork.engines.paged` runs it.

It knows how a torch module becomes ONNX, and neither the library that the network is of nor what a token is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from topwork.contracts import Attention, Graph
from topwork.engines.export import to_onnx
from topwork.engines.graphs import parse, split
from topwork.engines.paged import ATTENTION
from topwork.errors import TopworkError

if TYPE_CHECKING:
    import torch

__all__ = ["DECODER_INPUTS", "export_decoder"]

DECODER_INPUTS: Final = ("tokens", "positions", "wanted")
_OUTPUT: Final = "scores"


def export_decoder(module: torch.nn.Module, attentions: Mapping[str, Attention]) -> Graph:
    """Export a module that maps tokens, positions and the places wanted to scores.

    Parameters
    ----------
    attentions
        Of each module that joins queries, keys and values, by its name.

    Raises
    ------
    TopworkError
        The module cannot be exported, or a mark was lost on the way.
    """
    import torch

    example = (torch.arange(5), torch.arange(5), torch.tensor([2, 4]))
    axes = {"tokens": {0: "t"}, "positions": {0: "t"}, "wanted": {0: "n"}, _OUTPUT: {0: "n"}}
    model = to_onnx(module, example, DECODER_INPUTS, [_OUTPUT], axes)
    graph = split(model, frozenset(module.state_dict()), (_OUTPUT,))
    proto = parse(graph.topology)
    _name_marks(proto, attentions)
    told = proto.metadata_props.add()
    told.key = ATTENTION
    told.value = json.dumps({name: asdict(one) for name, one in attentions.items()})
    return Graph(proto.SerializeToString(deterministic=True), graph.weights, graph.output_names)


def _name_marks(proto: Any, attentions: Mapping[str, Attention]) -> None:
    """Call the node of each mark as its module is called.

    Raises
    ------
    TopworkError
        A mark has no node.
    """
    nodes = {
        node.name.replace("/", ".").strip("."): node for node in proto.graph.node if node.op_type == "Concat"
    }
    for name in attentions:
        node = nodes.get(f"{name}.Concat")
        if node is None:
            raise TopworkError(
                f"Attention {name} was lost while the network was exported.",
                next_step="Choose another trunk, and report this with the version of torch.",
            )
        node.name = name
