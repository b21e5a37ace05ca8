"""Language models in GGUF, the file of llama.cpp: its numbers in full, under the names that transformers gives them.

transformers itself opens the file, with the package ``gguf``. It knows nothing of where the file comes from.
"""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING

from topwork.errors import MissingExtraError, WeightsError
from topwork.trunks.encoders import transformers_library

if TYPE_CHECKING:
    import torch

__all__ = ["read_gguf"]


def read_gguf(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a file by name, ``float32``.

    Raises
    ------
    WeightsError
        It is damaged, or of a network that transformers does not read.
    MissingExtraError
        transformers or ``gguf`` is not installed.
    """
    import torch

    library = transformers_library()
    try:
        import gguf  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "These weights are in GGUF, and the package gguf is not installed.",
            next_step="Install topwork with its extra generate.",
        ) from error
    try:
        with redirect_stderr(io.StringIO()):  # the library's own bars
            network = library.AutoModelForCausalLM.from_pretrained(
                path.parent, gguf_file=path.name, dtype=torch.float32, local_files_only=True
            )
    except (OSError, ValueError, KeyError, RuntimeError, NotImplementedError) as error:
        raise WeightsError(f"{path.name} cannot be read as GGUF: {error}.") from error
    state: dict[str, torch.Tensor] = network.state_dict()
    tied = set(getattr(network, "all_tied_weights_keys", None) or ())
    return {name: value for name, value in state.items() if name not in tied}
