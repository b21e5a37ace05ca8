"""What decides the numbers of a run: versions of libraries, and the data as a hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib import metadata

import numpy as np

from topwork.contracts import FitJob

__all__ = ["digest", "version_of", "versions_of"]


def versions_of(packages: Iterable[str]) -> str:
    """Return names and versions, such as ``torch 2.9.0, timm absent``."""
    return ", ".join(f"{name} {version_of(name)}" for name in packages)


def version_of(package: str) -> str:
    """Return a package's version, or ``absent``."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


def digest(job: FitJob) -> str:
    """Return the SHA-256 of all that a run is fitted on; of a sample, of what it begins with."""
    features = job.features if job.sample is None else job.features[job.sample.known]
    found = hashlib.sha256(np.ascontiguousarray(features).data)
    for name, goal in sorted(job.goals.items()):
        found.update(name.encode() + goal.truth.tobytes())
    for fold in job.folds[:1]:
        found.update(fold.train.tobytes() + fold.valid.tobytes())
    return found.hexdigest()
