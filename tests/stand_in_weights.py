"""A cache in which weights of the default trunks lie ready, though nothing was downloaded.

topwork keeps downloaded weights in its cache, under the hash of the file that they came in, and downloads nothing
where they are. `fill_cache` puts random ones there, of the right names and shapes. So commands that name no trunk run
as they stand, without a network. A random network still tells colours apart, and no more than that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from topwork.trunks import architectures, encoders, tensors
from topwork.trunks.catalogue import EFFICIENTNET_LITE0
from topwork.trunks.text_catalogue import ALL_MINILM_L6_V2

if TYPE_CHECKING:
    import torch


def fill_cache(cache_dir: Path) -> None:
    """Write random weights where the default trunks look for the real ones."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        networks = {
            EFFICIENTNET_LITE0.card: architectures.build(EFFICIENTNET_LITE0.architecture),
            ALL_MINILM_L6_V2.card: encoders.build(ALL_MINILM_L6_V2.encoder),
        }
    for card, network in networks.items():
        kept = cache_dir / "weights" / f"{card.weights_sha256}.safetensors"
        tensors.write(kept, _as_downloaded(card.name, network.state_dict()))


def _as_downloaded(name: str, ours: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a network's tensors in their order, under the names that the downloaded file has for them."""
    table = files("topwork.trunks").joinpath("topologies", f"{name}.json")
    theirs: dict[str, str] = json.loads(table.read_text(encoding="utf-8"))
    return {theirs.get(f"trunk.{name}", name): tensor for name, tensor in ours.items()}
