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

__all__ = ["Peer", "Timed", "best_of", "export_network", "tuned"]

_TRY_S = 4.0
_QUICK_TRY_S = 0.5
_NO_LIMIT_S = 1e9
_N_SEARCH, _N_QUICK_SEARCH = 100, 20
"""Steps of `lr_find`; the first is its default."""
_RESTING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "20000"}
"""As topwork's commands set them."""
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
        self, split: PhotoSplit, settings: Fitting, *, n_epochs: int, limit_s: float = _NO_LIMIT_S
    ) -> Learned:
        """Fit once, malloc tuned; no epoch begins ``limit_s`` seconds after the start of the process."""
        chosen = {
            "settings": asdict(settings),
            "n_epochs": n_epochs,
            "limit_s": limit_s,
            "n_search": _N_QUICK_SEARCH if self.place.is_quick else _N_SEARCH,
        }
        found = self._call(split, "fit", chosen, tuned(settings))
        moments = tuple(Moment(*moment) for moment in found.pop("moments"))
        return Learned(moments, truth=split.truth, **found)

    def fastest(
        self, split: PhotoSplit, first: Fitting, kinds: Sequence[Fitting], n_cores: int
    ) -> list[Timed]:
        """Time settings as they come, then kinds of arithmetic and looks, then workers and waiting; best first."""
        timed = self._time(split, [first], {}, is_tuned=False)
        timed += self._time(split, kinds, tuned(kinds[0]))
        if not self.place.is_quick:
            best = best_of(timed).settings
            workers = [replace(best, n_workers=n, n_threads=t) for n, t in ((n_cores, 1), (1, 0))]
            resting = [replace(one, rests=True) for one in (best, *workers, replace(best, n_workers=n_cores))]
            timed += self._time(split, workers, tuned(best))
            timed += self._time(split, resting, tuned(resting[0]))
        return sorted(timed, key=lambda one: -one.per_s)

    def _time(
        self, split: PhotoSplit, tried: Sequence[Fitting], env: Mapping[str, str], *, is_tuned: bool = True
    ) -> list[Timed]:
        """Measure short stretches of training, decoding included, one after the other in a process."""
        found = self._rates(split, tried, env, _QUICK_TRY_S if self.place.is_quick else _TRY_S)
        return [Timed(one, per_s, is_tuned) for one, per_s in zip(tried, found, strict=True)]

    def epoch_per_s(self, split: PhotoSplit, timed: Timed) -> float:
        """Measure images per second over a whole epoch, in a process of its own."""
        env = tuned(timed.settings) if timed.is_tuned else {}
        limit_s = _QUICK_TRY_S if self.place.is_quick else _NO_LIMIT_S
        (per_s,) = self._rates(split, [timed.settings], env, limit_s)
        return per_s

    def _rates(
        self, split: PhotoSplit, tried: Sequence[Fitting], env: Mapping[str, str], limit_s: float
    ) -> list[float]:
        chosen = {"settings": [asdict(one) for one in tried], "limit_s": limit_s}
        found: list[float] = self._call(split, "time", chosen, env)
        return found

    def _call(
        self, split: PhotoSplit, does: str, chosen: Mapping[str, object], env: Mapping[str, str]
    ) -> Any:
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
        return run_side(self.module, asked, {**_SOURCE, **env}, python=self.python).last_json()


def tuned(settings: Fitting) -> dict[str, str]:
    """Return what topwork does for its own process as well: keep memory, and let waiting threads sleep."""
    return MALLOC_TUNED | (_RESTING if settings.rests else {})


def best_of(timed: Sequence[Timed]) -> Timed:
    """Return the fastest."""
    return max(timed, key=lambda one: one.per_s)


def export_network(place: Place) -> dict[str, object]:
    """Write the weights of topwork's own trunk as a state dict, and return what a peer needs to load them."""
    path = place.temporary / "weights.pth"
    asked = {"cache": str(place.topwork_cache), "out": str(path)}
    return {"weights": str(path), **run_side("weights_side", asked).last_json()}
