"""Which trunks there are to choose from: those of the catalogue that are here, and those that the caller names."""

from __future__ import annotations

from pathlib import Path

from topwork import plugins
from topwork.contracts import Trunk
from topwork.trunks import is_here, resolve

__all__ = ["AUTO", "candidates", "is_auto", "named_with"]

AUTO = "auto"
"""Stands for a trunk that is to be chosen; ``auto:NAME,NAME`` has these two to choose from as well."""


def is_auto(word: str | None) -> bool:
    """Tell whether a trunk is to be chosen."""
    return word is not None and word.partition(":")[0] == AUTO


def named_with(word: str) -> tuple[Trunk, ...]:
    """Return the trunks that ``auto:NAME,NAME`` names.

    Raises
    ------
    UsageError
        A name means nothing.
    WeightsError
        A folder or a repository is not what it should be, or cannot be had.
    """
    _, several, names = word.partition(":")
    known = plugins.trunks()
    return tuple(resolve(name.strip(), known) for name in names.split(",")) if several else ()


def candidates(
    default: Trunk, named: tuple[Trunk, ...], needs: frozenset[str], cache_dir: Path
) -> tuple[Trunk, ...]:
    """Return what there is to choose from, the first of which the data are read with, then from small to large.

    Of the catalogue those count that take what the default takes, need no download, and offer what is needed. Where
    there is neither one of them nor one that is named, the default is all there is.
    """
    here = [
        trunk
        for trunk in plugins.trunks().values()
        if trunk.card.modality == default.card.modality
        and needs <= trunk.card.offers
        and is_here(trunk.card, cache_dir)
    ]
    every = {trunk.identity: trunk for trunk in (*here, *named)} or {default.identity: default}
    return tuple(sorted(every.values(), key=lambda one: (_weights(one) != _weights(default), _size(one))))


def _weights(trunk: Trunk) -> str:
    return trunk.card.weights_sha256  # the same however a recipe wants its tokens pooled


def _size(trunk: Trunk) -> tuple[int, str]:
    return trunk.card.n_parameters, trunk.card.name
