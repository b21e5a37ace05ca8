"""Calling a peer of the training benchmarks: the same network, weights and split, in a process of its own.

It knows no library; each peer's own module says which settings are tried.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from benchmarks.learning import Learned, Moment
from benchmarks.place import Place
from benchmarks.processes import MALLOC_TUNED, ROOT, run_side
from benchmarks.splits import PhotoSplit
from benchmarks.training_sides import Fitting

__all__ = ["Peer", "Timed", "best_of", "export_network"]

_TRY_S = 4.0
_QUICK_TRY_S = 0.5
_SOURCE = {"PYTHONPATH": str(ROOT / "src")}
"""Lets a side import topwork's guard for torchvision in an environment that has no topwork."""


@dataclass(frozen=True, slots=True)
class Timed:
    """Settings of a peer, whether malloc was tuned for it, and images per second of training all layers."""

    settings: Fitting
    per_s: float
    is_tuned: bool = True

    def shown(self) -> str:
        """Return the settings in a few words."""
        return self.settings.shown() if self.is_tuned else f"as it comes, malloc too: {self.settings.shown()}"


@dataclass(frozen=True, slots=True)
class Peer:
    """A side that can be called.

    Attributes
    ----------
    module
        Of the package ``benchmarks``.
    network
        What `export_network` gave.
    python
        Interpreter that has the library.
    """

    module: str
    network: Mapping[str, object]
    place: Place
    python: str = sys.executable

    def fit(
        self, split: PhotoSplit, settings: Fitting, *, n_epochs: int, limit_s: float = float("inf")
    ) -> Learned:
        """Fit once, malloc tuned; no epoch begins ``limit_s`` seconds after the start of the process."""
        chosen = {"settings": asdict(settings), "n_epochs": n_epochs, "limit_s": min(limit_s, 1e9)}
        found = self._call(split, "fit", chosen, is_tuned=True)
        moments = tuple(Moment(*moment) for moment in found.pop("moments"))
        return Learned(moments, truth=split.truth, **found)

    def speeds(self, split: PhotoSplit, tried: Sequence[Fitting], *, is_tuned: bool = True) -> list[Timed]:
        """Measure short stretches of training, decoding included."""
        limit_s = _QUICK_TRY_S if self.place.is_quick else _TRY_S
        chosen = {"settings": [asdict(one) for one in tried], "limit_s": limit_s}
        found = self._call(split, "speeds", chosen, is_tuned=is_tuned)
        return [Timed(one, per_s, is_tuned) for one, per_s in zip(tried, found, strict=True)]

    def fastest(
        self, split: PhotoSplit, first: Fitting, kinds: Sequence[Fitting], n_cores: int
    ) -> list[Timed]:
        """Try settings as they come, then kinds of arithmetic and looks, then workers for the best; best first."""
        timed = self.speeds(split, [first], is_tuned=False) + self.speeds(split, kinds)
        best = best_of(timed).settings
        workers = [(n_cores, 1), (1, 0)] if not self.place.is_quick else []
        timed += self.speeds(split, [replace(best, n_workers=n, n_threads=t) for n, t in workers])
        return sorted(timed, key=lambda one: -one.per_s)

    def _call(self, split: PhotoSplit, does: str, chosen: Mapping[str, object], *, is_tuned: bool) -> Any:
        folder = self.place.temporary
        asked = {
            **self.network,
            **chosen,
            "does": does,
            "seed": split.seed,
            "split": str(split.write(folder)),
            "folder": str(folder),
            "began_s": time.time(),
        }
        env = {**_SOURCE, **(MALLOC_TUNED if is_tuned else {})}
        return run_side(self.module, asked, env, python=self.python).last_json()


def best_of(timed: Sequence[Timed]) -> Timed:
    """Return the fastest."""
    return max(timed, key=lambda one: one.per_s)


def export_network(place: Place) -> dict[str, object]:
    """Write the weights of topwork's own trunk as a state dict, and return what a peer needs to load them."""
    path = place.temporary / "weights.pth"
    asked = {"cache": str(place.topwork_cache), "out": str(path)}
    return {"weights": str(path), **run_side("weights_side", asked).last_json()}
