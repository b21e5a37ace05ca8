"""The manifest: what a bundle says of itself, and the size and hash of each of its parts.

It knows neither the zip around it nor what is inside a part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from topwork import __version__
from topwork.bundle.jsontext import decode_object, encode_json
from topwork.bundle.structure import from_json, to_json
from topwork.contracts import TrunkCard
from topwork.errors import BundleError

__all__ = [
    "FORMAT",
    "MANIFEST",
    "Manifest",
    "Part",
    "StoredTarget",
    "decode_manifest",
    "describe_parts",
    "encode_manifest",
    "golden_part",
    "part_names",
]

FORMAT: Final = 1
"""The newest bundle format that this version reads, and the one that it writes."""

MANIFEST: Final = "manifest.json"

_ALWAYS = (
    "weights.safetensors",
    "graph.onnx",
    "record.json",
    "split.json",
    "statistics.safetensors",
    "goldens.safetensors",
    "README.md",
)


@dataclass(frozen=True, slots=True)
class Part:
    """Size and hash, in hexadecimal, of one part before compression."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class StoredTarget:
    """Name of the task and what its ``restore`` reads back."""

    task: str
    state: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says of itself.

    Attributes
    ----------
    format
        Version of the layout of the file; a reader refuses what is newer than itself.
    topwork
        Version of the program that wrote it.
    created
        Moment of the fit, ISO 8601 in UTC.
    preprocessing
        What the modality's ``preprocessing`` reads back.
    outputs
        Names of the outputs of the graph.
    goldens
        Keys of the golden examples, in their order.
    """

    format: int
    topwork: str
    name: str
    created: str
    modality: str
    preprocessing: Mapping[str, Any]
    trunk: TrunkCard
    targets: Mapping[str, StoredTarget]
    outputs: tuple[str, ...]
    goldens: tuple[str, ...]
    parts: Mapping[str, Part]


def golden_part(number: int) -> str:
    """Return the name of the part that holds the encoded input of a golden example."""
    return f"goldens/{number:03d}.bin"


def part_names(n_goldens: int) -> tuple[str, ...]:
    """Return the names of the parts of a bundle, the manifest apart, in the order in which they are written."""
    return (*_ALWAYS, *map(golden_part, range(n_goldens)))


def describe_parts(parts: Mapping[str, bytes]) -> dict[str, Part]:
    """Measure and hash parts."""
    return {name: Part(hashlib.sha256(data).hexdigest(), len(data)) for name, data in parts.items()}


def encode_manifest(manifest: Manifest) -> bytes:
    """Write the manifest; the same manifest gives the same bytes."""
    return encode_json(to_json(manifest))


def decode_manifest(data: bytes) -> Manifest:
    """Read a manifest, its format first: a newer one may look different altogether.

    Raises
    ------
    BundleError
        It is of a newer format, or not a manifest.
    """
    value = decode_object(data, MANIFEST)
    _check_format(value)
    manifest = from_json(value, Manifest, MANIFEST)
    _check_names(manifest.parts, part_names(len(manifest.goldens)))
    return manifest


def _check_format(value: Mapping[str, Any]) -> None:
    found = value.get("format")
    if type(found) is not int or found < 1:
        raise BundleError(
            f"{MANIFEST} gives no format that topwork knows (a whole number from 1): {found!r:.60}."
        )
    if found > FORMAT:
        raise BundleError(
            f"It was written by topwork {value.get('topwork')!s:.30} in format {found}; "
            f"this is topwork {__version__}, which reads formats up to {FORMAT}.",
            next_step="Upgrade with: pip install --upgrade topwork",
        )


def _check_names(parts: Mapping[str, Part], expected: Sequence[str]) -> None:
    if wrong := set(parts) ^ set(expected):
        raise BundleError(
            f"{MANIFEST} lists other parts than format {FORMAT} has: {', '.join(sorted(wrong)):.200}."
        )
