"""Named arrays as safetensors: numbers and shapes, nothing that could run.

It knows nothing of what the arrays mean.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from topwork.contracts import Array
from topwork.errors import BundleError

__all__ = ["decode_arrays", "encode_arrays"]


def encode_arrays(arrays: Mapping[str, Array]) -> bytes:
    """Write arrays of any shape; the same arrays give the same bytes, in whatever order they come."""
    from safetensors.numpy import save

    # No metadata: the library writes it in an order that changes from run to run.
    return save({name: np.asarray(array, order="C") for name, array in arrays.items()})


def decode_arrays(data: bytes, part: str) -> dict[str, Array]:
    """Read what `encode_arrays` wrote.

    Raises
    ------
    BundleError
        ``part`` is not in the format, or holds numbers of a sort that NumPy lacks.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(data)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise BundleError(f"{part} is not valid safetensors: {error}.") from error
