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
    "ADAPTER",
    "FORMAT",
    "MANIFEST",
    "WHOLE",
    "Base",
    "Manifest",
    "Part",
    "StoredTarget",
    "decode_manifest",
    "describe_parts",
    "encode_manifest",
    "golden_part",
    "part_names",
]

FORMAT: Final = 2
"""The newest bundle format that this version reads: one that leaves its base out. Others are still in `WHOLE`."""

WHOLE: Final = 1
"""The format of a bundle that holds all of its weights."""

ADAPTER: Final = "adapter.safetensors"
"""The part that a bundle without its base has besides the others."""

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
class Base:
    """The pretrained network that a bundle takes weights from in place of holding them.

    Attributes
    ----------
    name
        Of the trunk.
    weights_sha256
        Of its weights, as its card has it.
    tensors_sha256
        Of the tensors that are taken from it.
    """

    name: str
    weights_sha256: str
    tensors_sha256: str


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
    base
        Where the weights come from that the bundle does not hold; None where it holds all.
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
    base: Base | None = None


def golden_part(number: int) -> str:
    """Return the name of the part that holds the encoded input of a golden example."""
    return f"goldens/{number:03d}.bin"


def part_names(n_goldens: int, *, adapter: bool = False) -> tuple[str, ...]:
    """Return the names of the parts of a bundle, the manifest apart, in the order in which they are written."""
    return (*_ALWAYS, *((ADAPTER,) if adapter else ()), *map(golden_part, range(n_goldens)))


def describe_parts(parts: Mapping[str, bytes]) -> dict[str, Part]:
    """Measure and hash parts."""
    return {name: Part(hashlib.sha256(data).hexdigest(), len(data)) for name, data in parts.items()}


def encode_manifest(manifest: Manifest) -> bytes:
    """Write the manifest; the same manifest gives the same bytes."""
    value = to_json(manifest)
    if manifest.base is None:
        del value["base"]  # a reader of the first format refuses a key that it does not know
    return encode_json(value)


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
    _check_base(manifest)
    _check_names(manifest, part_names(len(manifest.goldens), adapter=manifest.base is not None))
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


def _check_base(manifest: Manifest) -> None:
    if (manifest.base is None) != (manifest.format == WHOLE):
        names = "names no base" if manifest.base is None else "names a base"
        raise BundleError(
            f"{MANIFEST} {names} in format {manifest.format}; bundles of format {FORMAT} have one."
        )


def _check_names(manifest: Manifest, expected: Sequence[str]) -> None:
    if wrong := set(manifest.parts) ^ set(expected):
        raise BundleError(
            f"{MANIFEST} lists other parts than format {manifest.format} has: {', '.join(sorted(wrong)):.200}."
        )
