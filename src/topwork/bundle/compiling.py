"""A bundle is opened and its graph compiled in the engine that suits this machine. It knows no task and no input."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from topwork.bundle.archive import naming
from topwork.bundle.base import FindTrunk, find_trunk
from topwork.bundle.contents import Bundle, Restore, open_bundle, require_answering
from topwork.bundle.model import BundleModel
from topwork.bundle.preference import as_optimized, as_wanted

__all__ = ["model_of", "open_model"]


def open_model(
    path: Path,
    *,
    engine: str = "auto",
    restore: Restore | None = None,
    only: Collection[str] = (),
    find: FindTrunk = find_trunk,
    name: str | None = None,
    n_cores: int | None = None,
    shelf: Path | None = None,
) -> BundleModel:
    """Open a bundle and compile its graph in the engine that suits this machine.

    Parameters
    ----------
    path
        The bundle's file.
    engine
        ``openvino`` or ``onnxruntime``; ``auto`` takes what the bundle was optimised for, else the faster one here.
    restore
        Makes the targets; by default the installed tasks do.
    only
        Targets to answer for; the heads of the others are not computed. Empty for all of them.
    find
        Finds the trunk that a bundle takes weights from; by default among those known here and beside the bundle.
    name
        Name in the API; by default the stem of the file.
    n_cores
        Most cores to keep busy; by default those that this process has.
    shelf
        Folder in which networks lie as files that several processes map; by default this process has its own.

    Raises
    ------
    BundleError
        The bundle is damaged, tampered with or too new.
    UsageError
        There is no such file, no such engine, or no such target.
    MissingExtraError
        The engine that the bundle was optimised for is not installed.
    """
    bundle = open_bundle(path, restore, find)
    return model_of(bundle, engine=engine, only=only, name=name, n_cores=n_cores, shelf=shelf)


def model_of(
    bundle: Bundle,
    *,
    engine: str = "auto",
    only: Collection[str] = (),
    name: str | None = None,
    n_cores: int | None = None,
    shelf: Path | None = None,
) -> BundleModel:
    """Compile the graph of a bundle that is open; see `open_model`."""
    from topwork import inputs
    from topwork.engines import build, choose, survey
    from topwork.engines.machine import shared

    here = shared(survey(), n_cores)
    best, path = choose(replace(here, has_cuda=False)), bundle.path
    optimized = bundle.manifest.optimized
    if engine == "auto" and optimized is not None:
        chosen = as_optimized(optimized, best, installed=here.engines, path=path)
    else:
        chosen = as_wanted(engine, best)
    bundle = bundle.only(only) if only else bundle
    require_answering(bundle)
    modality = inputs.modality(bundle.manifest.modality)
    graph = bundle.graph()
    with naming(path):
        # As many batches at once as there are threads answer the most inputs per second.
        n, place = here.n_cores, _place(bundle, shelf)
        start = partial(build, graph=graph, n_threads=n, n_streams=n, shelf=place)
        built = start(chosen)
    # What was quantised has no fp32 to fall back on; models that share this network share its exact form as well.
    is_exact = built.precision in ("fp32", "int8")
    exact = None if is_exact else cache(partial(start, replace(chosen, precision="fp32")))
    return BundleModel(bundle, modality, built, n_workers=here.n_cores, exact=exact, name=name)


def _place(bundle: Bundle, shelf: Path | None) -> Path | None:
    """Return the folder of a bundle's network, or of what is left of it for some targets."""
    if shelf is None:
        return None
    mark = "\n".join((bundle.identity, *bundle.outputs))
    return shelf / hashlib.sha256(mark.encode()).hexdigest()[:32]
