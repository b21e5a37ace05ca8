"""What a server could reach at best: decoding and the bundle's network in a bare loop, without HTTP.

Run as a process of its own: ``python -m benchmarks.answering_side JSON`` prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from topwork.bundle.compiling import open_model
from topwork.engines.memory import keep_memory


def main() -> None:
    """Measure one caller, then several at once."""
    asked = json.loads(sys.argv[1])
    keep_memory()
    model = open_model(Path(asked["bundle"]))
    photo, n = Path(asked["photo"]).read_bytes(), asked["n"]

    def answer(_: int = 0) -> float:
        began_s = time.perf_counter()
        tensor = model.modality.decode(photo, model.preprocessing).tensor
        model.engine.run(np.stack([tensor]))
        return time.perf_counter() - began_s

    answer()
    alone_s = [answer() for _ in range(n)]
    began_s = time.perf_counter()
    with ThreadPoolExecutor(asked["n_threads"]) as callers:
        list(callers.map(answer, range(n)))
    print(json.dumps({"latencies_s": alone_s, "per_s": n / (time.perf_counter() - began_s)}))


if __name__ == "__main__":
    main()
