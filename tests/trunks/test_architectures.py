from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tiny_trunk import MODEL_ARGS, N_FEATURES
from topwork.contracts import Stage
from topwork.errors import UsageError, WeightsError
from topwork.trunks import tensors
from topwork.trunks.architectures import Architecture, build, fill, measure, stages

HALF = (0.5, 0.5, 0.5)
TINY = Architecture("resnet18", HALF, HALF, arguments=MODEL_ARGS)

# Families whose parts are whole modules, and those with tokens or tables that the root itself owns.
STAGED = (
    "resnet18",
    "tf_efficientnet_lite0",
    "mobilenetv2_100",
    "convnext_atto",
    "regnetx_002",
    "densenet121",
)
UNSTAGED = ("vit_tiny_patch16_224",)


def headless(name: str) -> torch.nn.Module:
    with torch.device("meta"):
        network = build(Architecture(name, HALF, HALF))
    network.reset_classifier(0)  # type: ignore[operator]
    return network


def parameters_of(parts: tuple[Stage, ...]) -> list[int]:
    return [id(p) for part in parts for module in part.modules for p in module.parameters()]


@pytest.mark.parametrize("name", STAGED + UNSTAGED)
def test_stages_hold_every_parameter_exactly_once(name: str) -> None:
    network = headless(name)
    held = parameters_of(stages(network))
    assert len(held) == len(set(held))
    assert set(held) == {id(p) for p in network.parameters()}


@pytest.mark.parametrize("name", STAGED)
def test_stages_run_from_input_to_output(name: str) -> None:
    network = headless(name)
    held = parameters_of(stages(network))
    order = {id(p): i for i, p in enumerate(network.parameters())}
    positions = [order[p] for p in held]
    assert positions == sorted(positions)
    assert len(stages(network)) >= 4


@pytest.mark.parametrize("name", STAGED)
def test_stages_have_names_that_differ(name: str) -> None:
    names = [stage.name for stage in stages(headless(name))]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", UNSTAGED)
def test_a_network_that_cannot_be_cut_is_one_stage(name: str) -> None:
    network = headless(name)
    assert [stage.modules for stage in stages(network)] == [(network,)]
    assert not measure(Architecture(name, HALF, HALF)).staged


def test_measuring_counts_what_a_network_without_head_has() -> None:
    measured = measure(TINY)
    network = build(TINY)
    head = sum(p.numel() for p in network.get_classifier().parameters())  # type: ignore[operator]
    assert measured.n_parameters == sum(p.numel() for p in network.parameters()) - head
    assert measured.n_features == N_FEATURES
    assert measured.staged


def test_building_leaves_the_random_state_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    build(TINY)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("argument", ["pretrained", "checkpoint_path", "pretrained_cfg", "features_only"])
def test_arguments_that_read_files_are_refused(argument: str) -> None:
    with pytest.raises(UsageError, match=argument):
        build(replace(TINY, arguments={argument: "evil.pth"}))


@pytest.mark.parametrize("name", ["resnet1800", "hf-hub:somebody/model", "local-dir:/tmp", ""])
def test_a_name_that_timm_does_not_have_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no network named"):
        build(replace(TINY, name=name))


def test_an_argument_that_the_network_does_not_take_is_refused() -> None:
    with pytest.raises(UsageError, match="no_such_thing"):
        build(replace(TINY, arguments={"no_such_thing": 1}))


def saved(path: Path, network: torch.nn.Module) -> Path:
    tensors.write(path, network.state_dict())
    return path


def test_weights_of_the_whole_network_fill_the_one_without_head(tmp_path: Path) -> None:
    source = build(TINY)
    filled = fill(build(TINY), TINY, saved(tmp_path / "w", source))
    assert not filled.training
    for name, tensor in filled.state_dict().items():
        assert torch.equal(tensor, source.state_dict()[name])
    assert not any(name.startswith("fc.") for name in filled.state_dict())


def test_weights_under_foreign_names_are_put_in_by_their_order(tmp_path: Path) -> None:
    source = build(TINY)
    foreign = {f"layer-{len(source.state_dict()) - i}": t for i, t in enumerate(source.state_dict().values())}
    tensors.write(tmp_path / "w", foreign)
    filled = fill(build(TINY), replace(TINY, by_order=True), tmp_path / "w")
    assert all(torch.equal(t, source.state_dict()[n]) for n, t in filled.state_dict().items())


def test_weights_in_order_must_be_as_many_as_the_network_has(tmp_path: Path) -> None:
    tensors.write(tmp_path / "w", {"only": torch.zeros(1)})
    with pytest.raises(WeightsError, match="1 tensors in order"):
        fill(build(TINY), replace(TINY, by_order=True), tmp_path / "w")


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    state = build(TINY).state_dict()
    del state["layer2.0.conv1.weight"]
    tensors.write(tmp_path / "w", state)
    with pytest.raises(WeightsError, match=r"1 tensors are missing, such as layer2\.0\.conv1\.weight"):
        fill(build(TINY), TINY, tmp_path / "w")


def test_a_tensor_too_many_is_named(tmp_path: Path) -> None:
    tensors.write(tmp_path / "w", build(TINY).state_dict() | {"surprise": torch.zeros(1)})
    with pytest.raises(WeightsError, match="1 tensors are unknown, such as surprise"):
        fill(build(TINY), TINY, tmp_path / "w")


def test_a_tensor_of_another_shape_is_named(tmp_path: Path) -> None:
    tensors.write(tmp_path / "w", build(TINY).state_dict() | {"conv1.weight": torch.zeros(2, 2)})
    with pytest.raises(WeightsError, match=r"another shape, such as conv1\.weight"):
        fill(build(TINY), TINY, tmp_path / "w")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not tensors", b"\x80\x02}q\x00."])
def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(WeightsError, match="Cannot read the weights"):
        fill(build(TINY), TINY, tmp_path / "w")
