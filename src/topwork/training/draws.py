"""What torch draws at random, such as the weights that dropout leaves out: by a seed, and nobody else notices.

It knows no network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

__all__ = ["drawn_by", "seed_of"]


@contextmanager
def drawn_by(seed: int, device: str) -> Iterator[None]:
    """Let torch draw from a seed, on the processor and on a GPU, and put its random state back afterwards."""
    import torch

    devices = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def seed_of(parts: Sequence[int]) -> int:
    """Return one seed for several whole numbers, such as those of a fit, a rung and a step; 0 to 2^64 - 1."""
    return int(np.random.SeedSequence(tuple(parts)).generate_state(1, np.uint64)[0])
