"""What peers need of a bundle: its graph as an ONNX file, its labels, and how a picture becomes a tensor.

Run as a process of its own: ``python -m benchmarks.network_side JSON`` prints one JSON object.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from topwork.bundle.contents import open_bundle
from topwork.bundle.model import scores_output
from topwork.engines.graphs import assemble


def main() -> None:
    """Write the file, and tell the rest."""
    asked = json.loads(sys.argv[1])
    bundle = open_bundle(Path(asked["bundle"]))
    Path(asked["network"]).write_bytes(assemble(bundle.graph()))
    ((name, target),) = bundle.targets.items()
    told = {
        "network": asked["network"],
        "output": scores_output(name),
        "labels": list(target.labels),
        "preprocessing": bundle.manifest.preprocessing,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
