"""The state of a training on disk, whole or not at all.

One file holds the tensors and, in its header, what is no tensor; it is replaced in one move, so a kill while it is
written leaves the one before. It knows nothing of what the tensors are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from topwork.storage import write_atomically

if TYPE_CHECKING:
    import torch

__all__ = ["FACTORS", "Checkpoint", "read_checkpoint", "write_checkpoint"]

FACTORS = "factors"
"""Under which the values tell what each of several targets weighed."""
_KEY = "state"


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """Tensors by name, and JSON values."""

    tensors: Mapping[str, torch.Tensor]
    values: Mapping[str, Any]

    def under(self, prefix: str) -> dict[str, torch.Tensor]:
        """Return the tensors whose names begin so, by the rest of their names."""
        return {n.removeprefix(prefix): tensor for n, tensor in self.tensors.items() if n.startswith(prefix)}


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replace the file at ``path``.

    Raises
    ------
    StorageError
        It cannot be written; the one before is still there.
    """
    from safetensors.torch import save

    tensors = {name: tensor.detach().contiguous() for name, tensor in checkpoint.tensors.items()}
    write_atomically(path, save(tensors, {_KEY: json.dumps(checkpoint.values)}))


def read_checkpoint(path: Path) -> Checkpoint | None:
    """Read the file at ``path``; None where there is none that can be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as stored:
            values = json.loads(stored.metadata()[_KEY])
            return Checkpoint({name: stored.get_tensor(name).clone() for name in stored.keys()}, values)  # noqa: SIM118
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None
