"""Several engines as one."""

from __future__ import annotations

import numpy as np

from tiny_bundle import NumpyEngine, disturbed, tiny_graph
from topwork.engines.chorus import Chorus, part_name


def test_it_gives_the_outputs_of_each() -> None:
    graph = tiny_graph()
    engines = [
        NumpyEngine(graph.weights, n_streams=4),
        NumpyEngine(disturbed(graph, "trunk.weight", factor=2).weights),
    ]
    both = Chorus(engines)
    batch = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
    found = both.run(batch)
    assert both.n_streams == 2
    assert set(found) == {f"{i}.{name}" for i in (0, 1) for name in ("features", "scores.label")}
    for place, engine in enumerate(engines):
        for name, output in engine.run(batch).items():
            np.testing.assert_array_equal(found[part_name(place, name)], output)
    assert not np.array_equal(found["0.features"], found["1.features"])
