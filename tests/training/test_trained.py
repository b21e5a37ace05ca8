"""What is trained: the stages from a cut up, and never a table of which a step needs but a few rows."""

from __future__ import annotations

import pytest
from torch import nn

from tiny_material import ChainNetwork
from topwork.contracts import Stage
from topwork.training.trained import trained_stages


@pytest.mark.parametrize("n_below", [0, 2])
def test_stages_from_the_cut_up_are_trained_and_all_else_is_frozen(n_below: int) -> None:
    network = ChainNetwork()
    found = trained_stages(network, network.stages(), n_below)
    assert len(found) == 4 - n_below
    trained = {name for stage in found for name in stage}
    assert trained == {name for name, p in network.named_parameters() if p.requires_grad}
    assert trained == {
        name for name in dict(network.named_parameters()) if int(name.split(".")[1]) >= n_below
    }


def test_what_was_frozen_for_one_rung_is_trained_by_the_next() -> None:
    network = ChainNetwork()
    trained_stages(network, network.stages(), 2)
    trained_stages(network, network.stages(), 0)
    assert all(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize(("n_words", "stays"), [(8192, True), (8191, False)])
def test_a_large_table_stays_as_it_is(n_words: int, stays: bool) -> None:
    network = nn.Sequential(nn.Embedding(n_words, 2), nn.LayerNorm(2))
    (found,) = trained_stages(network, [Stage("all", (network,))])
    assert ("0.weight" not in found) == stays
    assert network[0].weight.requires_grad == (not stays)
    assert {"1.weight", "1.bias"} <= found.keys()
