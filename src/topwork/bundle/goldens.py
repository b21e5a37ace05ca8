"""Golden examples: what the network answered when it was fitted, kept so that nobody serves another one.

It knows no task and no kind of input. A golden example is an encoded input, the tensor that it was decoded
to, and the outputs of the network in fp32. Whoever loads the bundle replays them in two steps, so that the
blame falls on the right part: first the input is decoded and compared with the stored tensor (a decoder
that changed), then the *stored* tensor is run and the outputs are compared (a network that changed).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from topwork.bundle.tensors import decode_arrays, encode_arrays
from topwork.contracts import Array, Engine, Modality, Precision, Preprocessing, padded
from topwork.errors import BundleError, DecodeError, ProofError, UsageError

__all__ = [
    "GOLDENS",
    "TOLERANCE",
    "Golden",
    "decode_goldens",
    "difference",
    "encode_goldens",
    "make_goldens",
    "replay",
]

GOLDENS: Final = "goldens.safetensors"

TOLERANCE: Final[Mapping[Precision, float]] = MappingProxyType(
    {"fp32": 1e-3, "fp16": 3e-2, "bf16": 0.3, "int8": 0.5}
)
"""Largest difference between outputs then and now that counts as the same network, by precision.

The difference is the root mean square over one output of one example, divided by the standard deviation of
that output over all examples. Measured on EfficientNet-Lite0 and MobileNetV2 with a probe of six classes, on
photos and on synthetic pictures, the largest were

- 2e-5 between OpenVINO, ONNX Runtime and torch in fp32; any one layer scaled by 1.02 makes 1e-2 and more,
- 0.011 in fp16 and 0.16 in bf16 (autocast), which rounds each number to three digits,
- 0.28 in int8, by NNCF on 33 photos, EfficientNet-Lite0 alone; all-minilm-l6-v2 came to 0.10.

Each limit leaves about twice the room or more. So fp32 finds every disturbed layer, the coarser formats only gross
ones; there the hashes of the bundle's parts vouch for the weights.
"""

MEAN_LEVELS: Final = 0.5
MAX_LEVELS: Final = 16
"""How far a ``uint8`` tensor may lie from the stored one, on average and anywhere, in levels of 0 to 255.

