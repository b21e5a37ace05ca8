"""Blocks of a cache: who has which, what texts share, and what is forgotten first."""

from __future__ import annotations

import numpy as np
import pytest

from topwork.engines.paging import BlockPool, Lease
from topwork.errors import UsageError


def leased(pool: BlockPool, tokens: list[int], root: str = "") -> Lease:
    lease = pool.take(tokens, root)
    assert lease is not None
    return lease


def computed(pool: BlockPool, tokens: list[int], root: str = "") -> Lease:
    """Lease blocks for a text all of which is computed."""
    lease = leased(pool, tokens, root)
    pool.keep(lease, tokens, root)
    return lease


def test_a_text_has_as_many_blocks_as_its_tokens_fill() -> None:
    pool = BlockPool(4, 3)
    lease = leased(pool, [1, 2, 3, 4])
    assert len(set(lease.blocks)) == 2
    assert lease.n_shared == 0
    assert pool.n_free == 2


def test_what_texts_begin_with_is_shared_as_far_as_blocks_are_full() -> None:
    pool = BlockPool(8, 3)
    one = computed(pool, [1, 2, 3, 4, 5, 6, 7])
    other = leased(pool, [1, 2, 3, 4, 5, 6, 8, 9])
    assert other.n_shared == 6
    assert other.blocks[:2] == one.blocks[:2]
    assert other.blocks[2] != one.blocks[2]
    assert pool.n_free == 4


def test_the_last_token_is_never_taken_as_known() -> None:
    pool = BlockPool(8, 3)
    computed(pool, [1, 2, 3, 4, 5, 6])
    assert leased(pool, [1, 2, 3, 4, 5, 6]).n_shared == 3


def test_what_is_not_yet_computed_is_not_shared() -> None:
    pool = BlockPool(8, 3)
    lease = leased(pool, [1, 2, 3, 4])
    assert leased(pool, [1, 2, 3, 4]).n_shared == 0
    pool.keep(lease, [1, 2])
    assert leased(pool, [1, 2, 3, 4]).n_shared == 0
    pool.keep(lease, [1, 2, 3])
    assert leased(pool, [1, 2, 3, 4]).n_shared == 3


def test_texts_with_other_roots_share_nothing() -> None:
    pool = BlockPool(8, 3)
    computed(pool, [1, 2, 3, 4], "base")
    assert leased(pool, [1, 2, 3, 4], "adapter").n_shared == 0


def test_a_block_counts_with_all_that_stands_before_it() -> None:
    pool = BlockPool(8, 2)
    computed(pool, [1, 2, 3, 4, 5])
    assert leased(pool, [9, 9, 3, 4, 5]).n_shared == 0


def test_what_was_given_back_is_still_known_until_it_is_needed_the_longest_unused_first() -> None:
    pool = BlockPool(4, 2)
    pool.release(computed(pool, [1, 2, 0]))
    pool.release(computed(pool, [3, 4, 0]))
    assert pool.n_free == 4
    lease = leased(pool, [5, 6, 7, 8, 9])  # needs the two fresh blocks, and one of those that are known
    assert len(set(lease.blocks)) == 3
    again = leased(pool, [3, 4])
    assert again.n_shared == 0  # the last token is wanted, so that no block was looked for
    pool.release(again)
    pool.release(lease)
    assert leased(pool, [1, 2, 0]).n_shared == 0


def test_a_block_in_use_is_not_given_to_anybody_else() -> None:
    pool = BlockPool(3, 2)
    one = computed(pool, [1, 2, 3])
    assert pool.take([7, 8, 9]) is None
    assert pool.n_free == 1
    assert leased(pool, [1, 2, 4]).blocks[0] == one.blocks[0]  # it needs a single one more


def test_a_shared_block_that_is_idle_is_not_counted_as_room_twice() -> None:
    pool = BlockPool(2, 2)
    pool.release(computed(pool, [1, 2, 3]))
    assert pool.take([1, 2, 3, 4, 5]) is None  # of three blocks one is known, and one is left
    assert leased(pool, [1, 2, 3, 4]).n_shared == 2


def test_a_lease_grows_while_there_is_room() -> None:
    pool = BlockPool(2, 2)
    lease = leased(pool, [1])
    assert pool.grow(lease, 4)
    assert len(lease.blocks) == 2
    assert not pool.grow(lease, 5)
    assert len(lease.blocks) == 2


def test_nothing_is_lost_whatever_is_taken_kept_and_released() -> None:
    pool, draw = BlockPool(12, 3), np.random.default_rng(0)
    leases: list[tuple[Lease, list[int]]] = []
    for _ in range(2000):
        if leases and draw.random() < 0.5:
            lease, _ = leases.pop(int(draw.integers(len(leases))))
            pool.release(lease)
        else:
            tokens = draw.integers(0, 2, int(draw.integers(1, 14))).tolist()
            if (taken := pool.take(tokens)) is not None:
                pool.keep(taken, tokens)
                leases.append((taken, tokens))
        used = {block for lease, _ in leases for block in lease.blocks}
        assert pool.n_free == 12 - len(used)
        own: dict[int, tuple[int, ...]] = {}
        for lease, tokens in leases:
            for place, block in enumerate(lease.blocks):
                beginning = tuple(tokens[: (place + 1) * 3])
                assert own.setdefault(block, beginning) == beginning


def test_a_pool_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="0 blocks of 3 tokens holds nothing"):
        BlockPool(0, 3)
