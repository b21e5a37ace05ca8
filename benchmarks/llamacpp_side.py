"""llama.cpp in the benchmark ``decoding``: a language model goes on with texts, alone and eight at once.

Run as a process of its own, in an environment with xllamacpp: ``python -m benchmarks.llamacpp_side JSON`` prints tokens
per second. Each text is a request of a thread, as its server has them; there is a server for one and one for eight.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def main() -> None:
    """Measure one setting once."""
    asked = json.loads(sys.argv[1])
    print(json.dumps({f"streams_{k}": _speed(asked, k) for k in (1, 8)}))


def _speed(asked: dict[str, Any], n_streams: int) -> float:
    import xllamacpp

    chosen = xllamacpp.CommonParams()
    chosen.model.path = asked["network"]
    chosen.n_parallel, chosen.n_ctx = n_streams, 512 * n_streams
    chosen.cpuparams.n_threads = chosen.cpuparams_batch.n_threads = asked["n_threads"]
    chosen.n_gpu_layers, chosen.verbosity = 0, -1
    server, n = xllamacpp.Server(chosen), asked["n_new"]

    def go(tokens: list[int], n: int) -> None:
        wanted = {"prompt": tokens, "max_tokens": n, "n_predict": n, "temperature": 0, "ignore_eos": True}
        answer = server.handle_completions(wanted)
        told = json.loads(answer) if isinstance(answer, str) else answer
        assert told["usage"]["completion_tokens"] == n, told

    go(asked["warm_up"], 4)
    beginnings = asked["beginnings"][:n_streams]
    began_s = time.perf_counter()
    with ThreadPoolExecutor(n_streams) as pool:
        list(pool.map(lambda one: go(one, n), beginnings))
    return float(n * n_streams / (time.perf_counter() - began_s))


if __name__ == "__main__":
    main()
