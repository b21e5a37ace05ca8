"""Adapters beside one network: in a batch that mixes them each text is what its own merged network writes alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from tiny_writers import GPT2, LLAMA, write_tiny_writer
from topwork import Surroundings, UsageError
from topwork.contracts import Graph, LowRank, Sampling
from topwork.engines.paged import PagedEngine
from topwork.engines.writing import Opening, write
from topwork.progress import Quiet
from topwork.steps.writers import graph_of
from topwork.trunks import resolve_writer

BEGIN = (5, 9, 200, 7)


@pytest.fixture(scope="module", params=[LLAMA, GPT2], ids=["llama", "gpt2"])
def graph(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """Networks whose weights lie one way and the other."""
    folder = write_tiny_writer(tmp_path_factory.mktemp("writer") / "tiny", request.param)
    return graph_of(resolve_writer(str(folder), {}), Surroundings(progress=Quiet()))


def adapter(graph: Graph, seed: int, rank: int, every: int = 1) -> dict[str, LowRank]:
    draw = np.random.default_rng(seed)
    layers = ("_proj.weight", "c_attn.weight", "c_fc.weight")
    names = sorted(one for one in graph.weights if one.endswith(layers))[::every]
    assert names
    return {
        name: LowRank(
            draw.normal(0, 0.2, (graph.weights[name].shape[0], rank)).astype(np.float32),
            draw.normal(0, 0.2, (rank, graph.weights[name].shape[1])).astype(np.float32),
        )
        for name in names
    }


def merged(graph: Graph, products: Mapping[str, LowRank]) -> Graph:
    added = {name: one.added_to(graph.weights[name]) for name, one in products.items()}
    return replace(graph, weights={**graph.weights, **added})


def written(engine: PagedEngine, openings: list[Opening]) -> list[list[int]]:
    found: list[list[int]] = [[] for _ in openings]
    for one in write(engine, openings):
        found[one.number].append(one.token)
    return found


def opening(name: str = "", begin: tuple[int, ...] = BEGIN) -> Opening:
    return Opening(begin, 24, Sampling(temperature=0), adapter=name)


def test_a_batch_of_base_and_adapters_writes_what_each_writes_alone(graph: Graph) -> None:
    adapters = {"first": adapter(graph, 1, 4), "second": adapter(graph, 2, 7, every=3)}
    alone = {"": written(PagedEngine(graph, n_threads=1), [opening()])[0]}
    for name, products in adapters.items():
        alone[name] = written(PagedEngine(merged(graph, products), n_threads=1), [opening()])[0]
    assert len({tuple(one) for one in alone.values()}) == 3
    engine = PagedEngine(graph, n_threads=1, adapts=True)
    assert engine.bank is not None
    assert written(engine, [opening()]) == [alone[""]]
    for name, products in adapters.items():
        engine.bank.add(name, products)
    names = ["second", "", "first", "second", "first", ""]
    assert written(engine, [opening(name) for name in names]) == [alone[name] for name in names]


def test_beginnings_are_shared_within_an_adapter_and_never_between_two(graph: Graph) -> None:
    products = adapter(graph, 3, 4)
    long = tuple(range(10, 110))
    expected = written(PagedEngine(merged(graph, products), n_threads=1), [opening(begin=long)])
    engine = PagedEngine(graph, n_threads=1, adapts=True)
    assert engine.bank is not None
    engine.bank.add("one", products)
    base = written(engine, [opening(begin=long)])
    assert written(engine, [opening("one", long)]) == expected != base
    assert written(engine, [opening("one", long)]) == expected
    assert written(engine, [opening(begin=long)]) == base


def test_log_probabilities_are_those_of_the_merged_network(graph: Graph) -> None:
    products = adapter(graph, 4, 2)
    engine = PagedEngine(graph, n_threads=1, adapts=True)
    assert engine.bank is not None
    engine.bank.add("one", products)
    expected = PagedEngine(merged(graph, products), n_threads=1).said(BEGIN)
    np.testing.assert_allclose(engine.said(BEGIN, "one"), expected, atol=1e-4)
    assert np.abs(engine.said(BEGIN) - expected).max() > 0.01


def test_an_adapter_that_is_given_back_leaves_the_others_as_they_are(graph: Graph) -> None:
    engine = PagedEngine(graph, n_threads=1, adapts=True)
    assert engine.bank is not None
    engine.bank.add("one", adapter(graph, 5, 4))
    engine.bank.add("two", adapter(graph, 6, 4))
    before = written(engine, [opening("two")])
    engine.bank.give_back("one")
    assert written(engine, [opening("two")]) == before
    assert "one" not in engine.bank
    assert "two" in engine.bank
    assert "" in engine.bank
    assert written(engine, [opening("two")]) == before


def test_an_adapter_of_another_network_is_refused(graph: Graph) -> None:
    engine = PagedEngine(graph, n_threads=1, adapts=True)
    assert engine.bank is not None
    (name, product), *_ = adapter(graph, 7, 4).items()
    for wrong in ({"other.weight": product}, {name: LowRank(product.up[1:], product.down)}):
        with pytest.raises(UsageError, match="no room beside"):
            engine.bank.add("wrong", wrong)
