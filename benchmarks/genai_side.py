"""OpenVINO GenAI in the benchmark ``decoding``: a language model goes on with texts, alone and eight at once.

Run as a process of its own, in an environment with openvino-genai: ``python -m benchmarks.genai_side JSON`` prints
tokens per second.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def main() -> None:
    """Measure one setting once."""
    import numpy as np
    import openvino
    import openvino_genai

    asked = json.loads(sys.argv[1])
    settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": asked["n_threads"], **asked["settings"]}
    if settings.get("ATTENTION_BACKEND") == "PA":
        settings["scheduler_config"] = scheduler = openvino_genai.SchedulerConfig()
        scheduler.cache_size = 1
    pipe = openvino_genai.LLMPipeline(asked["network"], "CPU", **settings)
    wanted = openvino_genai.GenerationConfig()
    wanted.ignore_eos, wanted.do_sample, wanted.apply_chat_template = True, False, False

    def go(beginnings: list[list[int]], n: int) -> None:
        wanted.max_new_tokens = n
        tokens = np.array(beginnings, np.int64)
        inputs = openvino_genai.TokenizedInputs(
            openvino.Tensor(tokens), openvino.Tensor(np.ones_like(tokens))
        )
        found = pipe.generate(inputs, wanted).tokens
        assert [len(one) for one in found] == [n] * len(beginnings)

    go([asked["warm_up"]], 4)
    print(json.dumps({f"streams_{k}": _speed(go, asked["beginnings"][:k], asked["n_new"]) for k in (1, 8)}))


def _speed(go: Any, beginnings: list[list[int]], n: int) -> float:
    began_s = time.perf_counter()
    go(beginnings, n)
    return n * len(beginnings) / (time.perf_counter() - began_s)


if __name__ == "__main__":
    main()
