"""Where a network is trained: the processor, or a GPU that computes in a fixed order.

A device is its name as torch has it, ``cpu`` or ``cuda``. On the processor nothing here does anything. It knows no
network and no plan.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from topwork.errors import TopworkError, UsageError

__all__ = ["at_work", "free_bytes", "named", "wait_for"]

_CUDA = "cuda"
_WORKSPACES = "CUBLAS_WORKSPACE_CONFIG"
_ORDERED = (":4096:8", ":16:8")
"""Settings of cuBLAS with which a sum is always taken in the same order."""
_UNORDERED = "does not have a deterministic implementation"
"""What torch says of an operation that adds up in whatever order its threads arrive."""


@contextmanager
def at_work(device: str, environment: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Let torch compute the same on a GPU whenever it computes it again; what was set before comes back.

    Raises
    ------
    UsageError
        The environment does not hold cuBLAS to one order, or the network has an operation that has none.
    TopworkError
        The GPU's memory is full.
    """
    if not device.startswith(_CUDA):
        yield
        return
    _require_order(environment)
    before = torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(mode=True)
    torch.backends.cudnn.benchmark = False  # it chooses by time, and so another one each time
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TopworkError(
            f"The GPU's memory is full: {error}",
            next_step="End what else runs there and go on with --resume, or train with --device cpu.",
        ) from error
    except RuntimeError as error:
        if _UNORDERED not in str(error):
            raise
        raise UsageError(
            f"This network cannot be trained on a GPU so that it comes out the same again: {error}",
            next_step="Train it with --device cpu, or choose another trunk.",
        ) from error
    finally:
        torch.set_deterministic_debug_mode(before[0])
        torch.backends.cudnn.benchmark = before[1]


def _require_order(environment: Mapping[str, str]) -> None:
    if environment.get(_WORKSPACES) not in _ORDERED:
        raise UsageError(
            f"{_WORKSPACES} is {environment.get(_WORKSPACES, 'not set')}; training on a GPU comes out the same again "
            f"only with {' or '.join(_ORDERED)}.",
            next_step=f"Set {_WORKSPACES}={_ORDERED[0]} before Python starts; the command topwork does so itself.",
        )


def free_bytes(device: str, otherwise: int) -> int:
    """Return the memory that training may still fill there; on a processor it is ``otherwise``."""
    if not device.startswith(_CUDA):
        return otherwise
    free = int(torch.cuda.mem_get_info(device)[0])
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def named(device: str) -> str:
    """Return the device with the name of the GPU, for two GPUs do not compute the same."""
    return f"{device}, {torch.cuda.get_device_name(device)}" if device.startswith(_CUDA) else device


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has done what it was given, without which there is nothing to time."""
    if device.type == _CUDA:
        torch.cuda.synchronize(device)
