"""A survey tries steps on a few rows, and fewer at a time where the device has no memory for them."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch

from tiny_material import ChainNetwork
from topwork.training.plan import BATCH
from topwork.training.surveying import Shape, Subject, survey, trial_rows
from topwork.training.trainee import Trainee

N = 32


@dataclass
class Narrow:
    """A network on a device that holds the activations of a few examples; remembers how many it was given."""

    holds: int
    network: ChainNetwork = field(default_factory=ChainNetwork)
    given: list[int] = field(default_factory=list)

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        self.given.append(len(batch))
        if len(batch) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        features: torch.Tensor = self.network(batch)
        return features

    def subject(self) -> Subject:
        trainee = Trainee(self, (dict(self.network.named_parameters()),), {})
        batch = torch.zeros(N, 8, 8, 3, dtype=torch.uint8)
        return Subject(self.network, batch, None, lambda _: trainee, 0, 100, 10, bf16=False, memory_bytes=0)


@pytest.mark.parametrize(
    ("holds", "n_parts"), [(N, 1), (31, 2), (16, 2), (15, 4), (5, 8), (3, 16), (2, 16), (1, 32)]
)
def test_a_step_that_does_not_fit_is_tried_with_half_as_many(holds: int, n_parts: int) -> None:
    narrow = Narrow(holds)
    found = survey(narrow.subject())
    assert found.whole == Shape(n_parts, recompute=False)
    assert narrow.given[-1] == BATCH // n_parts <= holds
    assert found.speed.all_s > 0
    assert all(p.grad is None for p in narrow.network.parameters())


def test_where_not_even_one_example_fits_the_error_is_the_device_s() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        survey(Narrow(0).subject())


def test_a_gpu_is_tried_with_a_whole_batch() -> None:
    assert trial_rows("cuda") == BATCH
    assert trial_rows("cpu") < BATCH
