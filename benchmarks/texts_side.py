"""What the network alone costs on some texts: cut to tokens beforehand, like lengths together, every core busy.

Run as a process of its own: ``python -m benchmarks.texts_side JSON`` prints one JSON object.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.text_sides import TRUNK
from topwork import Surroundings, plugins
from topwork.contracts import Array
from topwork.engines.memory import keep_memory
from topwork.inputs import TEXT
from topwork.progress import Quiet
from topwork.steps.transfer import Preparation
from topwork.training.reading import BATCH


def main() -> None:
    """Run the engine that a fit takes on the texts of a table, once to warm up and once timed."""
    asked = json.loads(sys.argv[1])
    keep_memory()  # as every command does when it starts
    trunk = plugins.trunks()[TRUNK]
    engine = Preparation(trunk, TEXT, Surroundings(cache_dir=Path(asked["cache"]), progress=Quiet())).engine()
    with Path(asked["table"]).open(encoding="utf-8", newline="") as stream:
        texts = [row["text"] for row in csv.DictReader(stream)]
    tensors = [TEXT.decode(text.encode(), trunk.preprocessing).tensor for text in texts]
    batches = _batches(tensors)
    with ThreadPoolExecutor(engine.n_streams) as pool:
        list(pool.map(engine.run, batches[: 2 * engine.n_streams]))
        began_s = time.perf_counter()
        list(pool.map(engine.run, batches))
        seconds = time.perf_counter() - began_s
    named = f"{engine.name} {engine.version}, {engine.precision}, {engine.n_streams} streams"
    print(json.dumps({"n": len(texts), "seconds": seconds, "engine": named}))


def _batches(tensors: list[Array]) -> list[Array]:
    alike = defaultdict(list)
    for tensor in tensors:
        alike[tensor.shape].append(tensor)
    return [np.stack(one[i : i + BATCH]) for one in alike.values() for i in range(0, len(one), BATCH)]


if __name__ == "__main__":
    main()
