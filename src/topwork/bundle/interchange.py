"""A bundle's network as one ONNX file that other programs read: weights inside, and what to know of it in its metadata.

The preprocessing is told, not in the graph: decoding a photo or cutting a text into tokens is no operator of ONNX. It
knows no engine, and proves nothing: that is for who can run the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from topwork.bundle.contents import Bundle
from topwork.bundle.jsontext import encode_json
from topwork.contracts import Json, Target
from topwork.engines.grafting import scores_name
from topwork.engines.graphs import assemble, parse
from topwork.errors import BundleError, UsageError

__all__ = ["PREFIX", "facts_of", "opset_of", "to_onnx"]

PREFIX: Final = "topwork."
"""What the keys of the metadata begin with."""

MOST_BYTES: Final = (1 << 31) - 1
"""The most that a file of ONNX can hold which has its weights inside: protobuf counts bytes in 31 bits."""

_MEANING: Final[Mapping[str, str]] = {
    "softmax": "logits; their softmax are the probabilities of the labels",
    "sigmoid": "a logit for each label; its sigmoid is the label's probability",
    "cumulative": "log odds of being above each threshold between two classes in their order",
    "identity": "the value, in standard deviations from the mean of the training data",
    "hazard": "log of how many times as often as on average the event happens",
}


def to_onnx(bundle: Bundle) -> bytes:
    """Return the network of a bundle as a complete ONNX model, its facts in ``metadata_props``.

    Raises
    ------
    UsageError
        It is larger than such a file can be.
    BundleError
        The graph does not keep to the standard of ONNX.
    """
    graph = bundle.graph()
    n_bytes = sum(one.nbytes for one in graph.weights.values()) + len(graph.topology)
    if n_bytes > MOST_BYTES:
        raise UsageError(
            f"The network of {bundle.path} has {n_bytes:,} bytes; one file of ONNX holds {MOST_BYTES:,} at most.",
            next_step="Serve the bundle itself, or optimise it to eight bits first.",
        )
    proto = parse(assemble(graph))
    _open_batch(proto)
    for name, fact in facts_of(bundle).items():
        proto.metadata_props.add(key=f"{PREFIX}{name}", value=fact)
    _check(proto)
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def facts_of(bundle: Bundle) -> dict[str, str]:
    """Return what a user of the file must know: what goes in, what comes out, and where it is from."""
    manifest = bundle.manifest
    return {
        "version": manifest.topwork,
        "name": manifest.name,
        "created": manifest.created,
        "bundle": bundle.identity,
        "trunk": manifest.trunk.name,
        "licence": manifest.trunk.licence,
        "modality": manifest.modality,
        "preprocessing": _json(dict(manifest.preprocessing)),
        "targets": _json({name: _of_target(name, target) for name, target in bundle.targets.items()}),
    }


def opset_of(model: bytes) -> int:
    """Return the version of ONNX's own operators that a model uses."""
    return next(int(one.version) for one in parse(model).opset_import if one.domain in ("", "ai.onnx"))


def _of_target(name: str, target: Target) -> Mapping[str, Json]:
    return {
        "task": target.task,
        "output": scores_name(name),
        "means": _MEANING[target.link],
        "labels": list(target.labels),
        "state": target.state(),
    }


def _json(value: Mapping[str, Any]) -> str:
    return encode_json(value).decode("utf-8")


def _open_batch(proto: Any) -> None:
    """Let the batch of every input and output be of any size, under one name."""
    for value in (*proto.graph.input, *proto.graph.output):
        dims = value.type.tensor_type.shape.dim
        if dims and not dims[0].dim_param:
            dims[0].dim_param = "batch"


def _check(proto: Any) -> None:
    from onnx import checker

    try:
        checker.check_model(proto)
    except checker.ValidationError as error:
        raise BundleError(
            f"Its graph does not keep to the standard of ONNX: {error!s:.200}",
            next_step="Fit the bundle again, and report this with the name of the trunk.",
        ) from error
