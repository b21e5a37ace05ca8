"""With which engine a bundle is opened: what was asked for, what it was made for, or what is fastest here.

It looks at no machine and starts nothing: what is here is handed in.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from topwork.bundle.manifest import Optimized
from topwork.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from topwork.engines.choice import EngineChoice, EngineName

__all__ = ["as_optimized", "as_wanted"]

_GRAPH_ENGINES: Final[Mapping[str, EngineName]] = {"openvino": "openvino", "onnxruntime": "onnxruntime"}


def as_optimized(
    optimized: Optimized, best: EngineChoice, *, installed: Collection[str], path: Path
) -> EngineChoice:
    """Return what a bundle was optimised for; where this processor only emulates bf16, its engine in fp32.

    Parameters
    ----------
    best
        What would be chosen here for any bundle.
    installed
        Names of the engines that are here.

    Raises
    ------
    MissingExtraError
        Its engine is not among these.
    """
    if optimized.engine not in installed:
        others = [name for name in _GRAPH_ENGINES if name in installed]
        raise MissingExtraError(
            f"{path} was optimised for {optimized.engine} in {optimized.precision}, which is not installed here.",
            next_step=f"Run: pip install {optimized.engine}"
            + (f"; or run it with --engine {others[0]}, which may be slower." if others else ""),
        )
    is_emulated = optimized.precision == "bf16" and best.precision != "bf16"
    return replace(best, name=optimized.engine, precision="fp32" if is_emulated else optimized.precision)


def as_wanted(engine: str, best: EngineChoice) -> EngineChoice:
    """Return what was asked for; a machine with CUDA runs graphs on its CPU, for torch runs modules only.

    Raises
    ------
    UsageError
        There is no such engine for bundles.
    """
    if engine in ("auto", best.name):
        return best
    if engine in _GRAPH_ENGINES:
        return replace(best, name=_GRAPH_ENGINES[engine], precision="fp32")
    raise UsageError(
        f"There is no engine {engine!r} for bundles.", next_step="Use auto, openvino or onnxruntime."
    )
