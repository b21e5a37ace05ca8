"""One side of the benchmark ``decoding``: a language model goes on with texts, alone and eight at once.

Run as a process of its own: ``python -m benchmarks.decoding_side JSON`` prints tokens per second and what texts cost.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from topwork import plugins
from topwork.progress import Quiet
from topwork.steps.options import Surroundings

WRITER = "smollm2-135m"
Go = Callable[[Sequence[Sequence[int]], int], None]
"""Goes on with all beginnings by so many tokens."""
Cost = Callable[[Sequence[int]], float]
"""What the tokens of a text but the first cost in all, in nats."""


def main() -> None:
    """Measure one side once."""
    asked = json.loads(sys.argv[1])
    model: Any = plugins.writers()[WRITER]
    vocabulary = model.vocabulary()
    texts = [vocabulary.encode(text)[: asked["cost_tokens"]] for text in asked["texts"]]
    beginnings = [text[: asked["begin_tokens"]] for text in texts[:8]]
    library, precision = asked["side"]
    opened = {"topwork": _topwork, "transformers": _transformers}[library]
    go, cost = opened(model, precision, Path(asked["cache"]), asked["n_threads"])
    n = asked["n_new"]
    go([texts[-1][: asked["begin_tokens"]]], 4)
    found = {f"streams_{k}": n * k / _seconds(lambda k=k: go(beginnings[:k], n)) for k in (1, 8)}  # type: ignore[misc]
    total = sum(cost(text) for text in texts) / sum(len(text) - 1 for text in texts)
    print(json.dumps({**found, "perplexity": math.exp(total)}))


def _seconds(work: Callable[[], None]) -> float:
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def _topwork(model: Any, precision: str, cache: Path, n_threads: int) -> tuple[Go, Cost]:
    from topwork.contracts import Sampling
    from topwork.engines.paged import PagedEngine
    from topwork.engines.writing import Opening, write
    from topwork.steps.writers import graph_of

    graph = graph_of(model, Surroundings(cache_dir=cache, progress=Quiet()))
    engine = PagedEngine(graph, precision, n_threads=n_threads)  # type: ignore[arg-type]

    def go(beginnings: Sequence[Sequence[int]], n: int) -> None:
        openings = [Opening(tuple(one), n, Sampling(temperature=0)) for one in beginnings]
        assert sum(1 for _ in write(engine, openings)) == n * len(beginnings)

    def cost(tokens: Sequence[int]) -> float:
        return -float(engine.said(tokens).sum())

    return go, cost


def _transformers(model: Any, precision: str, cache: Path, n_threads: int) -> tuple[Go, Cost]:
    import torch

    torch.set_num_threads(n_threads)
    network = model.load(model.fetch(cache, Quiet()))
    if precision == "bf16":
        network = network.to(torch.bfloat16)

    def go(beginnings: Sequence[Sequence[int]], n: int) -> None:
        tokens = torch.tensor(beginnings)
        out = network.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=n,
            min_new_tokens=n,
            do_sample=False,
            pad_token_id=0,
        )
        assert out.shape[1] == tokens.shape[1] + n

    def cost(tokens: Sequence[int]) -> float:
        with torch.inference_mode():
            scores = network(torch.tensor([tokens])).logits[0, :-1].double().log_softmax(-1)
        return -float(scores[torch.arange(len(tokens) - 1), torch.tensor(tokens[1:])].sum())

    return go, cost


if __name__ == "__main__":
    main()
