"""Inputs: one modality per kind of thing a network can look at.

A modality decodes within limits, fingerprints, shows an input to a person, and says how inputs travel over HTTP.
It knows no data set, no label and no network.
"""

from __future__ import annotations

from topwork.contracts import Modality
from topwork.errors import UsageError
from topwork.inputs.image import IMAGE
from topwork.inputs.image_preprocessing import ImagePreprocessing
from topwork.inputs.text import TEXT
from topwork.inputs.text_preprocessing import TextPreprocessing
from topwork.inputs.vector import VECTOR
from topwork.inputs.vector_preprocessing import VectorPreprocessing

__all__ = [
    "IMAGE",
    "TEXT",
    "VECTOR",
    "ImagePreprocessing",
    "TextPreprocessing",
    "VectorPreprocessing",
    "modalities",
    "modality",
]


def modalities() -> tuple[Modality, ...]:
    """Return every modality."""
    return (IMAGE, TEXT, VECTOR)


def modality(name: str) -> Modality:
    """Return the modality called ``name``.

    Raises
    ------
    UsageError
        There is none of that name.
    """
    known = {m.name: m for m in modalities()}
    if name not in known:
        raise UsageError(
            f"There is no modality {name!r}.", next_step=f"Known are: {', '.join(sorted(known))}."
        )
    return known[name]
