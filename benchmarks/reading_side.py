"""One side of the extraction benchmark: topwork's own reading pass, and the parts that bound it.

Run as a process of its own: ``python -m benchmarks.reading_side JSON`` prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from benchmarks.sides import TRUNK
from topwork import Surroundings, plugins
from topwork.contracts import Array, Decoded, Engine
from topwork.engines.memory import keep_memory
from topwork.inputs import IMAGE
from topwork.progress import Quiet
from topwork.steps.transfer import Preparation
from topwork.training.reading import BATCH, Runner, read_features

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Files:
    """The part of a data set that a reading pass needs: files, read anew each time."""

    paths: Sequence[Path]

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, row: int) -> bytes:
        """Return the content of a file."""
        return self.paths[row].read_bytes()


@dataclass(frozen=True, slots=True)
class Timed(Generic[Result]):
    """What some work gave, the seconds it took, and the seconds of all cores together."""

    result: Result
    wall_s: float
    cpu_s: float

    @classmethod
    def of(cls, work: Callable[[], Result]) -> Timed[Result]:
        """Do the work."""
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        result = work()
        return cls(result, time.perf_counter() - began_s, time.process_time() - began_cpu_s)


def main() -> None:
    """Run the pass, and before it its parts where they are asked for, on the same files."""
    asked = json.loads(sys.argv[1])
    keep_memory()  # as every command does when it starts
    files = Files([Path(path) for path in asked["paths"]])
    around = Surroundings(cache_dir=Path(asked["cache"]), progress=Quiet())
    trunk = plugins.trunks()[TRUNK]
    preparation = Preparation(trunk, IMAGE, around)
    engine = preparation.engine()
    decode = partial(IMAGE.decode, preprocessing=trunk.preprocessing)
    found = _parts(files, decode, engine) if asked["parts"] else {}
    runner = Runner(lambda: engine, {"features": trunk.card.n_features})
    n_threads = preparation.machine.n_cores
    done = Timed.of(lambda: read_features(files, decode, runner, n_threads=n_threads, progress=Quiet()))
    found["per_s"], found["cpu_ms"] = len(files) / done.wall_s, 1000 * done.cpu_s / len(files)
    named = f"{engine.name} {engine.version}, {engine.precision}, {engine.n_streams} streams"
    print(json.dumps({**found, "engine": named}))


def _parts(files: Files, decode: Callable[[bytes], Decoded], engine: Engine) -> dict[str, float]:
    """Measure decoding in one thread, and the engine on what was decoded with all its streams busy."""
    decoding = Timed.of(lambda: [decode(files.read(row)).tensor for row in range(len(files))])
    running = Timed.of(lambda: _run(engine, decoding.result))
    return {
        "decode_ms": 1000 * decoding.wall_s / len(files),
        "engine_per_s": len(files) / running.wall_s,
        "parts_cpu_ms": 1000 * (decoding.cpu_s + running.cpu_s) / len(files),
    }


def _run(engine: Engine, tensors: Sequence[Array]) -> None:
    batches = [np.stack(tensors[i : i + BATCH]) for i in range(0, len(tensors), BATCH)]
    with ThreadPoolExecutor(engine.n_streams) as pool:
        list(pool.map(engine.run, batches))


if __name__ == "__main__":
    main()
