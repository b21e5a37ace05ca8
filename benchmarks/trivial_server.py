"""A server of a model that does next to nothing, or only takes its time: what is measured is the server.

``python -m benchmarks.trivial_server JSON --port N`` serves until it is told to stop. It knows no benchmark.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from topwork.contracts import Answer, Json, Wire
from topwork.serving.app import application
from topwork.serving.limits import Limits
from topwork.serving.server import run

__all__ = ["Trivial"]

Service = Literal["none", "fixed", "exponential"]


@dataclass
class Trivial:
    """A servable that tells how long an input is.

    Parameters
    ----------
    service
        Whether it takes no time, the mean each time, or times of an exponential distribution. It sleeps, and so takes
        no processor.
    mean_s
        Mean time of an input.
    """

    service: Service = "none"
    mean_s: float = 0.0
    _draw: random.Random = field(default_factory=lambda: random.Random(0))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    name = "trivial"
    wire = Wire("base64", (), "file", 1 << 20, "input")
    about: Mapping[str, Json] = field(default_factory=dict)
    explanation_schema = None

    @property
    def answer_schema(self) -> Mapping[str, Json]:
        """The length of an input."""
        return {"type": "object", "properties": {"n_bytes": {"type": "integer"}}, "required": ["n_bytes"]}

    def prove(self) -> None:
        """Find nothing to prove."""

    def submit(self, inputs: Sequence[bytes]) -> Iterator[Answer]:
        """Answer with the length of each input."""
        for index, given in enumerate(inputs):
            if self.service != "none":
                time.sleep(self._service_s())
            yield Answer(index, {"n_bytes": len(given)})

    def explain(self, inputs: Sequence[bytes]) -> Iterator[Answer]:  # noqa: ARG002
        """Explain nothing; it is not asked to."""
        return iter(())

    def _service_s(self) -> float:
        if self.service == "fixed":
            return self.mean_s
        with self._lock:
            return self._draw.expovariate(1 / self.mean_s)


def main() -> None:
    """Serve by the settings on the command line: those of `Trivial`, and ``limits`` as of `Limits`."""
    settings = json.loads(sys.argv[1])
    limits = Limits(**settings.pop("limits", {}))
    run(application(Trivial(**settings), limits), port=int(sys.argv[sys.argv.index("--port") + 1]))


if __name__ == "__main__":
    main()
