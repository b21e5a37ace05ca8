"""Words are as warm as the score falls without them, by networks whose right answer is known."""

from __future__ import annotations

import numpy as np

from topwork.contracts import Array, Precision
from topwork.inputs.text_excerpt import stretches
from topwork.proof.occluding import warmth


class Summing:
    """A network that gives each token number a feature of its own and adds them up."""

    name, version, n_streams = "summing", "1", 1
    precision: Precision = "fp32"

    def __init__(self) -> None:
        self.largest = 0

    def run(self, batch: Array) -> dict[str, Array]:
        self.largest = max(self.largest, len(batch))
        counts = np.stack([np.bincount(one[one > 0], minlength=12) for one in batch])
        return {"features": counts.astype(np.float32)}


TOKENS = np.array([[1, 5, 6, 7, 2], [1, 6, 2, 0, 0]], dtype=np.int32)


def test_heat_is_what_each_token_adds_to_the_score() -> None:
    weights = np.zeros(12, np.float32)
    weights[[5, 6, 7]] = 2.0, -1.0, 0.5
    found = warmth(Summing(), TOKENS, stretches(TOKENS, 10), weights)
    assert found.tolist() == [[0, 1, -0.5, 0.25, 0], [0, -0.5, 0, 0, 0]]


def test_the_tokens_of_a_part_share_its_heat() -> None:
    weights = np.zeros(12, np.float32)
    weights[[5, 6, 7]] = 3.0, 1.0, 0.0
    found = warmth(Summing(), TOKENS, stretches(TOKENS, 2), weights)
    assert found[0].tolist() == [0, 1, 1, 0.25, 0]
    assert found[1].tolist() == [0, 0.25, 0, 0, 0]


def test_a_score_that_nothing_changes_is_cold_and_batches_stay_small() -> None:
    engine = Summing()
    long = np.arange(1, 12, dtype=np.int32)[None].repeat(10, axis=0)
    assert not warmth(engine, long, stretches(long, 96), np.zeros(12, np.float32)).any()
    assert engine.largest == 16
