"""A cache in which weights of the default trunk lie ready, though nothing was downloaded.

topwork keeps downloaded weights in its cache, under the hash of the file that they came in, and downloads nothing
where they are. `fill_cache` puts random ones there, of the right names and shapes. So commands that name no trunk run
as they stand, without a network. A random network still tells colours apart, and no more than that.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from topwork.trunks import architectures, tensors
from topwork.trunks.catalogue import EFFICIENTNET_LITE0 as TRUNK

if TYPE_CHECKING:
    import torch


def fill_cache(cache_dir: Path) -> None:
    """Write random weights where `TRUNK.fetch` looks for the real ones."""
    tensors.write(cache_dir / "weights" / f"{TRUNK.card.weights_sha256}.safetensors", _random_weights())


def _random_weights() -> dict[str, torch.Tensor]:
    """Return the network's tensors in their order, under the names that the downloaded file has for them."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ours = architectures.build(TRUNK.architecture).state_dict()
    table = files("topwork.trunks").joinpath("topologies", f"{TRUNK.card.name}.json")
    theirs: dict[str, str] = json.loads(table.read_text(encoding="utf-8"))
    return {theirs.get(f"trunk.{name}", name): tensor for name, tensor in ours.items()}
