"""Writes the weights of topwork's trunk as a state dict of timm, for peers that train the same network.

Run as a process of its own: ``python -m benchmarks.weights_side JSON`` prints architecture and normalisation.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.sides import TRUNK
from topwork import plugins
from topwork.progress import Quiet


def main() -> None:
    """Load the trunk as a fit does, and save what is in it."""
    asked = json.loads(sys.argv[1])
    trunk: Any = plugins.trunks()[TRUNK]
    loaded = trunk.load(trunk.fetch(Path(asked["cache"]), Quiet()))
    torch.save(loaded.trunk.state_dict(), asked["out"])
    network = trunk.architecture
    print(json.dumps({"architecture": network.name, "mean": network.mean, "std": network.std}))


if __name__ == "__main__":
    main()
