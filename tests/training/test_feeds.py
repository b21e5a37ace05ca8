"""Feeds give the same batches whoever decodes them first, and compute each kept variant once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from tiny_material import TinyMaterial, stripes, with_threads
from topwork.contracts import Array
from topwork.training.feeds import CutFeed, RawFeed, fill

N_TRAIN, N_VALID = 70, 45


def feed(n_threads: int = 1, seed: int = 0) -> RawFeed:
    """The rows are in no order, so that a place within the training rows is never a row of the material."""
    rows = np.random.default_rng(5).permutation(N_TRAIN + N_VALID)
    material = with_threads(TinyMaterial(stripes(N_TRAIN + N_VALID)[0]), n_threads)
    return RawFeed(material, rows[:N_TRAIN], rows[N_TRAIN:], seed, n_threads)


def material_of(one: RawFeed) -> TinyMaterial:
    assert isinstance(one.material, TinyMaterial)
    return one.material


def order(n_epochs: int = 2, batch: int = 16) -> Iterator[tuple[int, Array]]:
    for epoch in range(n_epochs):
        shuffled = np.random.default_rng(epoch).permutation(N_TRAIN)
        for start in range(0, N_TRAIN, batch):
            yield epoch, shuffled[start : start + batch]


def below(batch: torch.Tensor) -> torch.Tensor:
    return batch.float().mean((1, 2)).bfloat16()


# --- inputs as they are decoded -------------------------------------------------------------------------


@pytest.mark.parametrize("n_threads", [2, 7])
def test_batches_do_not_depend_on_the_threads(n_threads: int) -> None:
    alone, together = list(feed().batches(order())), list(feed(n_threads).batches(order()))
    assert len(alone) == len(together) == 10
    for (rows, tensors), (other_rows, other_tensors), (_, asked) in zip(
        alone, together, order(), strict=True
    ):
        assert np.array_equal(rows, other_rows)
        assert np.array_equal(rows, asked)
        assert torch.equal(tensors, other_tensors)


def test_a_variant_is_drawn_from_seed_epoch_and_row_alone() -> None:
    one = feed()
    assert np.array_equal(one.variant(3, 8), feed().variant(3, 8))
    others = [one.variant(4, 8), one.variant(3, 9), feed(seed=1).variant(3, 8)]
    assert all(not np.array_equal(one.variant(3, 8), other) for other in others)


def test_variants_are_those_of_the_training_rows() -> None:
    one = feed()
    list(one.batches(order(1)))
    assert Counter(material_of(one).asked) == Counter(one.train.tolist())


def test_validation_comes_whole_in_its_order_and_unvaried() -> None:
    one = feed(3)
    found = list(one.validation())
    assert np.array_equal(np.concatenate([rows for rows, _ in found]), np.arange(N_VALID))
    pictures = torch.cat([tensors for _, tensors in found]).numpy()
    assert np.array_equal(pictures, material_of(one).pictures[one.valid])
    assert material_of(one).asked == []


def test_decoding_is_only_a_few_batches_ahead() -> None:
    one = feed()
    batches = one.batches(order(100))
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert len(material_of(one).asked) <= 6 * 16


class BrokenMaterial(TinyMaterial):
    def variant(self, row: int, draw: np.random.Generator) -> Array:
        raise RuntimeError("no picture today")


def test_what_goes_wrong_in_a_thread_is_told() -> None:
    broken = BrokenMaterial(stripes(10)[0])
    with pytest.raises(RuntimeError, match="no picture today"):
        list(RawFeed(broken, np.arange(10), np.arange(3), 0, 2).batches(iter([(0, np.arange(4))])))


# --- activations that were kept -------------------------------------------------------------------------


@pytest.mark.parametrize("n_variants", [1, 3])
def test_filling_computes_every_variant_once(n_variants: int) -> None:
    one, told = feed(2), 0

    def advance(n: int) -> None:
        nonlocal told
        told += n

    kept = fill(one, below, n_variants, advance, lambda: False)
    assert kept is not None
    assert isinstance(kept.train, torch.Tensor)
    assert isinstance(kept.valid, torch.Tensor)
    assert told == n_variants * N_TRAIN == len(material_of(one).asked)
    assert set(Counter(material_of(one).asked).values()) == {n_variants}
    assert kept.train.shape == (n_variants, N_TRAIN, 3)
    assert kept.valid.shape == (N_VALID, 3)
    assert kept.train.dtype == torch.bfloat16
    assert kept.n_train == one.n_train
    for epoch in range(n_variants):
        for row in (0, 33, N_TRAIN - 1):
            expected = below(torch.from_numpy(one.variant(epoch, row))[None])[0]
            assert torch.equal(kept.train[epoch, row], expected)


def test_filling_stops_when_told_to() -> None:
    one, n_asked = feed(), 0

    def stop() -> bool:
        nonlocal n_asked
        n_asked += 1
        return n_asked > 2

    assert fill(one, below, 3, lambda _: None, stop) is None
    assert n_asked == 3


def test_kept_variants_take_turns() -> None:
    train = torch.arange(3 * 5).reshape(3, 5, 1).float()
    kept = CutFeed(train, torch.arange(40).reshape(40, 1).float())
    rows = np.array([4, 0])
    found = [tensors.flatten().tolist() for _, tensors in kept.batches((e, rows) for e in range(5))]
    assert found == [[4, 0], [9, 5], [14, 10], [4, 0], [9, 5]]
    looked = list(kept.validation())
    assert torch.cat([tensors for _, tensors in looked]).flatten().tolist() == list(range(40))
    assert np.array_equal(np.concatenate([rows for rows, _ in looked]), np.arange(40))
