"""Language models with their keys and values in blocks: what they say is what transformers says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from faulty_disks import mount, unmount
from tiny_writers import GPT2, LLAMA, QWEN2_NEAR, continued, tiny_writer
from topwork.contracts import Graph, Sampling
from topwork.engines.decoder_export import export_decoder
from topwork.engines.graphs import parse
from topwork.engines.paged import ATTENTION, MARK, PagedEngine, Part
from topwork.engines.writing import Opening, write
from topwork.errors import BundleError, TopworkError
from topwork.trunks.causal import marked

GREEDY = Sampling(temperature=0)
KINDS = {"llama": LLAMA, "gpt2": GPT2, "qwen2": QWEN2_NEAR}
LONG = tuple(1 + (7 * i) % 290 for i in range(75))
TEXTS = (LONG, (5, 6, 7), (*LONG[:70], 3))


def graph_of(config: dict[str, Any]) -> Graph:
    made = marked(tiny_writer(config), MARK)
    return export_decoder(made.module, made.attentions)


@pytest.fixture(scope="module")
def graphs() -> dict[str, Graph]:
    return {kind: graph_of(config) for kind, config in KINDS.items()}


def engine_of(graph: Graph, **settings: Any) -> PagedEngine:
    return PagedEngine(graph, n_threads=1, **{"cache_bytes": 1 << 20, **settings})


@pytest.mark.parametrize("kind", KINDS)
def test_texts_go_on_as_transformers_goes_on_with_each_alone(kind: str, graphs: dict[str, Graph]) -> None:
    found: dict[int, list[int]] = {}
    for one in write(engine_of(graphs[kind]), [Opening(text, 14, GREEDY) for text in TEXTS]):
        found.setdefault(one.number, []).append(one.token)
    network = tiny_writer(KINDS[kind])
    assert found == {number: continued(network, text, 14) for number, text in enumerate(TEXTS)}


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_the_network_however_a_text_is_cut(kind: str, graphs: dict[str, Graph]) -> None:
    engine = engine_of(graphs[kind])
    assert engine.pool.n_tokens == 32
    first = engine.run([Part(LONG[:40], 0, [4, 2]), Part((5, 6), 0, [9], 2)]).copy()
    assert first.shape == (3, 300)
    rest = engine.run([Part(LONG[40:], 40, [4, 2, 7], 3)])
    with torch.inference_mode():
        network = tiny_writer(KINDS[kind])
        long = network(torch.tensor([LONG])).logits[0].numpy()
        short = network(torch.tensor([(5, 6)])).logits[0].numpy()
    expected = np.concatenate([long[39:40], short, long[-3:]])
    assert np.abs(np.concatenate([first, rest]) - expected).max() < 1e-4 * np.abs(expected).max()


def test_bf16_is_near(graphs: dict[str, Graph]) -> None:
    exact, short = (
        engine_of(graphs["llama"], precision=precision).run([Part(LONG, 0, [1, 2, 3])])
        for precision in ("fp32", "bf16")
    )
    assert 0 < np.abs(exact - short).max() < 0.1 * np.abs(exact).max()


def test_weights_have_the_names_that_transformers_gives_them(graphs: dict[str, Graph]) -> None:
    for kind, graph in graphs.items():
        assert set(graph.weights) <= set(tiny_writer(KINDS[kind]).state_dict())
        assert {"model.embed_tokens.weight", "transformer.wte.weight"} & set(graph.weights)


def test_a_cache_has_at_least_a_few_blocks(graphs: dict[str, Graph]) -> None:
    assert engine_of(graphs["llama"], cache_bytes=1).pool.n_blocks == 16


@pytest.mark.parametrize("kind", KINDS)
def test_weights_in_eight_bits_say_nearly_the_same(kind: str, graphs: dict[str, Graph]) -> None:
    exact, short = (
        engine_of(graphs[kind], precision=precision).run([Part(LONG, 0, [1, 2, 3], 20)])
        for precision in ("fp32", "int8")
    )
    off = np.abs(exact - short).mean() / np.abs(exact).mean()
    assert 1e-4 < off < 0.1


def changed(graph: Graph, change: Any) -> Graph:
    proto = parse(graph.topology)
    change(proto)
    return Graph(proto.SerializeToString(), graph.weights, graph.output_names)


def test_a_graph_that_writes_nothing_is_refused(graphs: dict[str, Graph]) -> None:
    bare = changed(graphs["llama"], lambda proto: proto.ClearField("metadata_props"))
    with pytest.raises(BundleError, match="not one that writes texts"):
        engine_of(bare)


def test_a_graph_that_says_nonsense_of_its_attention_is_refused(graphs: dict[str, Graph]) -> None:
    def change(proto: Any) -> None:
        (told,) = [one for one in proto.metadata_props if one.key == ATTENTION]
        told.value = '{"a": {"heads": 3}}'

    with pytest.raises(BundleError, match="attention cannot be read"):
        engine_of(changed(graphs["llama"], change))


def test_a_graph_that_lost_a_mark_is_refused(graphs: dict[str, Graph]) -> None:
    def change(proto: Any) -> None:
        for node in proto.graph.node:
            if node.name.endswith(MARK):
                node.name = "lost"
                return

    with pytest.raises(TopworkError, match=r"1 of 2 layers do not attend .* model.layers.0.self_attn"):
        engine_of(changed(graphs["llama"], change))


OPENED = """
import sys
from tiny_writers import LLAMA
from test_paged import graph_of, engine_of
from topwork.engines.paged import Part
print(float(engine_of(graph_of(LLAMA)).run([Part((5, 6), 0, [1])]).sum()))
"""


def test_a_disk_without_room_for_the_weights_costs_time_alone(tmp_path: Path) -> None:
    """They are mapped from a temporary file where there is room for it."""
    small = tmp_path / "small"
    small.mkdir()
    mount(small, "64k")
    try:
        found = [
            subprocess.run(
                [sys.executable, "-c", OPENED],
                env={**os.environ, "TMPDIR": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for folder in (small, tmp_path)
        ]
        assert found[0] == found[1]
        assert not [*small.iterdir()]
    finally:
        unmount(small)
