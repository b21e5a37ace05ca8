"""ULMFiT: words first, then stage after stage, each at its rate; what validation liked best is the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tiny_material import TinyMaterial, tiny_job
from tiny_text_trunk import write_tiny_text_trunk
from tiny_transformers import TextMaterial, as_numbers, largest_difference, text_job
from topwork.contracts import Array, Budget, FitJob, Rates, Workplace
from topwork.errors import UsageError
from topwork.recipes.gradual import GRADUAL, GradualRecipe, GradualSettings, gradual_rung, phases
from topwork.trunks.folder import open_folder


@pytest.mark.parametrize(
    ("n_steps", "n_stages", "expected"),
    [
        (100, 4, ((4, 12), (3, 12), (2, 12), (1, 12), (0, 52))),
        (7, 4, ((0, 7),)),
        (1, 3, ((0, 1),)),
        (0, 3, ()),
        (10, 1, ((0, 10),)),
        (20, 1, ((1, 10), (0, 10))),
        (64, 8, ((8, 10), (6, 10), (3, 10), (0, 34))),
    ],
)
def test_steps_are_shared_out_over_the_stages(
    n_steps: int, n_stages: int, expected: tuple[tuple[int, int], ...]
) -> None:
    found = phases(n_steps, n_stages, 0.5)
    assert found == expected
    assert sum(n for _, n in found) == n_steps


def test_each_stage_has_a_rate_of_its_own() -> None:
    settings = GradualSettings(warmup=0.3, weight_decay=0.2, smoothing=0.0)
    rung = gradual_rung(settings, Rates(1e-9, 1e-3, 3e-3), 3, 8)
    assert rung.rates == pytest.approx((1e-3 / 2.6**2, 1e-3 / 2.6, 1e-3, 3e-3))
    assert (rung.warmup, rung.weight_decay, rung.smoothing, rung.batch) == (0.3, 0.2, 0.0, 8)


def test_pictures_are_let_go_stage_after_stage_and_beat_the_frozen_network() -> None:
    job = tiny_job(n_steps=160)
    fitted = GRADUAL(job)
    probe, rung = fitted.rungs
    assert (rung.name, rung.chosen, rung.n_steps) == ("gradual", True, 160)
    assert probe.log_loss is not None
    assert rung.log_loss is not None
    assert rung.log_loss.value < probe.log_loss.value - 0.05
    moments = [one.n_steps for one in fitted.history]
    assert moments == sorted(set(moments))
    assert moments[:4] == [20, 40, 60, 80]  # the heads alone, then one, two and three stages
    assert moments[-1] == 160
    assert not any("Masked" in note for note in fitted.notes)


def stop_after(n: int) -> Callable[[FitJob], FitJob]:
    """Return what lets a job be stopped when it was asked so often whether to go on: before each step."""
    asked: list[int] = []

    def should_stop() -> bool:
        asked.append(1)
        return len(asked) > n

    return lambda job: replace(job, workplace=Workplace(None, should_stop=should_stop))


class Kept(TinyMaterial):
    """Remembers the network that was asked for last."""

    made: torch.nn.Module

    def network(self) -> torch.nn.Module:
        self.made = super().network()
        return self.made


class Wild(TinyMaterial):
    """Its stages fly apart at the rates that it names."""

    @property
    def rates(self) -> Rates:
        return Rates(lowest=1e4, highest=1e4, head=3e-3)


def test_a_part_that_diverges_is_left_out_and_the_next_one_begins_where_it_began() -> None:
    """Heads have 10 steps, the stages 10 and 20, and neither comes to anything."""
    job = tiny_job(n_steps=40)
    assert isinstance(job.material, TinyMaterial)
    fitted = GRADUAL(replace(job, material=Wild(job.material.pictures)))
    assert fitted.rungs[-1].chosen
    assert [one.n_steps for one in fitted.history] == [10]
    assert "diverged" in fitted.rungs[-1].notes[0]
    assert fitted.notes[-1].startswith("2 of 3 parts of gradual diverged and were left out")
    assert all(np.isfinite(head.weight).all() for head in fitted.heads.values())


class Stumbling(TinyMaterial):
    """Computes no number once, while the uppermost stage alone is trained."""

    def network(self) -> torch.nn.Module:
        network = super().network()
        levels = network.levels
        assert isinstance(levels, torch.nn.ModuleList)
        seen: list[int] = []

        def spoil(_: torch.nn.Module, __: object, planes: torch.Tensor) -> torch.Tensor:
            alone = [any(p.requires_grad for p in level.parameters()) for level in levels] == [0, 0, 0, 1]
            is_step = alone and torch.is_grad_enabled()
            seen.extend([1] * is_step)
            return planes * float("nan") if is_step and len(seen) == 5 else planes

        network.register_forward_hook(spoil)
        return network


def test_the_part_after_one_that_diverged_learns_and_the_record_tells_of_it() -> None:
    """Four parts of 20 steps, of which the second ends after its third step, and 80 of all stages."""
    job = tiny_job(n_steps=160)
    assert isinstance(job.material, TinyMaterial)
    fitted = GRADUAL(replace(job, material=Stumbling(job.material.pictures)))
    assert [one.n_steps for one in fitted.history[:4]] == [20, 43, 63, 67]
    heads, *_, last = fitted.history
    assert last.log_loss < heads.log_loss - 0.05
    assert fitted.rungs[-1].notes == ()
    assert fitted.notes[-1] == "1 of 5 parts of gradual diverged and was left out."


@pytest.mark.parametrize(
    ("n_steps", "trained"),
    [(10, set()), (20, {"3"}), (30, {"2", "3"}), (40, {"1", "2", "3"}), (41, {"0", "1", "2", "3"})],
)
def test_stages_below_stay_as_they_are_until_it_is_their_turn(n_steps: int, trained: set[str]) -> None:
    """Ten steps for each number of stages; all are let go after the fortieth."""
    job = tiny_job(n_steps=80, change=stop_after(n_steps))
    assert isinstance(job.material, TinyMaterial)
    material = Kept(job.material.pictures)
    fitted = GRADUAL(replace(job, material=material))
    before = job.material.network().state_dict()
    moved = {name for name, value in material.made.state_dict().items() if not value.equal(before[name])}
    assert {name.split(".")[1] for name in moved} == trained
    computed = {name for name, p in material.made.named_parameters() if p.grad is not None}
    assert {name.split(".")[1] for name in computed} == trained
    assert {name.split(".")[1] for name in fitted.weights} <= trained
    assert fitted.rungs[1].notes == (f"stopped after {n_steps} steps",)


@pytest.mark.parametrize("n_steps", [20, 100])
def test_what_is_given_back_is_what_validation_saw(n_steps: int, tmp_path: Path) -> None:
    """Numbers are not calibrated, so held-out scores are those of the network and its head."""
    for job in (tiny_job(n_steps=n_steps), text_job(tmp_path, n_steps=n_steps)):
        numbers = as_numbers(job)
        assert largest_difference(numbers, GRADUAL(numbers)) < 1e-4


def test_words_are_learnt_first_and_what_came_of_it_is_told(tmp_path: Path) -> None:
    job = text_job(tmp_path, n_steps=60)
    fitted = GradualRecipe(GradualSettings(adaptation=0.5))(job)
    note = fitted.notes[-1]
    assert note.startswith("Masked words: 30 steps on 58 texts; the loss on 6 others went from ")
    assert fitted.rungs[1].n_steps == 30
    assert "trunk.embeddings.word_embeddings.weight" in fitted.weights
    without = GradualRecipe(GradualSettings(adaptation=0.0))(job)
    assert not any("Masked" in note for note in without.notes)
    assert without.rungs[1].n_steps == 60


def test_what_the_words_changed_is_given_back_where_only_the_heads_were_trained_after(tmp_path: Path) -> None:
    """Twelve steps on words, four of the heads, and then it is stopped."""
    job = as_numbers(text_job(tmp_path))
    fitted = GRADUAL(stop_after(16)(job))
    assert fitted.rungs[1].n_steps == 4
    assert "trunk.embeddings.word_embeddings.weight" in fitted.weights
    assert largest_difference(job, fitted) < 1e-4


def test_texts_without_a_label_are_learnt_from_too(tmp_path: Path) -> None:
    def with_further(material: TextMaterial) -> TextMaterial:
        return replace(material, further=[*material.texts[:3], "The lamp was late."])

    fitted = GRADUAL(text_job(tmp_path, change=with_further))
    assert " steps on 62 texts; the loss on 6 others" in fitted.notes[-1]


def test_a_tokeniser_without_a_mask_leaves_the_words_out(tmp_path: Path) -> None:
    def without_mask(material: TextMaterial) -> TextMaterial:
        return replace(material, trunk=open_folder(write_tiny_text_trunk(tmp_path / "bare")))

    fitted = GRADUAL(text_job(tmp_path / "masking", n_steps=10, change=without_mask))
    assert fitted.notes[-1].startswith("Masked words were left out: the trunk")
    few = GRADUAL(text_job(tmp_path / "masking", n_steps=10, n=24))
    assert few.notes[-1] == "Masked words were left out: 16 texts are too few."


def test_the_same_job_gives_the_same_weights(tmp_path: Path) -> None:
    first, again = (GRADUAL(text_job(tmp_path)) for _ in range(2))
    assert first.weights
    assert all(np.array_equal(first.weights[name], again.weights[name]) for name in first.weights)
    assert first.notes == again.notes
    other = GRADUAL(replace(text_job(tmp_path), seed=1))
    assert other.notes != first.notes


class Labelled:
    """A progress that remembers what is going on."""

    label = ""

    def say(self, line: str) -> None:
        pass

    @contextmanager
    def track(self, title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        self.label = title
        yield lambda _: None
        self.label = ""


def test_words_are_learnt_from_training_rows_alone(tmp_path: Path) -> None:
    progress, read = Labelled(), set[int]()

    class Noted(TextMaterial):
        def example(self, row: int) -> Array:
            if progress.label == "Learning masked words":
                read.add(row)
            return super().example(row)

    job = text_job(tmp_path, change=lambda one: Noted(one.trunk, one.texts))
    GRADUAL(replace(job, progress=progress))
    assert read == set(job.folds[0].train.tolist())


def test_without_time_the_probe_is_the_model(tmp_path: Path) -> None:
    for job in (tiny_job(n_steps=None), text_job(tmp_path, n_steps=None)):
        fitted = GRADUAL(replace(job, budget=Budget(lambda: 0.0, 0.5)))
        [rung] = fitted.rungs
        assert (rung.name, rung.chosen, dict(fitted.weights)) == ("probe", True, {})
        assert fitted.notes[-1].endswith("the model is the probe.")


@pytest.mark.parametrize(
    "wrong", [{"unfreezing": 1.0}, {"adaptation": -0.1}, {"factor": 0.5}, {"pooling": "max"}, {"epochs": 0}]
)
def test_settings_out_of_their_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"The setting {next(iter(wrong))} is "):
        GradualSettings(**wrong)


def test_it_says_how_it_wants_tokens_pooled() -> None:
    assert GRADUAL.pooling == "concat"
    assert GradualRecipe(GradualSettings(pooling="own")).pooling == ""
