"""`keep`: a bundle of several targets in, a bundle of some of them out; nothing is fitted."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from topwork.bundle.compiling import open_model
from topwork.bundle.contents import Contents, save
from topwork.steps.options import Surroundings
from topwork.steps.places import Place
from topwork.verbs.model import Model
from topwork.verbs.predicting import load

__all__ = ["keep"]


def keep(
    bundle: str | Path,
    out: str | Path,
    only: str | Sequence[str],
    *,
    around: Surroundings | None = None,
) -> Model:
    """Write a bundle of some targets of another: the heads of the others, and what is told of them, are left out.

    Targets that were only trained along to help the others go so before a model is served. The network, its inputs and
    its golden examples stay as they are, so that what is kept answers as before. Of a bundle that takes weights from a
    trunk, the smaller one holds them all.

    Parameters
    ----------
    bundle, out
        The bundle to take from, and where the smaller one goes.
    only
        Names of the targets to keep.

    Raises
    ------
    BundleError
        The bundle is damaged, tampered with or too new.
    ProofError
        It gives other answers than at the time of its fit.
    UsageError
        It has no target of such a name, none is given, or ``out`` would overwrite it.
    StorageError
        The new bundle cannot be written.
    """
    place = Place.of(Path(bundle), out)
    names = (only,) if isinstance(only, str) else tuple(only)
    model = load(bundle, around=around).only(*names)
    contents = _contents(model, place.bundle.stem)
    save(place.bundle, contents)
    kept = Model(open_model(place.bundle, engine=model.servable.engine.name))
    kept.prove()
    return kept


def _contents(model: Model, name: str) -> Contents:
    bundle = model.servable.bundle
    gone = [target for target in bundle.manifest.targets if target not in bundle.targets]
    told = f"Kept of the bundle {bundle.path.name}; left out: {', '.join(gone) or 'nothing'}."
    record = model.record
    return Contents(
        name=name,
        graph=bundle.graph(),
        preprocessing=model.servable.preprocessing,
        trunk=bundle.manifest.trunk,
        targets=bundle.targets,
        sides=bundle.sides(),
        statistics={
            key: one for key, one in bundle.statistics().items() if not _is_of(key, gone, bundle.targets)
        },
        record=replace(record, name=name, notes=(*record.notes, told)),
        goldens=bundle.goldens(),
        examples=bundle.examples(),
        optimized=bundle.manifest.optimized,
    )


def _is_of(key: str, gone: Collection[str], kept: Collection[str]) -> bool:
    """Tell whether statistics are of a target that goes; its name may be the beginning of one that is kept."""
    return _begins(key, gone) and not _begins(key, kept)


def _begins(key: str, targets: Collection[str]) -> bool:
    return any(key.startswith(f"{target}.") for target in targets)
