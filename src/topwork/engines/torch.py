"""torch: runs a module as it is; the engine for a GPU. It knows nothing of what the module is."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from topwork.contracts import Array, Exportable, Precision
from topwork.errors import TopworkError, UsageError

if TYPE_CHECKING:
    import torch

__all__ = ["TorchEngine"]


class TorchEngine:
    """A copy of a module on one device, called by one thread at a time.

    Parameters
    ----------
    exportable
        The module; the caller's stays as it is.
    device
        ``cpu``, ``cuda`` or ``cuda:1``.
    precision
        ``fp32``, or ``bf16`` or ``fp16`` through autocast; outputs are ``float32`` in any case.

    Raises
    ------
    UsageError
        ``int8``, ``fp16`` on a CPU, or a GPU that torch does not see.
    """

    name = "torch"
    n_streams = 1

    def __init__(self, exportable: Exportable, device: str = "cpu", precision: Precision = "fp32") -> None:
        import torch

        _require(device, precision)
        self.precision: Precision = precision
        self.version = str(torch.__version__)
        self.output_names = exportable.output_names
        self._device = torch.device(device)
        module = copy.deepcopy(exportable.module).eval().to(self._device)
        # Convolutions on NHWC need no reordering of what was decoded as NHWC.
        self._module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._one_at_a_time = Lock()

    def run(self, batch: Array) -> dict[str, Array]:
        """Run a raw batch ``[n, ...]``; wait where another call is under way."""
        import torch

        # torch takes neither negative strides nor, without a warning, an array that may not be written.
        tensor = torch.from_numpy(np.require(batch, requirements=("C", "W")))
        try:
            with self._one_at_a_time, torch.inference_mode(), self._autocast():
                outputs: Any = self._module(tensor.to(self._device))
                several = outputs if isinstance(outputs, tuple | list) else (outputs,)
                arrays = [_array(output) for output in several]
        except RuntimeError as error:
            raise TopworkError(
                f"torch cannot run a batch {batch.dtype} {list(batch.shape)}: {error}",
                next_step="Give inputs of the size and type that the network expects, or fewer of them at once.",
            ) from error
        return dict(zip(self.output_names, arrays, strict=True))

    def _autocast(self) -> AbstractContextManager[Any]:
        import torch

        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(
            self._device.type, torch.bfloat16 if self.precision == "bf16" else torch.float16
        )


def _array(output: torch.Tensor) -> Array:
    array: Array = output.float().cpu().numpy()
    return array


def _require(device: str, precision: Precision) -> None:
    import torch

    if precision == "int8" or (precision == "fp16" and device == "cpu"):
        raise UsageError(
            f"torch does not run a module in {precision} on {device}; expected fp32 or bf16.",
            next_step="Choose another precision or engine.",
        )
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(
            f"torch {torch.__version__} sees no GPU; the device {device!r} was asked for.",
            next_step="Choose the device cpu, or install a torch that is built for this GPU's driver.",
        )
