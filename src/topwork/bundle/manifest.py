"""The manifest: what a bundle says of itself, and the size and hash of each of its parts.

It knows neither the zip around it nor what is inside a part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from topwork import __version__
from topwork.bundle.jsontext import decode_object, encode_json
from topwork.bundle.structure import from_json, to_json
from topwork.contracts import Precision, TrunkCard
from topwork.errors import BundleError

__all__ = [
    "ADAPTER",
    "EXAMPLES",
    "FORMAT",
    "MANIFEST",
    "WHOLE",
    "WITHOUT_BASE",
    "Base",
    "Manifest",
    "Optimized",
    "Part",
    "StoredTarget",
    "decode_manifest",
    "describe_parts",
    "encode_manifest",
    "format_of",
    "golden_part",
    "part_names",
]

FORMAT: Final = 3
"""The newest bundle format that this version reads: one that keeps examples, or was optimised for a machine."""

WITHOUT_BASE: Final = 2
"""The format of a bundle that leaves its base out, and has nothing that only the newest may have."""

WHOLE: Final = 1
"""The format of a bundle that holds all of its weights, and has nothing that only newer ones may have."""

ADAPTER: Final = "adapter.safetensors"
"""The part that a bundle without its base has besides the others."""

EXAMPLES: Final = "examples.safetensors"
"""The part that a bundle has besides the others which keeps examples of its training data."""

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
class Optimized:
    """What a bundle runs with that was made for a machine, and what it was made from.

    Attributes
    ----------
    original
        Identity of the bundle that it was made from.
    engine
        Name of the engine that runs it unless another one is asked for.
    precision
        Number format of the arithmetic.
    """

    original: str
    engine: Literal["openvino", "onnxruntime"]
    precision: Precision


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
    optimized
        What it runs with; None where whoever opens it chooses.
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
    optimized: Optimized | None = None


def format_of(*, has_base: bool, is_new: bool) -> int:
    """Return the oldest format that has room for a bundle.

    Parameters
    ----------
    has_base
        Whether it takes weights from a base.
    is_new
        Whether it keeps examples, or was optimised.
    """
    if is_new:
        return FORMAT
    return WITHOUT_BASE if has_base else WHOLE


def golden_part(number: int) -> str:
    """Return the name of the part that holds the encoded input of a golden example."""
    return f"goldens/{number:03d}.bin"


def part_names(n_goldens: int, *, adapter: bool = False, examples: bool = False) -> tuple[str, ...]:
    """Return the names of the parts of a bundle, the manifest apart, in the order in which they are written."""
    further = (*((ADAPTER,) if adapter else ()), *((EXAMPLES,) if examples else ()))
    return (*_ALWAYS, *further, *map(golden_part, range(n_goldens)))


def describe_parts(parts: Mapping[str, bytes]) -> dict[str, Part]:
    """Measure and hash parts."""
    return {name: Part(hashlib.sha256(data).hexdigest(), len(data)) for name, data in parts.items()}


def encode_manifest(manifest: Manifest) -> bytes:
    """Write the manifest; the same manifest gives the same bytes."""
    value = to_json(manifest)
    for key in ("base", "optimized"):
        if value[key] is None:
            del value[key]  # a reader of an older format refuses a key that it does not know
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
    examples = manifest.format == FORMAT and EXAMPLES in manifest.parts
    adapter = manifest.base is not None
    _check_names(manifest, part_names(len(manifest.goldens), adapter=adapter, examples=examples))
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
    """Check that a manifest says nothing for which its format has no room."""
    if manifest.format == FORMAT:
        return
    if (manifest.base is None) != (manifest.format == WHOLE):
        names = "names no base" if manifest.base is None else "names a base"
        raise BundleError(
            f"{MANIFEST} {names} in format {manifest.format}; bundles of format {WITHOUT_BASE} have one."
        )
    if manifest.optimized is not None:
        raise BundleError(
            f"{MANIFEST} names an engine in format {manifest.format}; those of format {FORMAT} may."
        )


def _check_names(manifest: Manifest, expected: Sequence[str]) -> None:
    if wrong := set(manifest.parts) ^ set(expected):
        raise BundleError(
            f"{MANIFEST} lists other parts than format {manifest.format} has: {', '.join(sorted(wrong)):.200}."
        )
