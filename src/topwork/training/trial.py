"""A timed and measured trial of a step, before the first real one: how long it takes and what memory it keeps.

Speed decides how much fits into a budget, memory whether a step must be computed in parts. It changes no weight.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import ceil
from typing import Any

import torch

from topwork.training.devices import wait_for
from topwork.training.trainee import Trainee

__all__ = ["kept_bytes", "parts_of", "seconds_of", "variants_of"]

_PROCESSOR = torch.device("cpu")

_PART_OF_MEMORY = 0.5
"""What may be spent on activations; the rest is for weights, data, libraries, and other programs."""
_PART_FOR_VARIANTS = 0.2
"""What may be spent on activations that are kept at a cut."""


def seconds_of(work: Callable[[], object], device: torch.device = _PROCESSOR, *, n_runs: int = 2) -> float:
    """Return the shortest time of a few runs after one that warms up; a run ends when its device has done it."""
    work()
    times = []
    for _ in range(n_runs):
        wait_for(device)
        started_s = time.perf_counter()
        work()
        wait_for(device)
        times.append(time.perf_counter() - started_s)
    return min(times)


def kept_bytes(trainee: Trainee, tensors: torch.Tensor) -> int:
    """Return what autograd keeps for the backward pass of a batch, in bytes for each example."""
    seen: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    def give(tensor: Any) -> Any:
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, give):
        trainee.features(tensors)
    weights = sum(p.numel() * p.element_size() for p in trainee.named().values())
    return ceil(max(0, sum(seen.values()) - weights) / len(tensors))


def parts_of(batch: int, bytes_per_example: int, memory_bytes: int) -> tuple[int, bool]:
    """Return in how many parts a batch must be computed, and whether even one example is too much to keep.

    A machine that does not tell its memory (0) is taken to have enough.
    """
    if not memory_bytes or not bytes_per_example:
        return 1, False
    fit = int(_PART_OF_MEMORY * memory_bytes / bytes_per_example)
    return (batch, True) if fit < 1 else (ceil(batch / min(batch, fit)), False)


def variants_of(most: int, bytes_per_variant: int, bytes_of_valid: int, memory_bytes: int) -> int:
    """Return how many variants of every example can be kept at a cut: at most ``most``, 0 where not even one can.

    ``bytes_per_variant`` is what one variant of all training rows takes, ``bytes_of_valid`` what the validation rows
    take. A machine that does not tell its memory (0) is taken to have enough.
    """
    if not memory_bytes or not bytes_per_variant:
        return most
    left = _PART_FOR_VARIANTS * memory_bytes - bytes_of_valid
    return min(most, max(0, int(left / bytes_per_variant)))
