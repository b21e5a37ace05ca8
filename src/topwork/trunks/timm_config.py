"""The ``config.json`` beside timm-style weights, in a local folder and on the hub alike.

It knows the file's fields and checks each one; it reads no weights and runs no code that the file names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from topwork.contracts import TrunkCard
from topwork.errors import WeightsError
from topwork.inputs.image_preprocessing import ImagePreprocessing
from topwork.trunks.architectures import Architecture, measure
from topwork.trunks.origin import NO_LICENCE, Origin, is_commercial
from topwork.trunks.timm_trunk import TimmTrunk

__all__ = ["TimmConfig", "assemble", "parse"]

V = TypeVar("V")

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_FITS: Mapping[str, Literal["crop", "squash"]] = {"center": "crop", "border": "crop", "squash": "squash"}
_INTERPOLATIONS: Mapping[str, Literal["bilinear", "bicubic"]] = {"bilinear": "bilinear", "bicubic": "bicubic"}


@dataclass(frozen=True, slots=True)
class TimmConfig:
    """What the file says, checked; the licence is empty where it says nothing of one."""

    architecture: Architecture
    preprocessing: ImagePreprocessing
    licence: str


def parse(config: Mapping[str, Any], where: str) -> TimmConfig:
    """Check the fields of a ``config.json``; ``where`` names it in errors.

    Raises
    ------
    WeightsError
        A field is missing or has a value that nothing here understands.
    """
    # timm writes the fields of the inputs below "pretrained_cfg"; its old files have them at the top.
    inputs = config.get("pretrained_cfg", config)
    try:
        return TimmConfig(
            _architecture(config, inputs), _preprocessing(inputs), str(inputs.get("license") or "")
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{where} does not describe a timm network: {type(error).__name__} {error}.",
            next_step='It needs "architecture" and "pretrained_cfg" with "input_size" [3, height, width].',
        ) from error


def assemble(config: TimmConfig, origin: Origin) -> TimmTrunk:
    """Make a trunk of a configuration and an origin; its network is measured without being allocated."""
    measured = measure(config.architecture)
    card = TrunkCard(
        name=origin.name,
        modality="image",
        summary=f"timm's {config.architecture.name}",
        n_parameters=measured.n_parameters,
        n_features=measured.n_features,
        input_size=(config.preprocessing.height, config.preprocessing.width),
        source=origin.description,
        licence=config.licence or NO_LICENCE,
        commercial=is_commercial(config.licence),
        offline=origin.offline,
        offers=frozenset({"pooled", "stages"} if measured.staged else {"pooled"}),
        weights_sha256=origin.weights_sha256,
    )
    return TimmTrunk(card, origin.weights, "", config.preprocessing, config.architecture)


def _architecture(config: Mapping[str, Any], inputs: Mapping[str, Any]) -> Architecture:
    return Architecture(
        str(config["architecture"]),
        mean=_channels(inputs.get("mean", _IMAGENET_MEAN)),
        std=_deviations(inputs.get("std", _IMAGENET_STD)),
        arguments=dict(config.get("model_args") or {}),
    )


def _preprocessing(inputs: Mapping[str, Any]) -> ImagePreprocessing:
    n_channels, height, width = (int(side) for side in inputs["input_size"])
    if n_channels != 3 or not 0 < height <= 4096 or not 0 < width <= 4096:
        raise ValueError(f"input_size {inputs['input_size']}: expected [3, height, width] in pixels")
    return ImagePreprocessing(
        height=height,
        width=width,
        fit=_one_of(_FITS, inputs, "crop_mode", "center"),
        crop_fraction=float(inputs.get("crop_pct") or 0.875),
        interpolation=_one_of(_INTERPOLATIONS, inputs, "interpolation", "bilinear"),
    )


def _one_of(choices: Mapping[str, V], inputs: Mapping[str, Any], key: str, default: str) -> V:
    value = inputs.get(key) or default
    if value not in choices:
        raise ValueError(f"{key} {value!r}: expected one of {', '.join(choices)}")
    return choices[value]


def _channels(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    if not all(math.isfinite(value) for value in (red, green, blue)):
        raise ValueError(f"mean or std {values}: expected three finite numbers")
    return red, green, blue


def _deviations(values: Any) -> tuple[float, float, float]:
    deviations = _channels(values)
    if min(deviations) <= 0:
        raise ValueError(f"std {values}: expected three numbers above 0")
    return deviations
