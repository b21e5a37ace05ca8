"""Several engines as one: each batch goes through all of them, so that inputs are read and decoded once.

It knows nothing of what the engines run.
"""

from __future__ import annotations

from collections.abc import Sequence

from topwork.contracts import Array, Engine, Precision

__all__ = ["Chorus", "part_name"]


def part_name(place: int, output: str) -> str:
    """Return the name under which a chorus gives an output of the engine at a place."""
    return f"{place}.{output}"


class Chorus:
    """Engines on the same inputs, one after the other; see `topwork.contracts.Engine`.

    Parameters
    ----------
    engines
        At least one; each gives its outputs under the names of `part_name`.
    """

    name = "several"
    version = ""
    precision: Precision = "fp32"

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._engines = tuple(engines)
        self.n_streams = min(one.n_streams for one in engines)

    def run(self, batch: Array) -> dict[str, Array]:
        """Run a raw batch ``[n, ...]`` through every engine."""
        return {
            part_name(place, name): output
            for place, engine in enumerate(self._engines)
            for name, output in engine.run(batch).items()
        }
