"""What a trial step measures: time, memory for each example, and the parts that fit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tiny_material import ChainNetwork
from topwork.training.trainee import Trainee
from topwork.training.trial import kept_bytes, parts_of, seconds_of, variants_of

GIB = 2**30


@pytest.mark.parametrize(
    ("batch", "per_example", "memory", "expected"),
    [
        (32, GIB, 64 * GIB, (1, False)),
        (32, GIB, 63 * GIB, (2, False)),
        (32, GIB, 16 * GIB, (4, False)),
        (32, GIB, 2 * GIB, (32, False)),
        (32, GIB, 1 * GIB, (32, True)),
        (10, GIB, 8 * GIB, (3, False)),
        (32, GIB, 0, (1, False)),
        (32, 0, GIB, (1, False)),
    ],
)
def test_a_batch_is_computed_in_as_many_parts_as_half_of_memory_asks(
    batch: int, per_example: int, memory: int, expected: tuple[int, bool]
) -> None:
    n_parts, recompute = parts_of(batch, per_example, memory)
    assert (n_parts, recompute) == expected
    if memory and per_example and not recompute:
        assert -(-batch // n_parts) * per_example <= memory / 2


@pytest.mark.parametrize(
    ("n_rows", "row_bytes", "memory", "expected"),
    [
        (100, 1, 0, 8),
        (1000, 2**20, 10 * GIB, 2),
        (1000, 2**20, 20 * GIB, 4),
        (10**6, 2**17, GIB, 0),
        (1, 1, GIB, 8),
    ],
)
def test_as_many_variants_are_kept_as_a_fifth_of_memory_holds(
    n_rows: int, row_bytes: int, memory: int, expected: int
) -> None:
    assert variants_of(8, n_rows * row_bytes, 0, memory) == expected


def test_what_validation_takes_is_not_there_for_variants() -> None:
    assert variants_of(8, GIB, 0, 10 * GIB) == 2
    assert variants_of(8, GIB, GIB, 10 * GIB) == 1
    assert variants_of(8, GIB, 9 * GIB, 10 * GIB) == 0


def trainee(network: nn.Module) -> Trainee:
    return Trainee(network, (dict(network.named_parameters()),), {})


def pixels(n: int) -> torch.Tensor:
    return torch.zeros(n, 8, 8, 3, dtype=torch.uint8)


def test_what_is_kept_grows_with_the_examples() -> None:
    one = trainee(ChainNetwork())
    kept = [n * kept_bytes(one, pixels(n)) for n in (8, 16, 32, 64)]
    per_example = kept[0] / 8
    for n, total in zip((8, 16, 32, 64), kept, strict=True):
        assert total == pytest.approx(n * per_example, rel=0.05)
    # Each convolution's input and output, at the least: 3 planes and 4, at 8 x 8, in fp32.
    assert per_example > 7 * 64 * 4


def test_a_network_twice_as_deep_keeps_more() -> None:
    deep = nn.Sequential(*(nn.Sequential(nn.Linear(10, 10), nn.Tanh()) for _ in range(8)))
    shallow = deep[:4]
    kept = [kept_bytes(trainee(one), torch.randn(100, 10)) for one in (shallow, deep)]
    assert 1.7 < kept[1] / kept[0] < 2.3


def test_a_frozen_part_keeps_nothing() -> None:
    network = nn.Sequential(*(nn.Sequential(nn.Linear(10, 10), nn.Tanh()) for _ in range(8)))
    rows = torch.randn(100, 10)
    whole = kept_bytes(trainee(network), rows)
    network[:4].requires_grad_(False)
    upper = Trainee(network, (dict(network[4:].named_parameters()),), {})
    assert 0.4 < kept_bytes(upper, rows) / whole < 0.6
    network.requires_grad_(False)
    assert kept_bytes(Trainee(network, (), {}), rows) == 0


def test_a_trial_leaves_weights_and_gradients_alone() -> None:
    network = ChainNetwork()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    kept_bytes(trainee(network), pixels(4))
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())


def test_the_shortest_of_the_runs_after_the_first_counts() -> None:
    calls: list[int] = []
    assert seconds_of(lambda: calls.append(1), n_runs=3) >= 0
    assert len(calls) == 4
