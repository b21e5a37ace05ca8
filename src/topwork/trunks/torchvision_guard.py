"""Import torchvision and timm also where torchvision's compiled operators cannot load.

It knows of one fault. PyPI's torchvision wheels are compiled for the CUDA build of torch. Beside a CPU
build (or a torch of another version) the compiled part does not load, operators such as ``nms`` are never
registered, and then ``import torchvision`` itself dies with ``operator torchvision::nms does not exist``:
it registers a *fake* (a shape function) for an operator that is not there. timm imports torchvision, and
is lost with it, although the networks need none of these operators.

The cure: while torchvision is being imported, leave out the fakes of ``torchvision::`` operators that were
never registered. Where the compiled part loads, every operator is there and nothing is left out.

It does not know what anybody wants torchvision or timm for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from threading import Lock
from types import ModuleType
from typing import Any

from topwork.errors import MissingExtraError

__all__ = ["import_timm", "import_torchvision", "without_fakes_of_missing_operators"]

# The patch is process-wide for the moment of the import: two threads must not take it off for one another.
_IMPORTING = Lock()


def import_timm() -> ModuleType:
    """Import timm, and torchvision before it, safely.

    Raises
    ------
    MissingExtraError
        One of torch, torchvision and timm is not installed.
    """
    import_torchvision()
    return _required("timm")


def import_torchvision() -> ModuleType:
    """Import torchvision with or without its compiled operators.

    Raises
    ------
    MissingExtraError
        torch or torchvision is not installed.
    """
    library = _required("torch.library")
    with _IMPORTING:
        if "torchvision" in sys.modules:
            return sys.modules["torchvision"]
        with without_fakes_of_missing_operators(library):
            return _required("torchvision")


@contextmanager
def without_fakes_of_missing_operators(library: Any) -> Iterator[None]:
    """Make ``library.register_fake`` pass over ``torchvision::`` operators that do not exist, for a while.

    Parameters
    ----------
    library
        ``torch.library``, or what stands in for it.
    """
    register_fake = library.register_fake

    def guarded(operator: Any, *args: Any, **options: Any) -> Any:
        if isinstance(operator, str) and operator.startswith("torchvision::") and not _exists(operator):
            return _leave_as_it_is
        return register_fake(operator, *args, **options)

    library.register_fake = guarded
    try:
        yield
    finally:
        library.register_fake = register_fake


def _leave_as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def _exists(operator: str) -> bool:
    import torch

    return hasattr(torch.ops.torchvision, operator.removeprefix("torchvision::").split(".")[0])


def _required(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"Pretrained networks need {name.split('.')[0]}, and {error.name} is not installed.",
            next_step="Install topwork with its extra fit.",
        ) from error
