"""Networks of the timm library: built without weights, filled, measured, and cut into stages.

It knows how timm describes a network. It does not know where weights come from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from topwork.contracts import Json, Stage
from topwork.errors import UsageError, WeightsError
from topwork.trunks.shards import read_tensors
from topwork.trunks.tensors import read_order
from topwork.trunks.torchvision_guard import import_timm

if TYPE_CHECKING:
    import torch

__all__ = ["Architecture", "Measurements", "build", "fill", "measure", "stages"]

# Arguments by which timm would fetch or unpickle files, or build something that is no longer one network.
_REFUSED_ARGUMENTS = frozenset(
    {
        "cache_dir",
        "checkpoint_path",
        "features_only",
        "pretrained",
        "pretrained_cfg",
        "pretrained_cfg_overlay",
    }
)


@dataclass(frozen=True, slots=True)
class Architecture:
    """A timm network and how its pixels are normalised.

    Attributes
    ----------
    name
        What ``timm.list_models()`` calls it.
    mean, std
        Per channel, on the scale where white is 1.
    arguments
        What departs from the network's defaults.
    by_order
        The weights carry the names of another library; the tensors stand in the same order.
    """

    name: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    arguments: Mapping[str, Json] = field(default_factory=dict)
    by_order: bool = False


@dataclass(frozen=True, slots=True)
class Measurements:
    """What an architecture is without its old head; ``staged`` tells whether `stages` can cut it."""

    n_parameters: int
    n_features: int
    staged: bool


def build(architecture: Architecture) -> torch.nn.Module:
    """Build a network with its head and with random weights; the global random state is left alone.

    Raises
    ------
    UsageError
        timm has no such network, or it does not take these arguments.
    """
    import torch

    timm = import_timm()
    refused = sorted(_REFUSED_ARGUMENTS & set(architecture.arguments))
    if refused:
        raise UsageError(
            f"The arguments {', '.join(refused)} of a network may not be set: they read files of their own.",
            next_step="Remove them from model_args in config.json.",
        )
    if not timm.is_model(architecture.name):
        raise UsageError(
            f"timm {timm.__version__} has no network named {architecture.name!r}.",
            next_step="Look for the name with timm.list_models(), or install a newer timm.",
        )
    with torch.random.fork_rng(devices=[]):
        return _construct(timm, architecture)


def fill(network: torch.nn.Module, architecture: Architecture, weights: Path) -> torch.nn.Module:
    """Take the head off ``network`` and put the weights in.

    Raises
    ------
    WeightsError
        A tensor is missing, is too many, or has another shape than the network's.
    """
    tensors = _named(weights, tuple(network.state_dict()) if architecture.by_order else None)
    head = _behead(network)
    expected = network.state_dict()
    _compare(architecture.name, weights, expected, {k: v for k, v in tensors.items() if k not in head})
    network.load_state_dict({name: tensors[name] for name in expected})
    return network.eval()


def measure(architecture: Architecture) -> Measurements:
    """Count the parameters and features of a network without its head; nothing is allocated."""
    import torch

    with torch.device("meta"):
        network: Any = build(architecture)
    _behead(network)
    n_parameters = sum(p.numel() for p in network.parameters())
    n_features = int(getattr(network, "head_hidden_size", None) or network.num_features)
    return Measurements(n_parameters, n_features, staged=len(stages(network)) > 1)


def stages(network: torch.nn.Module) -> tuple[Stage, ...]:
    """Cut a network without head into consecutive stages, as timm's own grouping of its parameters has them.

    A network whose groups are not made of whole modules (a token that belongs to the root) is one stage.
    """
    depth = _depth_of_each_parameter(network)
    try:
        parts = sorted(_parts(network, "", depth), key=lambda part: part[0])
    except _NotWholeModulesError:
        return (Stage("all", (network,)),)
    grouped: dict[int, list[tuple[str, torch.nn.Module]]] = {}
    for level, name, module in parts:
        grouped.setdefault(level, []).append((name, module))
    return tuple(Stage(group[0][0], tuple(module for _, module in group)) for group in grouped.values())


class _NotWholeModulesError(Exception):
    """A module holds parameters of its own beside children of another stage."""


def _construct(timm: Any, architecture: Architecture) -> torch.nn.Module:
    try:
        network: torch.nn.Module = timm.model_entrypoint(architecture.name)(
            pretrained=False, **architecture.arguments
        )
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise UsageError(
            f"timm cannot build {architecture.name} with {dict(architecture.arguments)}: {error}.",
            next_step="Check architecture and model_args in config.json.",
        ) from error
    return network


def _behead(network: Any) -> frozenset[str]:
    """Remove the classifier; return the names of the tensors that went with it."""
    before = set(network.state_dict())
    network.reset_classifier(0)
    return frozenset(before - set(network.state_dict()))


def _named(weights: Path, names: tuple[str, ...] | None) -> dict[str, torch.Tensor]:
    """Read tensors under their own names, or in their order under ``names``."""
    tensors = read_tensors(weights)
    if names is None:
        return tensors
    order = read_order(weights)
    if len(order) != len(names):
        raise WeightsError(
            f"{weights} holds {len(order)} tensors in order; the network has {len(names)}.",
            next_step="Delete the file and fetch it again.",
        )
    return {name: tensors[old] for name, old in zip(names, order, strict=True)}


def _compare(
    name: str, weights: Path, expected: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]
) -> None:
    missing = sorted(set(expected) - set(found))
    surplus = sorted(set(found) - set(expected))
    shapes = [k for k in expected if k in found and expected[k].shape != found[k].shape]
    wrong = [
        f"{len(keys)} tensors {what}, such as {keys[0]}"
        for what, keys in (("are missing", missing), ("are unknown", surplus), ("have another shape", shapes))
        if keys
    ]
    if wrong:
        raise WeightsError(
            f"The weights in {weights} are not those of {name}: {'; '.join(wrong)}.",
            next_step="Check that architecture and model_args belong to these weights.",
        )


def _depth_of_each_parameter(network: Any) -> dict[str, int]:
    from timm.models._manipulate import group_with_matcher

    matcher = network.group_matcher(coarse=True)
    groups = group_with_matcher(network.named_parameters(), matcher)
    return {name: depth for depth, names in groups.items() for name in names}


def _parts(
    module: torch.nn.Module, prefix: str, depth: Mapping[str, int]
) -> Iterator[tuple[int, str, torch.nn.Module]]:
    """Yield the largest modules whose parameters all stand at one depth."""
    levels = {depth[prefix + name] for name, _ in module.named_parameters()}
    if len(levels) == 1 and prefix:
        yield levels.pop(), prefix.removesuffix("."), module
    elif levels:
        if next(module.parameters(recurse=False), None) is not None:
            raise _NotWholeModulesError(prefix)
        for name, child in module.named_children():
            yield from _parts(child, f"{prefix}{name}.", depth)
