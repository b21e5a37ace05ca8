"""Several adapters beside one network: what each adds to a layer is computed for those tokens alone that are its own.

A layer gives ``W x + B (m * (A x))``, where ``A`` and ``B`` are the adapters' factors side by side and ``m`` is, for
each token, 1 for the columns of its adapter and 0 for the others (as in Sheng et al., *S-LoRA*, arXiv 2311.03285, with
one product in place of many small ones). A token without an adapter gets exactly what the network alone gives it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from topwork.contracts import Array, LowRank
from topwork.engines.joined_layers import lies_by_columns, weight_of
from topwork.engines.openvino import library
from topwork.errors import UsageError

__all__ = ["Bank", "layers_with_room"]

_MASK: Final = "adapter_mask"
_DOWN, _UP = "adapter_down.", "adapter_up."


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer with room for adapters: the name of its weight, how many numbers go in and come out, and how it lies."""

    name: str
    n_in: int
    n_out: int
    is_by_columns: bool

    def factors(self, product: LowRank) -> tuple[Array, Array]:
        """Return what an adapter adds as it is computed: ``[n_in, r]`` and ``[r, n_out]``."""
        return (product.up, product.down) if self.is_by_columns else (product.down.T, product.up.T)


def layers_with_room(model: Any) -> tuple[_Layer, ...]:
    """Put room for adapters beside every linear layer of a model of OpenVINO, its head excepted; return the layers."""
    from openvino import opset13

    mask = _parameter(_MASK, [-1, -1])
    parameters, found = [mask], []
    for name, node in _linear(model):
        n_in, n_out = (int(one.get_length()) for one in node.input_value(1).get_partial_shape())
        layer = _Layer(name, n_in, n_out, lies_by_columns(node))
        down, up = _parameter(_DOWN + name, [layer.n_in, -1]), _parameter(_UP + name, [-1, layer.n_out])
        users = list(node.output(0).get_target_inputs())
        inner = opset13.multiply(opset13.matmul(node.input_value(0), down, False, False), mask)
        added = opset13.add(node.output(0), opset13.matmul(inner, up, False, False))
        for user in users:
            user.replace_source_output(added.output(0))
        parameters += [down, up]
        found.append(layer)
    model.add_parameters(parameters)
    model.validate_nodes_and_infer_types()
    return tuple(found)


def _linear(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield products with a weight by its name; what gives the scores is left out."""
    for node in model.get_ordered_ops():
        if node.get_type_name() != "MatMul":
            continue
        weight = weight_of(node)
        is_head = any(
            user.get_node().get_type_name() == "Result" for user in node.output(0).get_target_inputs()
        )
        if weight is not None and not is_head:
            yield weight.get_friendly_name(), node


def _parameter(name: str, shape: Sequence[int]) -> Any:
    from openvino import opset13

    parameter = opset13.parameter(library().PartialShape(list(shape)), np.float32)
    parameter.output(0).get_tensor().set_names({name})
    return parameter


def _sides(into: Array, out_of: Array) -> tuple[int, int]:
    return into.shape[0], out_of.shape[1]


class Bank:
    """The adapters of one network, by names of their own.

    Parameters
    ----------
    layers
        As `layers_with_room` gave them.
    """

    def __init__(self, layers: Sequence[_Layer]) -> None:
        self._layers = tuple(layers)
        self._adapters: dict[str, Mapping[str, LowRank]] = {}
        self._columns: dict[str, slice] = {}
        self._given_back: deque[str] = deque()
        self._width = 1
        self.is_changed = True
        """Whether `tensors` are to be given to the network anew."""

    def __contains__(self, name: str) -> bool:
        return not name or name in self._adapters

    def __len__(self) -> int:
        return len(self._adapters)

    def add(self, name: str, products: Mapping[str, LowRank]) -> None:
        """Take an adapter: what it adds to weights, by their names.

        Raises
        ------
        UsageError
            A weight is none that has room, or has another shape.
        """
        known = {layer.name: layer for layer in self._layers}
        for weight, product in products.items():
            layer = known.get(weight)
            if layer is None or _sides(*layer.factors(product)) != (layer.n_in, layer.n_out):
                raise UsageError(
                    f"The adapter {name!r} is for {weight!r}, which this network has no room beside."
                )
        self._adapters[name] = dict(products)
        self._arrange()

    def give_back(self, name: str) -> None:
        """Do without an adapter, from the next run on; nothing is written with it any more. Safe from any thread."""
        self._given_back.append(name)

    def settle(self) -> None:
        """Let go of what was given back; called by whoever runs the network."""
        while self._given_back:
            if self._adapters.pop(self._given_back.popleft(), None) is not None:
                self._arrange()

    def _arrange(self) -> None:
        begin, self._columns = 0, {}
        for name, products in self._adapters.items():
            rank = max((len(one.down) for one in products.values()), default=0)
            self._columns[name] = slice(begin, begin + rank)
            begin += rank
        self._width, self.is_changed = max(1, begin), True

    def tensors(self) -> Iterator[tuple[str, Array]]:
        """Yield the factors of all adapters side by side, by the names of the network's inputs."""
        for layer in self._layers:
            down = np.zeros((layer.n_in, self._width), np.float32)
            up = np.zeros((self._width, layer.n_out), np.float32)
            for name, products in self._adapters.items():
                if (one := products.get(layer.name)) is not None:
                    begin, (into, out_of) = self._columns[name].start, layer.factors(one)
                    down[:, begin : begin + len(out_of)] = into
                    up[begin : begin + len(out_of)] = out_of
            yield _DOWN + layer.name, down
            yield _UP + layer.name, up
        self.is_changed = False

    def mask(self, tokens: Sequence[tuple[str, int]]) -> tuple[str, Array]:
        """Return which columns are whose, ``float32 [t, r]``, given adapters and how many tokens each has in turn."""
        found = np.zeros((sum(n for _, n in tokens), self._width), np.float32)
        begin = 0
        for name, n in tokens:
            if name:
                found[begin : begin + n, self._columns[name]] = 1
            begin += n
        return _MASK, found
