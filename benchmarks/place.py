"""Where benchmarks work: a cache of their own, photos, and folders that go away."""

from __future__ import annotations

import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from benchmarks.processes import PROBE_ALONE, TOPWORK, run

__all__ = ["Place"]

_EXAMPLE = Path(__file__).parent.parent / "examples" / "chess_photos.py"


@dataclass(frozen=True, slots=True)
class Place:
    """What a benchmark is given.

    Attributes
    ----------
    cache
        Folder that stays between runs: photos, and topwork's own cache in ``topwork``.
    temporary
        Folder that goes when the benchmark ends.
    is_quick
        Few runs on few inputs, to try the benchmark itself; the figures mean nothing.
    hotdog
        The archive of the hot-dog photos, where there is one.
    n_seeds
        How many splits the training benchmarks go through.
    soak_s
        How long a server is asked whose memory is to stay what it is.
    shots
        How many examples of each class ``fewshot`` learns from.
    n_draws
        How often it draws them.
    """

    cache: Path
    temporary: Path
    is_quick: bool = False
    hotdog: Path | None = None
    n_seeds: int = 5
    soak_s: float = 120.0
    shots: tuple[int, ...] = (8, 16, 64)
    n_draws: int = 20

    def rounds(self, wanted: int, what: str) -> Iterator[int]:
        """Count how often to measure, from 0, and tell that the benchmark is alive."""
        n_rounds = min(wanted, 2) if self.is_quick else wanted
        for number in range(n_rounds):
            print(f"{what}, {number + 1} of {n_rounds}", file=sys.stderr, flush=True)
            yield number

    def seeds(self, what: str) -> Iterator[int]:
        """Give the seeds of the splits, and tell that the benchmark is alive."""
        n_seeds = 1 if self.is_quick else self.n_seeds
        for seed in range(n_seeds):
            print(f"{what}, split {seed + 1} of {n_seeds}", file=sys.stderr, flush=True)
            yield seed

    @property
    def topwork_cache(self) -> Path:
        """The cache of weights that benchmarks share; never the user's own."""
        return self.cache / "topwork"

    def env(self, topwork_cache: Path | None = None) -> dict[str, str]:
        """Return the variables that point topwork to a cache."""
        return {"TOPWORK_CACHE": str(topwork_cache or self.topwork_cache)}

    def photos(self) -> Path:
        """Return the folder of the chess photos, fetched once."""
        run([sys.executable, str(_EXAMPLE), str(self.cache)])
        return self.cache / "chess"

    def hotdog_photos(self) -> Path:
        """Unpack the hot-dog photos, and return their folder with ``train`` and ``test`` in it."""
        if self.hotdog is None:
            raise RuntimeError("There is no archive of the hot-dog photos; give it with --hotdog FILE.")
        with tarfile.open(self.hotdog) as archive:
            archive.extractall(self.temporary, filter="data")
        return self.temporary / "hotdog"

    def bundle(self) -> Path:
        """Return a bundle fitted on the chess photos by the code at hand."""
        bundle = self.temporary / "chess.topwork"
        run([*TOPWORK, "fit", str(self.photos()), *PROBE_ALONE, "--out", str(bundle)], self.env())
        return bundle


def user_cache() -> Path:
    """Return the folder for `Place.cache`."""
    return Path(platformdirs.user_cache_dir("topwork-benchmarks"))
