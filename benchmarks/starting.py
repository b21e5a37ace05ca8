"""How soon topwork is there at all: ``import topwork`` and ``topwork --help``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks.figures import Goal, Spread, Table
from benchmarks.place import Place
from benchmarks.processes import TOPWORK, run
from benchmarks.results import Section

_N_RUNS = 20


def measure(place: Place) -> Section:
    """Start processes, one kind after the other in each round."""
    python = (sys.executable, "-c")
    commands = {
        "python, nothing imported": (*python, "pass"),
        "import numpy": (*python, "import numpy"),
        "import topwork": (*python, "import topwork"),
        "topwork --help": (*TOPWORK, "--help"),
    }
    times = _rounds(commands, place)
    imported = Spread(tuple(a - b for a, b in _pairs(times, "import topwork", "python, nothing imported")))
    return Section(
        name="starting",
        title="Starting",
        goals=(
            Goal("`import topwork`, less the start of Python,", imported, "at most", 0.15, "s", 3),
            Goal("`topwork --help`, the whole process,", times["topwork --help"], "at most", 0.3, "s", 3),
        ),
        tables=(Table(("process", "seconds"), [(f"`{k}`", v.shown(3)) for k, v in times.items()]),),
        notes=(f"{len(imported.values)} rounds, after one that is not counted.",),
    )


def _rounds(commands: dict[str, tuple[str, ...]], place: Place) -> dict[str, Spread]:
    found: dict[str, list[float]] = {name: [] for name in commands}
    for command in commands.values():
        run(command)  # fills the system's cache of files
    for _ in place.rounds(_N_RUNS, "starting"):
        for name, command in commands.items():
            found[name].append(run(command).wall_s)
    return {name: Spread(tuple(walls)) for name, walls in found.items()}


def _pairs(times: dict[str, Spread], one: str, other: str) -> Sequence[tuple[float, float]]:
    return list(zip(times[one].values, times[other].values, strict=True))
