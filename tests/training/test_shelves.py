"""Activations come off the shelf as they were put there, filled up only as far as their batch asks."""

from __future__ import annotations

import numpy as np
import torch

from topwork.training.shelves import BlockShelf, RaggedRows, RaggedShelf


def windows(*shapes: tuple[int, int]) -> torch.Tensor:
    """Return a batch of inputs that are 1 in so many places along both axes, and 0 where they are filled up."""
    whole = torch.zeros(len(shapes), *np.max(shapes, axis=0).tolist(), dtype=torch.int32)
    for one, (k, w) in zip(whole, shapes, strict=True):
        one[:k, :w] = 1
    return whole


def states(inputs: torch.Tensor) -> torch.Tensor:
    """Return a state of three numbers, none of them 0, for each place that holds something."""
    drawn = torch.rand(*inputs.shape, 3, generator=torch.Generator().manual_seed(len(inputs))) + 0.5
    return drawn.bfloat16() * (inputs > 0)[..., None]


def test_rows_of_several_sizes_come_back_and_keep_no_filling() -> None:
    first, second = windows((1, 4), (2, 7), (1, 2)), windows((3, 5), (1, 1))
    shelf = RaggedShelf(1, 5)
    kept = states(first), states(second)
    shelf.put(0, np.array([4, 0, 2]), first, kept[0])
    shelf.put(0, np.array([1, 3]), second, kept[1])
    (rows,) = shelf.kept
    assert len(rows) == 5
    assert rows.n_bytes == 2 * 3 * (4 + 14 + 2 + 15 + 1)
    assert torch.equal(rows[torch.tensor([4, 0, 2])], kept[0])
    pair = rows[torch.tensor([2, 3])]
    assert pair.shape == (2, 1, 2, 3)
    assert torch.equal(pair[0], kept[0][2, :1, :2])
    assert torch.equal(pair[1, :, :1], kept[1][1, :1, :1])
    assert not pair[1, :, 1:].any()


def test_an_input_with_a_gap_reaches_as_far_as_its_last_place() -> None:
    inputs = torch.tensor([[[1, 0, 0, 1, 0]]])
    shelf = RaggedShelf(1, 1)
    shelf.put(0, np.array([0]), inputs, states(inputs))
    assert shelf.kept[0][torch.tensor([0])].shape == (1, 1, 4, 3)


def test_what_is_kept_does_not_hold_on_to_its_batch() -> None:
    inputs = windows((1, 2), (1, 100))
    shelf = RaggedShelf(1, 2)
    shelf.put(0, np.array([0, 1]), inputs, states(inputs))
    alone = RaggedRows(1)
    alone[0] = shelf.kept[0][torch.tensor([0])][0]
    assert alone[torch.tensor([0])].untyped_storage().nbytes() == 2 * 3 * 2


def test_variants_are_kept_apart() -> None:
    inputs = windows((1, 2), (2, 1))
    for shelf in (RaggedShelf(2, 2), BlockShelf(2, 2)):
        several = states(inputs), 2 * states(inputs)
        for variant, one in enumerate(several):
            shelf.put(variant, np.array([1, 0]), inputs, one)
        for variant, one in enumerate(several):
            assert torch.equal(shelf.kept[variant][torch.tensor([1, 0])], one)
