"""A trial's few rows speak for all of them, and sizes are told where inputs have several."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tiny_material import TinyMaterial, stripes
from tiny_text_material import TinyTextMaterial, windows
from topwork.contracts import Fold
from topwork.training.feeds import feed_of, fill
from topwork.training.specimens import Specimens, sizes_of

N = 60


def texts(n_threads: int = 1) -> TinyTextMaterial:
    return TinyTextMaterial(windows(N)[0], n_threads=n_threads)


def pictures() -> TinyMaterial:
    return TinyMaterial(stripes(N)[0])


def test_sizes_count_tokens_and_pictures_have_none() -> None:
    rows = np.arange(N)[::-1]
    expected = [np.count_nonzero(texts().texts[row]) for row in rows]
    assert len(set(expected)) > 5
    for n_threads in (1, 3):
        found = sizes_of(texts(n_threads), rows)
        assert found is not None
        assert found.tolist() == expected
    assert sizes_of(pictures(), rows) is None


def test_a_trial_takes_rows_about_the_mean_and_the_largest_one() -> None:
    rows = np.arange(10, N)
    specimens, sizes = Specimens(texts(), rows), sizes_of(texts(), rows)
    assert sizes is not None
    typical = specimens.typical(4, sizes)
    found = (typical > 0).sum((1, 2)).tolist()
    assert len(found) == 4
    assert np.abs(np.array(found) - sizes.mean()).max() <= np.sort(np.abs(sizes - sizes.mean()))[3]
    assert int((specimens.largest(sizes) > 0).sum()) == sizes.max()


def test_where_all_are_of_a_size_the_first_will_do() -> None:
    rows = np.arange(10, N)
    specimens, material = Specimens(pictures(), rows), pictures()
    assert np.array_equal(specimens.typical(3, None).numpy(), material.pictures[10:13])
    assert np.array_equal(specimens.largest(None).numpy(), material.pictures[10:11])
    assert specimens.decode_s() >= 0


def test_what_is_never_varied_is_known() -> None:
    assert Specimens(pictures(), np.arange(N)).varies()
    assert not Specimens(texts(), np.arange(N)).varies()


# --- feeds of several sizes -------------------------------------------------------------------------------


def fold() -> Fold:
    return Fold(np.arange(40), np.arange(40, N))


def test_looks_put_rows_of_like_size_together_and_leave_none_out() -> None:
    feed = feed_of(texts(), fold(), seed=0)
    assert feed.sizes is not None
    for asked in (None, np.array([1, 5, 19])):
        seen = np.concatenate([rows for rows, _ in feed.validation(asked)])
        assert sorted(seen) == list(range(20) if asked is None else asked)
        assert (np.diff(feed.sizes.valid[seen]) >= 0).all()
    for rows, tensors in feed.validation():
        assert np.array_equal((tensors > 0).sum((1, 2)).numpy(), feed.sizes.valid[rows])


def test_kept_activations_are_those_of_their_rows() -> None:
    """With what is below a cut handing on each token as a state of one number, a state is its token."""
    feed = feed_of(texts(2), fold(), seed=0)
    kept = fill(feed, lambda tokens: tokens[..., None].float(), 1, lambda _: None, lambda: False)
    assert kept is not None
    assert kept.n_train == 40
    assert np.array_equal(kept.train_sizes, feed.train_sizes)  # type: ignore[arg-type]
    rows = np.array([3, 17, 4])
    (found,) = [tensors for _, tensors in kept.batches(iter([(5, rows)]))]
    (expected,) = [tensors for _, tensors in feed.batches(iter([(5, rows)]))]
    assert np.array_equal(found[..., 0].numpy(), expected.numpy())
    looks = zip(kept.validation(), feed.validation(), strict=True)
    for (mine, states), (theirs, tokens) in looks:
        assert np.array_equal(mine, theirs)
        assert np.array_equal(states[..., 0].numpy(), tokens.numpy())


def test_a_feed_of_pictures_has_no_sizes() -> None:
    assert feed_of(pictures(), fold(), seed=0).train_sizes is None
    assert replace(feed_of(texts(), fold(), seed=0), sizes=None).train_sizes is None
