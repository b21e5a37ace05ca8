"""Transformers of a few thousand weights as the material of a recipe, for pictures and for texts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from tiny_material import SIDE, TinyMaterial, accuracy, features_of, tiny_job
from tiny_text_trunk import WINDOW, write_tiny_text_trunk
from topwork.contracts import (
    Array,
    Budget,
    FitJob,
    Fitted,
    Fold,
    Goal,
    Rates,
    Resources,
    Stage,
    TextTrunk,
    Trunk,
    Words,
    padded,
)
from topwork.inputs.text import TEXT
from topwork.progress import Quiet
from topwork.training.judging import half_of
from topwork.trunks.folder import open_folder
from toy_texts import LABELS, toy_texts, toy_tokenizer

VIT_FEATURES = 12


class VitMaterial(TinyMaterial):
    """Pictures for a vision transformer of timm with two blocks and 12 features."""

    def network(self) -> torch.nn.Module:
        from topwork.trunks.network import PixelNetwork
        from topwork.trunks.torchvision_guard import import_timm

        import_timm()
        from timm.models.vision_transformer import VisionTransformer

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = VisionTransformer(
                img_size=SIDE, patch_size=4, embed_dim=VIT_FEATURES, depth=2, num_heads=2, num_classes=0
            )
        return PixelNetwork(network, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)).eval()

    def stages(self, network: torch.nn.Module) -> tuple[Stage, ...]:
        return (Stage("all", (network,)),)


def vit_job(n_steps: int | None = 60, n: int = 240) -> FitJob:
    """Return the job of `tiny_material` on a vision transformer."""

    def change(job: FitJob) -> FitJob:
        assert isinstance(job.material, TinyMaterial)
        material = VitMaterial(job.material.pictures)
        return replace(job, material=material, features=features_of(material))

    return tiny_job(n, n_steps=n_steps, change=change)


@dataclass(eq=False)
class TextMaterial:
    """A `topwork.contracts.Material` over toy texts and the tiny encoder of `tiny_text_trunk`."""

    trunk: Trunk
    texts: list[str]
    further: list[str] = field(default_factory=list)
    are_weighed: bool = False

    @property
    def resources(self) -> Resources:
        return Resources("cpu", 1, 0, has_fast_bf16=False)

    @property
    def rates(self) -> Rates:
        return Rates(1e-4, 1e-3, 3e-3)

    @property
    def is_ragged(self) -> bool:
        return True

    def network(self) -> torch.nn.Module:
        return self.trunk.load(self.trunk.fetch(Path(), Quiet()))

    def stages(self, network: torch.nn.Module) -> tuple[Stage, ...]:
        return self.trunk.stages(network)

    def example(self, row: int) -> Array:
        return self._decoded(self.texts[row])

    def held_bytes(self, n_rows: int) -> int:
        return n_rows * int(self.example(0).nbytes)

    def variant(self, row: int, draw: np.random.Generator) -> Array:
        return self.example(row)

    @property
    def has_words(self) -> bool:
        return self.are_weighed

    def words(self, network: torch.nn.Module) -> Words | None:
        assert isinstance(self.trunk, TextTrunk)
        found = self.trunk.words(network)
        further = tuple(partial(self._decoded, one) for one in self.further)
        return None if found is None else replace(found, further=further)

    def _decoded(self, text: str) -> Array:
        return TEXT.decode(text.encode(), self.trunk.preprocessing).tensor


def text_job(
    folder: Path,
    n_steps: int | None = 40,
    n: int = 96,
    *,
    change: Callable[[TextMaterial], TextMaterial] = lambda material: material,
) -> FitJob:
    """Return a job on toy texts; ``folder`` is for the trunk's files. Every third row or so is validation."""
    texts, labels = toy_texts(n)
    material = change(TextMaterial(open_folder(write_masking_trunk(folder)), texts))
    rows, part = np.arange(n), np.arange(n) // 2 % 3
    with torch.no_grad():
        features = material.network()(torch.from_numpy(padded(material.example(i) for i in range(n))))
    return FitJob(
        features=features.numpy(),
        goals={"label": Goal(np.array([LABELS.index(one) for one in labels]), "softmax", 2, accuracy)},
        folds=tuple(Fold(rows[part != j], rows[part == j]) for j in range(3)),
        seed=0,
        budget=Budget(lambda: 0.0),
        progress=Quiet(),
        material=material,
        n_steps=n_steps,
    )


def as_numbers(job: FitJob) -> FitJob:
    """Return the same job with the number of the class as a number to predict."""
    [(name, goal)] = job.goals.items()
    truth = (goal.truth - goal.truth.mean()) / goal.truth.std()
    return replace(job, goals={name: Goal(truth, "identity", 1)})


def largest_difference(job: FitJob, fitted: Fitted) -> float:
    """Return how far held-out scores are from those of the network with the tensors that a recipe gave back.

    Of the half of the rows where they are nearer: the other half may have another look's.
    """
    [(name, scores)] = scores_after(job, fitted).items()
    apart = np.abs(scores - fitted.held_out[name][job.folds[0].valid]).max(axis=1)
    first = half_of(len(apart), job.seed)
    return float(min(apart[first].max(), apart[~first].max()))


def scores_after(job: FitJob, fitted: Fitted) -> dict[str, Array]:
    """Return the scores of the validation rows by the network with the tensors that a recipe gave back."""
    assert job.material is not None
    network = job.material.network()
    changed = {name: torch.from_numpy(value) for name, value in fitted.weights.items()}
    network.load_state_dict({**network.state_dict(), **changed})
    batch = padded(job.material.example(int(i)) for i in job.folds[0].valid)
    with torch.no_grad():
        features = network.eval()(torch.from_numpy(batch)).numpy()
    return {name: head.scores(features) for name, head in fitted.heads.items()}


def write_masking_trunk(folder: Path) -> Path:
    """Write the tiny text trunk with a tokeniser that knows a token for masked words."""
    from tokenizers import Tokenizer

    if (folder / "tokenizer.json").is_file():
        return folder
    write_tiny_text_trunk(folder)
    tokenizer = Tokenizer.from_str(toy_tokenizer(290))
    tokenizer.add_special_tokens(["[MASK]"])
    (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    length = json.dumps({"max_seq_length": WINDOW, "do_lower_case": False})
    (folder / "sentence_bert_config.json").write_text(length, encoding="utf-8")
    return folder
