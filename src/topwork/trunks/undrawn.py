"""Networks are built without drawing weights that those of a file replace: for 135 million of them that is a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch.overrides import TorchFunctionMode

__all__ = ["Undrawn"]

_LIBRARIES = frozenset({"torch.nn.init", "transformers.initialization"})
_DRAWS = frozenset(
    {
        "kaiming_normal_", "kaiming_uniform_", "normal_", "orthogonal_", "sparse_",
        "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_",
    }
)  # fmt: skip


class Undrawn(TorchFunctionMode):
    """Within this context, and in this thread alone, what would be drawn for a weight is left as memory had it.

    Whatever is not drawn, such as ones of a normalisation and tables of positions, is set as ever.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Give a tensor back in place of drawing into it."""
        named = dict(kwargs or {})
        if getattr(func, "__module__", None) in _LIBRARIES and func.__name__ in _DRAWS:
            return named["tensor"] if "tensor" in named else args[0]
        return func(*args, **named)
