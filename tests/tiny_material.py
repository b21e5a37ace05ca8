"""A network of four stages and pictures made of numbers: what a recipe needs that trains, in a few milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from types import MappingProxyType

import numpy as np
import torch

from topwork.contracts import Array, Budget, FitJob, Fold, Goal, Rates, Resources, Stage, Words
from topwork.progress import Quiet

SIDE = 8
N_FEATURES = 6


class ChainNetwork(torch.nn.Module):
    """``uint8 [n, 8, 8, 3]`` to features ``float32 [n, 6]``: four convolutions in a row, each normalised."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            widths = (3, 4, 6, 6, N_FEATURES)
            self.levels = torch.nn.ModuleList(
                torch.nn.Sequential(
                    torch.nn.Conv2d(n_in, n_out, 3, padding=1, stride=2 if level == 1 else 1, bias=False),
                    torch.nn.BatchNorm2d(n_out, momentum=1.0),
                    torch.nn.ReLU(),
                )
                for level, (n_in, n_out) in enumerate(pairwise(widths))
            )
            self(torch.randint(0, 256, (64, SIDE, SIDE, 3), dtype=torch.uint8))  # for the statistics
        self.eval()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        planes: torch.Tensor = pixels.permute(0, 3, 1, 2).float() / 128 - 1
        for level in self.levels:
            planes = level(planes)
        return planes.mean((2, 3))

    def stages(self) -> tuple[Stage, ...]:
        return tuple(Stage(f"level{i}", (level,)) for i, level in enumerate(self.levels))


@dataclass(eq=False)
class TinyMaterial:
    """A `topwork.contracts.Material` over pictures in memory; ``asked`` counts the variants it was asked for."""

    pictures: Array
    memory_bytes: int = 0
    n_threads: int = 1
    seed: int = 0
    asked: list[int] = field(default_factory=list)

    @property
    def resources(self) -> Resources:
        return Resources("cpu", self.n_threads, self.memory_bytes, has_fast_bf16=False)

    @property
    def rates(self) -> Rates:
        return Rates(1e-4, 1e-3, 3e-3)

    @property
    def is_ragged(self) -> bool:
        return False

    def network(self) -> torch.nn.Module:
        return ChainNetwork(self.seed)

    def stages(self, network: torch.nn.Module) -> tuple[Stage, ...]:
        assert isinstance(network, ChainNetwork)
        return network.stages()

    def example(self, row: int) -> Array:
        return np.asarray(self.pictures[row])

    def held_bytes(self, n_rows: int) -> int:
        return n_rows * int(self.pictures[0].nbytes)

    def variant(self, row: int, draw: np.random.Generator) -> Array:
        self.asked.append(row)
        picture = self.pictures[row]
        turned = picture[:, ::-1] if draw.random() < 0.5 else picture
        noisy = turned + draw.normal(0, 4, picture.shape)
        return np.asarray(np.clip(noisy, 0, 255), dtype=np.uint8)

    @property
    def has_words(self) -> bool:
        return False

    def words(self, network: torch.nn.Module) -> Words | None:
        return None


def stripes(n: int, seed: int = 0) -> tuple[Array, Array]:
    """Return pictures ``uint8 [n, 8, 8, 3]`` of three classes, and the classes: stripes across, down, or neither.

    Their colours are the same, so the features of a random network tell them apart badly and those of a trained
    one well.
    """
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 3
    wave = np.where(np.arange(SIDE) % 2, 40.0, -40.0)
    patterns = np.stack(
        [np.tile(wave[:, None], (1, SIDE)), np.tile(wave[None, :], (SIDE, 1)), np.zeros((SIDE, SIDE))]
    )
    noise = rng.normal(0, 50, (n, SIDE, SIDE, 3))
    pictures = 128 + patterns[truth][..., None] + noise
    return np.clip(pictures, 0, 255).astype(np.uint8), truth


def reds(n: int, draw: np.random.Generator) -> tuple[Array, Array]:
    """Return plain pictures ``uint8 [n, 8, 8, 3]``, and how red each is, from -1.7 to 1.7."""
    red = draw.uniform(-1.7, 1.7, n)
    colours = np.stack([120 + 60 * red, np.full(n, 90.0), 120 - 60 * red], axis=1) + draw.normal(0, 5, (n, 3))
    plain = np.clip(colours, 0, 255)[:, None, None].astype(np.uint8)
    return np.tile(plain, (1, SIDE, SIDE, 1)), red


def features_of(material: TinyMaterial, weights: Mapping[str, Array] = MappingProxyType({})) -> Array:
    """Return what the network says of every picture, untrained or with the weights that a recipe gave back."""
    network = material.network()
    changed = {name: torch.from_numpy(value) for name, value in weights.items()}
    network.load_state_dict({**network.state_dict(), **changed})
    with torch.no_grad():
        return np.asarray(network(torch.from_numpy(material.pictures)).numpy())


def tiny_job(
    n: int = 240,
    *,
    n_steps: int | None = 20,
    change: Callable[[FitJob], FitJob] = lambda job: job,
    seed: int = 0,
    memory_bytes: int = 0,
) -> FitJob:
    """Return the job of a recipe that trains; every third row is validation of one of three folds."""
    pictures, truth = stripes(n, seed)
    material = TinyMaterial(pictures, memory_bytes)
    rows, part = np.arange(n), np.arange(n) // 3 % 3
    folds = tuple(Fold(rows[part != j], rows[part == j]) for j in range(3))
    job = FitJob(
        features=features_of(material),
        goals={"pattern": Goal(truth, "softmax", 3, accuracy)},
        folds=folds,
        seed=seed,
        budget=Budget(lambda: 0.0),
        progress=Quiet(),
        material=material,
        n_steps=n_steps,
    )
    return change(job)


def accuracy(truth: Array, scores: Array) -> float:
    known = truth >= 0
    return float(np.mean(scores[known].argmax(1) == truth[known]))


def with_threads(material: TinyMaterial, n_threads: int) -> TinyMaterial:
    return replace(material, n_threads=n_threads, asked=[])
