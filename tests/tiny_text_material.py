"""A text encoder of three layers and windows of tokens: what a recipe needs that trains on inputs of several sizes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from tiny_material import accuracy
from topwork.contracts import Array, Budget, FitJob, Fold, Goal, Rates, Resources, Stage, Words, padded
from topwork.progress import Quiet
from topwork.trunks.encoders import Encoder, build, stages
from topwork.trunks.token_network import TokenNetwork

N_FEATURES = 16
WIDTH = 12
CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "hidden_size": N_FEATURES,
    "intermediate_size": 24,
    "num_attention_heads": 2,
    "num_hidden_layers": 3,
    "max_position_embeddings": 32,
    "vocab_size": 40,
}


@dataclass(eq=False)
class TinyTextMaterial:
    """A `topwork.contracts.Material` over windows of tokens in memory; ``asked`` holds the rows it was asked for."""

    texts: list[Array]
    memory_bytes: int = 0
    n_threads: int = 1
    asked: list[int] = field(default_factory=list)
    has_fast_bf16: bool = False

    @property
    def resources(self) -> Resources:
        return Resources("cpu", self.n_threads, self.memory_bytes, self.has_fast_bf16)

    @property
    def rates(self) -> Rates:
        return Rates(1e-3, 3e-3, 1e-2)

    @property
    def is_ragged(self) -> bool:
        return True

    def network(self) -> torch.nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            trunk = build(Encoder(CONFIG))
            with torch.no_grad():
                for p in trunk.parameters():
                    p.normal_(0, 0.4) if p.ndim > 1 else p.add_(torch.randn_like(p), alpha=0.1)
        return TokenNetwork(trunk, "mean").eval()

    def stages(self, network: torch.nn.Module) -> tuple[Stage, ...]:
        assert isinstance(network, TokenNetwork)
        return stages(network.trunk)

    def example(self, row: int) -> Array:
        self.asked.append(row)
        return self.texts[row]

    def held_bytes(self, n_rows: int) -> int:
        return n_rows * int(self.texts[0].nbytes)

    def variant(self, row: int, draw: np.random.Generator) -> Array:
        del draw
        return self.example(row)

    @property
    def has_words(self) -> bool:
        return False

    def words(self, network: torch.nn.Module) -> Words | None:
        del network
        return None


def windows(n: int, seed: int = 0) -> tuple[list[Array], Array]:
    """Return texts ``int32 [k, w]`` of one or two windows, and whether each has token 7 more often than token 8."""
    draw, texts = np.random.default_rng(seed), []
    truth = np.arange(n) % 2
    for label in truth:
        text = np.zeros((int(draw.integers(1, 3)), WIDTH), np.int32)
        for window in text:
            length = int(draw.integers(4, WIDTH + 1))
            window[:length] = draw.integers(10, 40, length)
            window[draw.permutation(length)[:2]] = 7 if label else 8
        texts.append(text[:, : int((text > 0).any(0).sum())])
    return texts, truth


def tiny_text_job(n: int = 240, *, n_steps: int | None = 20, seed: int = 0) -> FitJob:
    """Return the job of a recipe that trains; a third of the rows is validation of one of three folds."""
    texts, truth = windows(n)
    material = TinyTextMaterial(texts)
    rows, part = np.arange(n), np.arange(n) // 2 % 3
    with torch.no_grad():
        features = material.network()(torch.from_numpy(padded(texts))).numpy()
    return FitJob(
        features=features,
        goals={"more": Goal(truth, "softmax", 2, accuracy)},
        folds=tuple(Fold(rows[part != j], rows[part == j]) for j in range(3)),
        seed=seed,
        budget=Budget(lambda: 0.0),
        progress=Quiet(),
        material=material,
        n_steps=n_steps,
    )


def with_memory(job: FitJob, memory_bytes: int) -> FitJob:
    """Return the same job on a machine with so much memory."""
    assert isinstance(job.material, TinyTextMaterial)
    return replace(job, material=replace(job.material, memory_bytes=memory_bytes, asked=[]))
