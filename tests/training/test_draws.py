"""What torch draws: by a seed, the same again, and unnoticed by whoever else draws."""

from __future__ import annotations

import torch

from topwork.training.draws import drawn_by, seed_of


def test_the_same_seed_draws_the_same_and_the_state_comes_back() -> None:
    before = torch.get_rng_state()
    drawn = []
    for seed in (3, 3, 4):
        with drawn_by(seed, "cpu"):
            drawn.append(torch.rand(4))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(before, torch.get_rng_state())


def test_several_numbers_make_one_seed_in_their_order() -> None:
    seeds = [seed_of(parts) for parts in ((0, 1, 2), (0, 2, 1), (0, 1), (0, 1, 3))]
    assert len(set(seeds)) == 4
    assert seed_of((0, 1, 2)) == seeds[0]
    assert all(0 <= one < 2**64 for one in seeds)
