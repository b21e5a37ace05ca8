"""Adapters: the layers that compute are the ones adapted, what was merged is what was validated, the rest stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tiny_material import tiny_job
from tiny_text_material import tiny_text_job
from tiny_transformers import as_numbers, largest_difference, text_job, vit_job
from topwork.contracts import Budget, FitJob, Rates
from topwork.errors import TopworkError, UsageError
from topwork.recipes.adapters import KINDS, Shape, attach
from topwork.recipes.lora import LORA, LoraRecipe, LoraSettings, lora_rung


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_merged_is_what_validation_saw(kind: str) -> None:
    """Numbers are not calibrated, so held-out scores are those of the merged network and its head."""
    job = as_numbers(vit_job())
    fitted = LoraRecipe(LoraSettings(kind=kind, rate=1e-3))(job)
    assert {name.rpartition(".")[0].removeprefix("trunk.blocks.") for name in fitted.weights} == {
        f"{block}.{layer}" for block in (0, 1) for layer in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    }
    assert largest_difference(job, fitted) < 1e-4
    assert largest_difference(job, replace(fitted, weights={})) > 1e-2


def n_weights(job: FitJob) -> int:
    assert job.material is not None
    return sum(p.numel() for p in job.material.network().parameters())


def test_it_beats_the_frozen_network_and_tells_how_much_was_trained() -> None:
    fitted = LoraRecipe(LoraSettings(rank=4, rate=1e-3))(vit_job(n_steps=150))
    probe, lora = fitted.rungs
    assert probe.log_loss is not None
    assert lora.log_loss is not None
    assert lora.log_loss.value < probe.log_loss.value - 0.05
    assert (lora.name, lora.chosen, lora.n_steps) == ("lora", True, 150)
    n_trained = 2 * 4 * ((12 + 36) + (12 + 12) + (12 + 48) + (48 + 12))
    assert fitted.notes[-1].startswith(
        f"Trained were adapters of kind lora on 8 layers, {n_trained:,} weights"
    )
    assert lora.trained_share == pytest.approx(n_trained / n_weights(vit_job()))


def test_products_make_the_tensors_again() -> None:
    job = vit_job()
    fitted = LORA(job)
    assert job.material is not None
    base = {name: value.numpy() for name, value in job.material.network().state_dict().items()}
    assert set(fitted.products) == set(fitted.weights)
    for name, product in fitted.products.items():
        assert product.up.shape == (base[name].shape[0], 16)
        assert np.allclose(product.added_to(base[name]), fitted.weights[name], atol=1e-6)
        assert not np.allclose(base[name], fitted.weights[name], atol=1e-6)


def test_other_kinds_are_no_products() -> None:
    assert dict(LoraRecipe(LoraSettings(kind="dora"))(vit_job(n_steps=5)).products) == {}


def test_layers_are_chosen_by_the_end_of_their_names() -> None:
    fitted = LoraRecipe(LoraSettings(layers="qkv, mlp.fc2"))(vit_job(n_steps=10))
    ends = {name.partition("blocks.")[2][2:] for name in fitted.weights}
    assert ends == {"attn.qkv.weight", "mlp.fc2.weight"}
    with pytest.raises(UsageError, match=r"ends with 'query'.*\n.*end with fc1, fc2, proj, qkv"):
        LoraRecipe(LoraSettings(layers="query"))(vit_job(n_steps=10))


def test_convolutions_are_adapted_where_they_hold_the_weights() -> None:
    job = tiny_job(n_steps=80)
    fitted = LoraRecipe(LoraSettings(rate=1e-3))(job)
    assert set(fitted.weights) == {f"levels.{i}.0.weight" for i in range(4)}
    numbers = as_numbers(job)
    assert largest_difference(numbers, LORA(numbers)) < 1e-4
    first, rung = fitted.rungs
    assert first.log_loss is not None
    assert rung.log_loss is not None
    assert rung.log_loss.value < first.log_loss.value


def test_an_encoder_of_texts_is_adapted(tmp_path: Path) -> None:
    job = as_numbers(text_job(tmp_path))
    fitted = LORA(job)
    ends = {name.split(".", 4)[4].removesuffix(".weight") for name in fitted.weights}
    assert ends == {
        *(f"attention.self.{one}" for one in ("query", "key", "value")),
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
    }
    assert largest_difference(job, fitted) < 1e-4


class Bypassing(torch.nn.Module):
    """Takes a layer's weight and computes past the layer; its convolution is grouped, another one dilated."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.past = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
        self.grouped = torch.nn.Conv2d(4, 4, 1, groups=4)
        self.dilated = torch.nn.Conv2d(4, 4, 3, padding=2, dilation=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        planes = self.dilated(self.grouped(x[:, :, None, None]))
        found: torch.Tensor = torch.nn.functional.linear(self.used(planes.flatten(1)), self.past.weight)
        return found


def test_only_layers_that_compute_and_can_be_merged_are_adapted() -> None:
    adapter = attach(Bypassing().eval(), torch.ones(2, 4), Shape(rank=2))
    assert adapter.layers == ("used",)
    assert {name.split(".")[0] for name in adapter.parameters} == {"used"}


def test_a_merge_that_changes_the_answer_is_refused() -> None:
    """PEFT leaves the dilation of a convolution out; adapted all the same, it would merge into something else."""

    class Forgetful(Bypassing):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * (2.0 if hasattr(self.used, "base_layer") else 1.0)

    network = Forgetful().eval()
    adapter = attach(network, torch.ones(2, 4), Shape(rank=2))
    with pytest.raises(TopworkError, match="cannot be merged into this network"):
        adapter.merge(dict(adapter.parameters), torch.ones(2, 4))


def test_an_adapter_changes_nothing_at_first() -> None:
    for kind in KINDS:
        network, x = Bypassing().eval(), torch.ones(2, 4)
        before = network(x)
        adapter = attach(network, x, Shape(kind=kind, rank=2))
        assert torch.allclose(network(x), before, atol=1e-6), kind
        assert adapter.n_weights > 0


def test_a_kind_that_does_not_go_with_the_layers_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot put an adapter of kind 'vera'"):
        LoraRecipe(LoraSettings(kind="vera"))(tiny_job(n_steps=5))


def test_the_same_seed_gives_the_same_weights_with_dropout_too_and_leaves_the_random_state() -> None:
    recipe, state = LoraRecipe(LoraSettings(dropout=0.3, rate=1e-3)), torch.get_rng_state()
    first, again, other = (
        recipe(replace(vit_job(n_steps=20), seed=seed)).weights["trunk.blocks.0.mlp.fc1.weight"]
        for seed in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert torch.get_rng_state().equal(state)
    without = LoraRecipe(LoraSettings(rate=1e-3))(vit_job(n_steps=20))
    assert not np.array_equal(first, without.weights["trunk.blocks.0.mlp.fc1.weight"])


def test_settings_reach_the_steps() -> None:
    settings = LoraSettings(rate=2e-3, warmup=0.5, weight_decay=0.3, smoothing=0.0)
    rung = lora_rung(settings, Rates(1e-4, 1e-3, 3e-3), 8)
    assert rung.rates == (2e-3, 3e-3)
    assert (rung.warmup, rung.weight_decay, rung.smoothing, rung.batch) == (0.5, 0.3, 0.0, 8)
    fitted = LoraRecipe(LoraSettings(epochs=2))(vit_job(n_steps=None))
    assert fitted.rungs[1].n_steps == 8  # 159 training rows in batches of 32 are four steps an epoch


def test_without_time_the_probe_is_the_model() -> None:
    fitted = LORA(replace(vit_job(n_steps=None), budget=Budget(lambda: 0.0, 0.5)))
    [rung] = fitted.rungs
    assert (rung.name, rung.chosen, dict(fitted.weights)) == ("probe", True, {})
    assert fitted.notes[-1].endswith("the model is the probe.")


def test_it_refuses_to_train_without_a_network() -> None:
    with pytest.raises(UsageError, match="holds only its features"):
        LORA(replace(tiny_job(), material=None))


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "adalora"},
        {"rank": 0},
        {"rank": 3, "kind": "hra"},
        {"dropout": 1.0},
        {"layers": " "},
        {"rate": 0.0},
    ],
)
def test_settings_out_of_their_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"The setting {next(iter(wrong))} is "):
        LoraSettings(**wrong)


def test_texts_of_like_length_are_trained_together() -> None:
    stretch, _ = LORA._attached(tiny_text_job(60), {"more": 1e-2})
    assert stretch.feed.train_sizes is not None
