"""A network of torch with the heads of a graph on it, for running a bundle where graphs do not run.

It imports torch: whoever has none does not import it. It knows nothing of labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from topwork.contracts import Array
from topwork.engines.grafting import FEATURES, scores_name

__all__ = ["Headed"]


class Headed(nn.Module):
    """A network, and on its features the heads that `topwork.engines.grafting` writes into a graph.

    Parameters
    ----------
    network
        Gives features ``float32 [n, d]``.
    weights
        The graph's; those of heads are called ``heads.<target>.…``.
    output_names
        The graph's: what `forward` gives, in that order.
    """

    def __init__(self, network: nn.Module, weights: Mapping[str, Array], output_names: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.output_names = tuple(output_names)
        targets = [name.removeprefix(scores_name("")) for name in output_names if name != FEATURES]
        self.heads = nn.ModuleList(_head(weights, f"heads.{target}") for target in targets)
        self.eval()

    def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the outputs of a raw batch ``[n, ...]``."""
        features = self.network(batch)
        scores = iter([head(features) for head in self.heads])
        return tuple(features if name == FEATURES else next(scores) for name in self.output_names)


def _head(weights: Mapping[str, Array], name: str) -> nn.Module:
    layers: list[nn.Module] = []
    while f"{name}.hidden.{len(layers) // 2}.weight" in weights:
        layers += [_linear(weights, f"{name}.hidden.{len(layers) // 2}"), nn.ReLU()]
    return nn.Sequential(*layers, _linear(weights, name))


def _linear(weights: Mapping[str, Array], name: str) -> nn.Linear:
    weight, bias = (torch.from_numpy(weights[f"{name}.{part}"].copy()) for part in ("weight", "bias"))
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer
