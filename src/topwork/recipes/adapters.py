"""Adapters of the PEFT library: a few trained weights beside a frozen network, merged into it in the end.

An adapter is put on the layers that a network really computes with, found by watching an example go through, so any
architecture will do. Merged, the network is the base with other numbers: as fast, and held against what it said before
it was merged. It knows no trunk by name, no data and no schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from topwork.contracts import Array, LowRank
from topwork.errors import MissingExtraError, TopworkError, UsageError
from topwork.trunks.torchvision_guard import import_torchvision

if TYPE_CHECKING:
    import torch

__all__ = ["KINDS", "Adapter", "Merged", "Shape", "attach"]

_ALL = "all"
_AGREEMENT = 1e-3
"""Largest relative difference of the features that merging may make in fp32; it is about 1e-6."""
_NAME = "default"
"""What PEFT calls the only adapter of a network."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What an adapter is.

    Attributes
    ----------
    kind
        One of `KINDS`.
    rank
        Of the products that ``lora``, ``dora``, ``loha``, ``lokr`` and ``vera`` add; of ``hra`` the reflections.
    alpha
        What is added is multiplied by this and divided by the rank.
    dropout
        Share of an adapter's inputs that a step leaves out, of ``lora`` and ``dora``.
    layers
        Which layers: ``all``, or how their names end, with commas between, such as ``query,value``.
    """

    kind: str = "lora"
    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    layers: str = _ALL


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """The tensors of the network that differ now, by name, and those of them that are low-rank products away."""

    tensors: Mapping[str, Array]
    products: Mapping[str, LowRank]


class Adapter:
    """An adapter on a network, which stays the same object; see `attach`."""

    def __init__(self, network: torch.nn.Module, wrapped: Any, layers: tuple[str, ...], shape: Shape) -> None:
        self.network, self.layers, self.shape = network, layers, shape
        self._wrapped = wrapped
        self.parameters: dict[str, torch.nn.Parameter] = {
            name: p for name, p in network.named_parameters() if p.requires_grad
        }

    @property
    def n_weights(self) -> int:
        """Return how many numbers it trains."""
        return sum(p.numel() for p in self.parameters.values())

    def set_training(self, on: bool) -> None:
        """Turn the adapter's dropout on or off; the network itself stays as it is when it serves."""
        for name, module in self.network.named_modules():
            if "lora_dropout" in name:
                module.train(on)

    def merge(self, weights: Mapping[str, torch.Tensor], example: torch.Tensor) -> Merged:
        """Put an adapter's weights in, merge them into the network for good, and take the adapter off.

        Raises
        ------
        TopworkError
            The merged network says something else than the network with its adapter.
        """
        import torch

        from topwork.training.trainee import put

        put(self.parameters, {name: weights[name] for name in self.parameters})
        self.set_training(on=False)
        before = {name: tensor.clone() for name, tensor in self._of_layers().items()}
        products = self._products() if self.shape.kind == "lora" else {}
        with torch.no_grad():
            expected = self.network(example)
            self._wrapped.merge_and_unload()
            _require_same(expected, self.network(example), self.shape.kind)
        changed = {name: value for name, value in self._of_layers().items() if not value.equal(before[name])}
        tensors = {name: value.detach().cpu().numpy() for name, value in changed.items()}
        return Merged(tensors, {name: one for name, one in products.items() if name in tensors})

    def _of_layers(self) -> dict[str, torch.Tensor]:
        """Return weights and biases of the layers below the adapter, by their names in the bare network."""
        found = {}
        for layer in self.layers:
            module: Any = self.network.get_submodule(layer)
            module = getattr(module, "base_layer", module)
            for name in ("weight", "bias"):
                if getattr(module, name, None) is not None:
                    found[f"{layer}.{name}"] = getattr(module, name).detach()
        return found

    def _products(self) -> dict[str, LowRank]:
        """Return what is going to be added to each weight, as the two factors that were trained."""
        found = {}
        for layer in self.layers:
            module: Any = self.network.get_submodule(layer)
            down = module.lora_A[_NAME].weight.detach().cpu().numpy()
            up = (module.lora_B[_NAME].weight.detach().flatten(1) * module.scaling[_NAME]).cpu().numpy()
            turned = _lies_the_other_way(module.base_layer)
            found[f"{layer}.weight"] = LowRank(down.T, up.T) if turned else LowRank(up, down)
        return found


def attach(network: torch.nn.Module, example: torch.Tensor, shape: Shape) -> Adapter:
    """Put an adapter on a network, in place: at first it changes nothing, and all else is frozen.

    What an adapter begins with is drawn from torch's own random state.

    Raises
    ------
    MissingExtraError
        PEFT is not installed.
    UsageError
        There is no such kind, no such layer, or the kind does not go with these layers.
    """
    if shape.kind not in KINDS:
        raise UsageError(
            f"There is no adapter of kind {shape.kind!r}.", next_step=f"Give one of {', '.join(KINDS)}."
        )
    peft = _peft()
    layers = _layers(network, example, shape.layers)
    try:
        config = KINDS[shape.kind](peft, shape, list(layers))
        if any(_lies_the_other_way(network.get_submodule(layer)) for layer in layers):
            config.fan_in_fan_out = True
        wrapped = peft.get_peft_model(network, config)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise UsageError(
            f"PEFT {peft.__version__} cannot put an adapter of kind {shape.kind!r} on this network: {error}",
            next_step="Take the kind lora, or name other layers with --set layers=...",
        ) from error
    return Adapter(network, wrapped, layers, shape)


# --- which layers -----------------------------------------------------------------------------------------


def _layers(network: torch.nn.Module, example: torch.Tensor, wanted: str) -> tuple[str, ...]:
    """Return the names of the layers to adapt: linear ones, or convolutions where these hold most of the weights.

    Raises
    ------
    UsageError
        There are none, or none whose name ends like that.
    """
    import torch

    called = _called(network, example)
    linear = [name for name, module in called.items() if not isinstance(module, torch.nn.Conv2d)]
    spatial = [name for name in called if name not in linear]
    most = max(linear, spatial, key=lambda names: sum(called[name].weight.numel() for name in names))
    if wanted == _ALL and most:
        return tuple(most)
    ends = tuple(f".{one.strip()}" for one in wanted.split(","))
    chosen = tuple(name for name in called if f".{name}".endswith(ends))
    if not chosen:
        known = sorted({name.rpartition(".")[2] for name in called})
        raise UsageError(
            f"The network has no layer to adapt whose name ends with {wanted!r}.",
            next_step=f"Its layers' names end with {', '.join(known) or 'nothing that can be adapted'}.",
        )
    return chosen


def _called(network: torch.nn.Module, example: torch.Tensor) -> dict[str, Any]:
    """Return the layers that could be adapted and that the example went through.

    Some networks take a layer's weight and compute past the layer; an adapter on it would change nothing.
    """
    import torch

    found: dict[str, Any] = {}

    def note(module: Any, _: Any, __: Any, *, name: str) -> None:
        found[name] = module

    hooks = [
        module.register_forward_hook(partial(note, name=name))
        for name, module in network.named_modules()
        if _is_adaptable(module)
    ]
    try:
        with torch.inference_mode():
            network(example)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _is_adaptable(module: Any) -> bool:
    """Tell whether a layer is linear, or a convolution that PEFT can merge: neither grouped nor dilated."""
    import torch

    if isinstance(module, torch.nn.Conv2d):
        return module.groups == 1 and module.dilation == (1, 1) and module.padding_mode == "zeros"
    return isinstance(module, torch.nn.Linear) or _lies_the_other_way(module)


def _lies_the_other_way(module: Any) -> bool:
    """Tell whether a layer is one of transformers' GPT-2: linear, and its weights lie the other way round."""
    return type(module).__name__ == "Conv1D"


# --- PEFT -------------------------------------------------------------------------------------------------


def _lora(peft: Any, shape: Shape, layers: list[str], *, dora: bool = False) -> Any:
    return peft.LoraConfig(
        r=shape.rank,
        lora_alpha=shape.alpha,
        lora_dropout=shape.dropout,
        target_modules=layers,
        use_dora=dora,
    )


def _ia3(peft: Any, shape: Shape, layers: list[str]) -> Any:  # noqa: ARG001 - it has no rank
    return peft.IA3Config(target_modules=layers, feedforward_modules=[])


def _loha(peft: Any, shape: Shape, layers: list[str]) -> Any:
    return peft.LoHaConfig(r=shape.rank, alpha=shape.alpha, target_modules=layers)


def _lokr(peft: Any, shape: Shape, layers: list[str]) -> Any:
    return peft.LoKrConfig(r=shape.rank, alpha=shape.alpha, target_modules=layers)


def _hra(peft: Any, shape: Shape, layers: list[str]) -> Any:
    return peft.HRAConfig(r=shape.rank, target_modules=layers)


def _vera(peft: Any, shape: Shape, layers: list[str]) -> Any:
    return peft.VeraConfig(r=shape.rank, target_modules=layers)


KINDS: Mapping[str, Callable[[Any, Shape, list[str]], Any]] = {
    "lora": _lora,
    "dora": partial(_lora, dora=True),
    "ia3": _ia3,
    "loha": _loha,
    "lokr": _lokr,
    "vera": _vera,
    "hra": _hra,
}
"""Kinds of adapters, and what makes PEFT's configuration of each."""


def _peft() -> ModuleType:
    with suppress(MissingExtraError):
        import_torchvision()  # PEFT imports transformers, and that imports it
    try:
        import peft
    except ImportError as error:
        raise MissingExtraError(
            "Adapters need PEFT, which is not installed.",
            next_step="Install topwork with its extra adapters.",
        ) from error
    library: ModuleType = peft
    return library


def _require_same(expected: torch.Tensor, found: torch.Tensor, kind: str) -> None:
    """Refuse a merged network that says something else.

    Raises
    ------
    TopworkError
        It does.
    """
    largest = float(expected.abs().max())
    difference = float((found - expected).abs().max()) / max(largest, 1e-30)
    if not difference <= _AGREEMENT:
        raise TopworkError(
            f"An adapter of kind {kind!r} cannot be merged into this network: its features differ by "
            f"{difference:.1e} of the largest, at most {_AGREEMENT:.0e} is allowed.",
            next_step="Take the kind lora, and report this with the name of the trunk.",
        )
