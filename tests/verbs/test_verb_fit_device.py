"""A fit computes where it is told, and says so where it cannot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import topwork
from topwork import FitOptions, Model, Surroundings, UsageError
from topwork.contracts import Resources
from topwork.engines.machine import Machine
from topwork.steps.material import resources_of

WITH_GPU = Machine(3, frozenset({"avx512_bf16"}), 1 << 34, frozenset({"torch"}), has_cuda=True)


def test_the_processor_trains_unless_a_gpu_is_asked_for() -> None:
    """Whether bf16 is fast is asked of what trains."""
    processor = Resources("cpu", 3, 1 << 34, has_fast_bf16=True)
    assert resources_of(WITH_GPU) == resources_of(WITH_GPU, "cpu") == processor
    assert resources_of(WITH_GPU, "cuda") == replace(processor, device="cuda", has_fast_bf16=False)
    assert resources_of(replace(WITH_GPU, has_cuda_bf16=True), "cuda").has_fast_bf16


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told(photos: Path, tiny_trunk: Path, around: Surroundings) -> None:
    with pytest.raises(UsageError, match="sees no GPU"):
        topwork.fit(photos, trunk=str(tiny_trunk), around=replace(around, device="cuda"))


@pytest.fixture(scope="module")
def from_gpu(
    photos: Path, tiny_trunk: Path, around: Surroundings, tmp_path_factory: pytest.TempPathFactory
) -> Model:
    return topwork.fit(
        photos,
        tmp_path_factory.mktemp("gpu") / "gpu.topwork",
        trunk=str(tiny_trunk),
        budget=None,
        options=FitOptions(steps=40, proof="none"),
        around=replace(around, device="cuda"),
    )


@pytest.mark.gpu
def test_a_fit_on_a_gpu_says_so(from_gpu: Model) -> None:
    assert torch.cuda.get_device_name() in from_gpu.record.plan["device"]
    assert from_gpu.record.settings["engine"].startswith("torch")


@pytest.mark.gpu
def test_a_bundle_from_a_gpu_answers_on_the_processor_as_its_report_says(
    from_gpu: Model, photos: Path, around: Surroundings
) -> None:
    told = from_gpu.record.targets["label"].test["accuracy"]
    found = topwork.evaluate(from_gpu.path, photos, around=around).targets["label"].test["accuracy"]
    assert found.value == pytest.approx(told.value)
