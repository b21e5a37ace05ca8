"""A language model that may not be on this machine yet: its weights, its vocabulary, its network.

It knows how they meet, and nothing more of any of them. No weight is read and no library imported before it must be.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from topwork.contracts import Graph, Json, Progress, TrunkCard
from topwork.inputs.vocabulary import Vocabulary
from topwork.trunks import causal, topologies
from topwork.trunks.origin import WeightSource

__all__ = ["CausalTrunk"]


@dataclass(frozen=True, slots=True)
class CausalTrunk:
    """A pretrained language model of the transformers library.

    Attributes
    ----------
    vocabulary
        Gives its vocabulary; asked only once a text is to be read.
    config
        Fields of its ``config.json``.
    topology
        Names an exported topology that came with topwork; empty where there is none.
    """

    card: TrunkCard
    vocabulary: Callable[[], Vocabulary]
    config: Mapping[str, Json]
    source: WeightSource
    topology: str = ""

    @property
    def identity(self) -> str:
        """Return a text that differs whenever what it writes differs."""
        return f"{self.card.weights_sha256} {json.dumps(self.config, sort_keys=True)}"

    def fetch(self, cache_dir: Path, progress: Progress) -> Path:
        """Bring the weights here; see `WeightSource.fetch`."""
        return self.source.fetch(cache_dir, progress)

    def graph(self, weights: Path) -> Graph | None:
        """Return the network as it was exported when topwork was made; no library of networks is imported.

        Raises
        ------
        WeightsError
            The file is damaged, or its tensors are not those of this network.
        """
        return topologies.graph(self.topology, weights, ("scores",)) if self.topology else None

    def load(self, weights: Path, *, attention: str = "sdpa") -> Any:
        """Build the library's network in evaluation mode, its weights filled in.

        Raises
        ------
        WeightsError
            The weights are damaged, or those of another network.
        UsageError
            The library has no such network.
        """
        from topwork.trunks.undrawn import Undrawn

        with Undrawn():
            blank = causal.build(self.config, attention=attention)
        return causal.fill(blank, weights)
