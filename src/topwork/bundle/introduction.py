"""What a model says of itself: where it comes from, how well it did, and how its explanations look.

It knows no input and computes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from topwork.bundle.contents import Bundle
from topwork.bundle.structure import to_json
from topwork.contracts import FitRecord, Json, TargetResult

__all__ = ["EngineName", "about", "closed", "explanation_schema_of"]


class EngineName(Protocol):
    """What an engine says of itself."""

    @property
    def name(self) -> str:
        """Return its library."""
        ...

    @property
    def precision(self) -> str:
        """Return what it computes in."""
        ...

    @property
    def version(self) -> str:
        """Return the library's version."""
        ...


def about(bundle: Bundle, engine: EngineName) -> Mapping[str, Json]:
    """Return trunk, targets with their test scores, sides and engine, as `Servable.about` has them."""
    manifest, record = bundle.manifest, bundle.record()
    return {
        "name": bundle.path.stem,
        "identity": bundle.identity,
        "created": manifest.created,
        "topwork": manifest.topwork,
        "modality": manifest.modality,
        "trunk": _about_trunk(record),
        "targets": {name: _about_target(result) for name, result in record.targets.items()},
        "n_train": record.split.n_train,
        "n_test": record.split.n_test,
        "engine": {"name": engine.name, "precision": engine.precision, "version": engine.version},
        **({} if manifest.optimized is None else {"optimized_from": manifest.optimized.original}),
    }


def _about_trunk(record: FitRecord) -> Mapping[str, Json]:
    card: dict[str, Any] = to_json(record.trunk)
    return {key: card[key] for key in ("name", "summary", "n_parameters", "source", "licence", "commercial")}


def _about_target(result: TargetResult) -> Mapping[str, Json]:
    stored: dict[str, Any] = to_json(result)
    return {key: stored[key] for key in ("task", "labels", "main_metric", "test", "baselines")}


def explanation_schema_of(answer: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return the JSON Schema of an explanation of answers that have this schema."""
    heat: Mapping[str, Json] = {"type": "number", "minimum": -1, "maximum": 1}
    pieces: Mapping[str, Json] = {
        "type": "array",
        "items": closed({"text": {"type": "string"}, "heat": heat}),
    }
    return closed({"answer": answer, "towards": {"type": "string"}, "pieces": pieces})


def closed(properties: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return the JSON Schema of an object that has these properties and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
