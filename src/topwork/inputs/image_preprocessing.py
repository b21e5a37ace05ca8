"""How a picture becomes a tensor: how large, and how cropped. It decodes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

from topwork.contracts import Json
from topwork.errors import UsageError

__all__ = ["MOST_SIDE_PX", "ImagePreprocessing"]

MOST_SIDE_PX = 4096


@dataclass(frozen=True, slots=True)
class ImagePreprocessing:
    """How a picture becomes ``uint8 [height, width, 3]``.

    Attributes
    ----------
    height, width
        Size of the result in pixels.
    fit
        ``crop`` keeps the proportions and cuts out the centre; ``squash`` keeps the whole picture.
    crop_fraction
        Part of the side that a centre crop keeps, above 0 and at most 1: at 0.875 the picture is resized
        until 224 pixels are 0.875 of it. Only for ``crop``.
    interpolation
        Filter of the resize, always with antialiasing.
    """

    height: int
    width: int
    fit: Literal["crop", "squash"] = "crop"
    crop_fraction: float = 0.875
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            side = getattr(self, name)
            _require(
                isinstance(side, int) and 1 <= side <= MOST_SIDE_PX, name, side, f"1 to {MOST_SIDE_PX} pixels"
            )
        _require(self.fit in ("crop", "squash"), "fit", self.fit, "crop or squash")
        is_fraction = isinstance(self.crop_fraction, int | float) and 0 < self.crop_fraction <= 1
        _require(is_fraction, "crop_fraction", self.crop_fraction, "a number above 0 and at most 1")
        is_known = self.interpolation in ("bilinear", "bicubic")
        _require(is_known, "interpolation", self.interpolation, "bilinear or bicubic")

    @property
    def modality(self) -> str:
        """Return ``image``."""
        return "image"

    def to_json(self) -> Mapping[str, Json]:
        """Return the fields by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def describe(self) -> str:
        """Return the fields with their values."""
        return ", ".join(f"{name} {value}" for name, value in self.to_json().items())


def _require(is_right: bool, name: str, received: object, expected: str) -> None:
    if not is_right:
        raise UsageError(f"{name} is {received!r}; expected {expected}.")
