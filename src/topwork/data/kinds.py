"""Which kind of inputs a folder or an archive holds: pictures or texts. It knows no label and no table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath

from topwork.contracts import Modality
from topwork.data.folders import is_candidate
from topwork.data.trees import Tree
from topwork.errors import DecodeError
from topwork.inputs import modalities
from topwork.inputs import modality as modality_named

__all__ = ["by_suffix", "kind_of", "left_aside"]

_N_LOOKED_AT = 5


def kind_of(tree: Tree) -> Modality:
    """Return the kind that most files in folders have by their suffix; pictures where two are level.

    Where no suffix says it, a few files are looked at: texts if all of them are.
    """
    found = by_suffix(_in_folders(tree))
    if found is not None:
        return found
    texts, pictures = modality_named("text"), modality_named("image")
    unknown = [name for name in _in_folders(tree) if is_candidate(name, texts)]
    looked_at = unknown[:: max(1, len(unknown) // _N_LOOKED_AT)][:_N_LOOKED_AT]
    return texts if looked_at and all(_fits(tree, name, texts) for name in looked_at) else pictures


def by_suffix(names: Iterable[str]) -> Modality | None:
    """Return the kind that most of the files have by their suffix; None where none has any."""
    counts = _counts(names)
    return max(modalities(), key=lambda one: counts[one.name]) if counts else None


def left_aside(tree: Tree, taken: Modality) -> tuple[str, ...]:
    """Say which inputs of other kinds lie in the folders, and are not taken."""
    counts = _counts(_in_folders(tree))
    return tuple(
        f"{counts[taken.name]:,} {taken.wire.noun}s were taken; {counts[other.name]:,} {other.wire.noun}s "
        "that lie among them were not."
        for other in modalities()
        if other.name != taken.name and counts[other.name]
    )


def _counts(names: Iterable[str]) -> Counter[str]:
    kinds = {suffix: one.name for one in modalities() for suffix in one.suffixes}
    suffixes = Counter(PurePosixPath(name).suffix.lower() for name in names)
    counts = Counter[str]()
    for suffix in suffixes.keys() & kinds.keys():
        counts[kinds[suffix]] += suffixes[suffix]
    return counts


def _in_folders(tree: Tree) -> list[str]:
    """Return the files that are not notes, and lie in a folder, where any does."""
    names = [name for name in tree.names if any(is_candidate(name, one) for one in modalities())]
    return [name for name in names if "/" in name] or names


def _fits(tree: Tree, name: str, modality: Modality) -> bool:
    try:
        modality.decode(tree.read(name), modality.inspection_preprocessing())
    except DecodeError:
        return False
    return True
