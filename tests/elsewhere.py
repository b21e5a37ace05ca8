"""A second device for a machine that has none: its tensors are computed on the processor and may not meet others.

As on a GPU, a tensor comes and goes by being copied alone; NumPy does not see it, and an operation that is given
tensors of both devices fails. Numbers without a dimension and indices of the processor are taken, as a GPU takes
them. What it does not stand in for: kernels and their order of summing, number formats, memory, time. It is made
of private parts of torch, so whoever uses it runs in a process of its own and asks `is_possible` first.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

__all__ = ["NAME", "Elsewhere", "is_possible", "register"]

NAME = "elsewhere"
_REGISTER = "_setup_privateuseone_for_python_backend"
_COPY = frozenset({torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default})
_INDEXED = frozenset({torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default})


def is_possible() -> bool:
    """Whether this torch lets Python be a device."""
    return hasattr(backend_registration, _REGISTER)


def register() -> None:
    """Make the device known, for the rest of the process."""
    getattr(backend_registration, _REGISTER)(rename=NAME)


class _Tensor(torch.Tensor):
    kept: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> _Tensor:
        made: _Tensor = torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), dtype=inner.dtype, device=torch.device(NAME, 0)
        )
        made.kept = inner
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch's own annotation leaves the function out
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _compute(func, args, kwargs or {})

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.kept.untyped_storage()


class Elsewhere(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, this thread can put tensors there."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {})


def _compute(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
    there = [one for one in tensors if isinstance(one, _Tensor)]
    here = [one for one in tensors if not isinstance(one, _Tensor) and one.dim() > 0]
    if there and here and func not in _COPY | _INDEXED:
        raise RuntimeError(f"Tensors of two devices meet in {func}.")
    goes_there = bool(there)
    if (device := kwargs.get("device")) is not None:
        goes_there = torch.device(device).type == NAME
        kwargs = {**kwargs, "device": torch.device("cpu")}
    done = func(*tree_map(_inner, args), **tree_map(_inner, kwargs))
    if func._schema.name.endswith("_"):  # in place; those for lists of tensors give nothing back
        return None if done is None else args[0]
    known = {id(one.kept): one for one in there}

    def wrapped(one: Any) -> Any:
        if not goes_there or not isinstance(one, torch.Tensor):
            return one
        return known[id(one)] if id(one) in known else _Tensor(one)

    return tree_map(wrapped, done)


def _inner(one: Any) -> Any:
    return one.kept if isinstance(one, _Tensor) else one