Versions of one JPEG library round differently by a level or two, at a sharp edge by more; another filter
or another crop moves the average by whole levels.
"""

MIN_GOLDENS: Final = 2
"""Fewer do not show what tells inputs apart."""

_FLOAT_TENSOR_TOLERANCE: Final = 1e-3
_FRESH_START = "Fit the bundle again, or use the version of topwork that wrote it."


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """One golden example.

    Attributes
    ----------
    key
        Name of the input, for messages.
    encoded
        The input as it came: a photo's file, a text's UTF-8.
    tensor
        What it was decoded to, without a batch axis.
    outputs
        What the network gave for the tensor in fp32, by name, without a batch axis.
    """

    key: str
    encoded: bytes
    tensor: Array
    outputs: Mapping[str, Array]


def make_goldens(
    inputs: Sequence[tuple[str, bytes]], modality: Modality, preprocessing: Preprocessing, engine: Engine
) -> tuple[Golden, ...]:
    """Decode ``(key, encoded)`` inputs and keep what the network answers in fp32.

    Raises
    ------
    UsageError
        There are fewer than two inputs, or the engine is not exact.
    DecodeError
        An input cannot be read.
    """
    if engine.precision != "fp32":
        raise UsageError(f"Golden examples need an engine in fp32; this one computes in {engine.precision}.")
    if len(inputs) < MIN_GOLDENS:
        raise UsageError(f"Got {len(inputs)} golden examples; {MIN_GOLDENS} or more were expected.")
    tensors = [modality.decode(encoded, preprocessing).tensor for _, encoded in inputs]
    outputs = engine.run(padded(tensors))
    return tuple(
        Golden(
            key,
            encoded,
            tensors[i],
            {name: np.asarray(batch[i], np.float32) for name, batch in outputs.items()},
        )
        for i, (key, encoded) in enumerate(inputs)
    )


def replay(
    goldens: Sequence[Golden], modality: Modality, preprocessing: Preprocessing, engine: Engine
) -> None:
    """Prove that decoder and network still do what they did at the time of the fit.

    The network runs on each example alone and on all together, because an engine can be right for one size
    of batch and wrong for another.

    Raises
    ------
    ProofError
        A decoded tensor or an output differs by more than the tolerance.
    """
    for golden in goldens:
        _check_decoder(golden, modality, preprocessing)
    together = engine.run(padded(golden.tensor for golden in goldens))
    _check_outputs(goldens, together, engine)
    for golden in goldens:
        _check_outputs([golden], engine.run(golden.tensor[None]), engine, among=goldens)


def difference(goldens: Sequence[Golden], outputs: Mapping[str, Array]) -> float:
    """Return how far outputs ``[n, ...]`` by name are from the stored ones, as `TOLERANCE` has it: the largest of all.

    NaN where an output is.
    """
    found = [
        _rms(output - golden.outputs[name]) / _spread([one.outputs[name] for one in goldens])
        for name in goldens[0].outputs
        for golden, output in zip(goldens, outputs[name], strict=True)
    ]
    return float(np.max(found))


# --- the decoder --------------------------------------------------------------------------------------


def _check_decoder(golden: Golden, modality: Modality, preprocessing: Preprocessing) -> None:
    try:
        found = modality.decode(golden.encoded, preprocessing).tensor
    except DecodeError as error:
        raise _decoder_differs(golden, f"cannot be read any more ({error.problem})") from error
    if (found.shape, found.dtype) != (golden.tensor.shape, golden.tensor.dtype):
        raise _decoder_differs(golden, f"decodes to {_kind(found)}; {_kind(golden.tensor)} was expected")
    if how := _tensor_difference(golden.tensor, found):
        raise _decoder_differs(golden, f"decodes to other values: {how}")


def _tensor_difference(stored: Array, found: Array) -> str:
    """Say how two tensors of one shape and type differ; nothing where they agree."""
    if np.issubdtype(stored.dtype, np.floating):
        error = _rms(found - stored) / (float(np.std(stored)) or 1.0)
        return "" if error <= _FLOAT_TENSOR_TOLERANCE else f"off by {error:.2g} of their spread"
    if stored.dtype != np.uint8:  # Numbers of words or of atoms: near is not good enough.
        n_wrong = int(np.count_nonzero(stored != found))
        return f"{n_wrong} of {stored.size} differ" if n_wrong else ""
    levels = np.abs(stored.astype(np.int16) - found.astype(np.int16))
    mean, worst = float(levels.mean()), int(levels.max())
    if mean <= MEAN_LEVELS and worst <= MAX_LEVELS:
        return ""
    return f"off by {mean:.2g} levels on average, {worst} at worst (allowed: {MEAN_LEVELS} and {MAX_LEVELS})"


def _decoder_differs(golden: Golden, how: str) -> ProofError:
    return ProofError(
        f"The golden example {golden.key!r} {how}. The network was not asked yet: "
        "a decoder of another version, or an edited preprocessing, is the likely cause.",
        next_step=f"Compare the versions of the decoding library. {_FRESH_START}",
    )


def _kind(tensor: Array) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}"


# --- the network --------------------------------------------------------------------------------------


def _check_outputs(
    goldens: Sequence[Golden],
    outputs: Mapping[str, Array],
    engine: Engine,
    *,
    among: Sequence[Golden] | None = None,
) -> None:
    """Compare a batch of outputs with the stored ones; ``among`` are the examples that give the spread."""
    for name in goldens[0].outputs:
        if name not in outputs:
            raise ProofError(f"The network has no output {name!r}; it has {sorted(outputs)}.")
        spread = _spread([golden.outputs[name] for golden in among or goldens])
        for golden, found in zip(goldens, outputs[name], strict=True):
            _check_output(golden, name, found, spread, engine)


def _check_output(golden: Golden, name: str, found: Array, spread: float, engine: Engine) -> None:
    stored = golden.outputs[name]
    if found.shape != stored.shape:
        raise ProofError(f"The output {name!r} is {_kind(found)}; {_kind(stored)} was expected.")
    error, allowed = _rms(found - stored) / spread, TOLERANCE[engine.precision]
    if not error <= allowed:  # Written so that NaN fails.
        raise ProofError(
            f"The network no longer answers as it did when it was fitted: for the golden example "
            f"{golden.key!r} the output {name!r} is off by {error:.2g} of its spread; {engine.name} in "
            f"{engine.precision} may be off by {allowed:g}. Its input was decoded as before, so changed "
            "weights, a changed graph, or an engine that computes wrongly here is the likely cause.",
            next_step=f"Try another engine. {_FRESH_START}",
        )


def _spread(outputs: Sequence[Array]) -> float:
    """Return the standard deviation over all values of an output; where they are all alike, their size.

    How outputs differ *between* examples would be a stricter measure, but examples may be much alike: on
    synthetic pictures sound bf16 arithmetic is off by 0.9 of that.
    """
    stacked = np.stack(outputs).astype(np.float64)
    return float(np.std(stacked)) or _rms(stacked) or 1.0


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


# --- as parts of a bundle -----------------------------------------------------------------------------


def encode_goldens(goldens: Iterable[Golden]) -> bytes:
    """Write tensors and outputs; keys and encoded inputs stand elsewhere."""
    arrays: dict[str, Array] = {}
    for number, golden in enumerate(goldens):
        arrays[f"{number:03d}.tensor"] = golden.tensor
        arrays |= {f"{number:03d}.output.{name}": value for name, value in golden.outputs.items()}
    return encode_arrays(arrays)


def decode_goldens(
    data: bytes, inputs: Sequence[tuple[str, bytes]], output_names: Sequence[str]
) -> tuple[Golden, ...]:
    """Read what `encode_goldens` wrote, for the ``(key, encoded)`` inputs and output names of a manifest.

    Raises
    ------
    BundleError
        There are too few examples to prove anything, or an array is missing or of the wrong sort.
    """
    if len(inputs) < MIN_GOLDENS:
        raise BundleError(f"It holds {len(inputs)} golden examples; at least {MIN_GOLDENS} were expected.")
    arrays = decode_arrays(data, GOLDENS)
    return tuple(
        Golden(
            key,
            encoded,
            _stored(arrays, f"{number:03d}.tensor"),
            {name: _stored_output(arrays, f"{number:03d}.output.{name}") for name in output_names},
        )
        for number, (key, encoded) in enumerate(inputs)
    )


def _stored(arrays: Mapping[str, Array], name: str) -> Array:
    if name not in arrays:
        raise BundleError(f"{GOLDENS} lacks the array {name!r:.120}.")
    return arrays[name]


def _stored_output(arrays: Mapping[str, Array], name: str) -> Array:
    output = _stored(arrays, name)
    if output.dtype != np.float32 or not np.isfinite(output).all():
        raise BundleError(f"{GOLDENS}: {name!r:.120} is {_kind(output)}; finite float32 was expected.")
    return output
