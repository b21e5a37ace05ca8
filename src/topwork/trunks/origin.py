"""Where a network comes from, whatever kind it is: its weights, what is said of them, and the files beside them.

It knows no network library.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from topwork.contracts import Progress
from topwork.errors import WeightsError

__all__ = ["NO_LICENCE", "Companion", "Origin", "WeightSource", "is_commercial", "read_object"]

NO_LICENCE = "not stated; look at where the weights come from"
_NOT_COMMERCIAL = re.compile(r"\bnc\b|non-?commercial|research")

Companion: TypeAlias = Callable[[str], "str | None"]
"""Gives the text of a file that lies beside the weights, by its name; None where there is none."""


class WeightSource(Protocol):
    """A place that weights come from."""

    def fetch(self, cache_dir: Path, progress: Progress) -> Path:
        """Return one safetensors file, checked; bring it below ``cache_dir`` where it is not local already.

        Raises
        ------
        WeightsError
            It cannot be had, or is not what it claims to be.
        """
        ...


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known of a network beside its ``config.json``: its name here, its weights and whence they come."""

    name: str
    description: str
    weights: WeightSource
    weights_sha256: str
    offline: bool


def read_object(text: str, where: str) -> dict[str, Any]:
    """Read a JSON object; ``where`` names it in errors.

    Raises
    ------
    WeightsError
        It is no JSON, or no object.
    """
    try:
        config = json.loads(text)
    except ValueError as error:
        raise WeightsError(
            f"{where} is not JSON: {error}.", next_step="Copy the file again from where it comes."
        ) from error
    if not isinstance(config, dict):
        raise WeightsError(
            f"{where} holds a {type(config).__name__}, not an object.",
            next_step="Copy the file again from where it comes.",
        )
    return config


def is_commercial(licence: str) -> bool:
    """Return whether a licence allows to sell; one that nobody stated gives nobody the right to."""
    return bool(licence) and not _NOT_COMMERCIAL.search(licence.lower().replace("_", "-"))
