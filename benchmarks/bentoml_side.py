"""BentoML serving a network, as its page on adaptive batching has it: photos in a form, batches on.

``python -m bentoml serve benchmarks.bentoml_side:Photos --port N`` in an environment of its own; what it is told stands
in a variable, for BentoML's workers import this anew.
"""

import json
import os
from typing import Any

import bentoml
import PIL.Image

from benchmarks.serving_sides import Network, Serving, tensor_of

_ASKED: dict[str, Any] = json.loads(os.environ["TOPWORK_BENCHMARK_ASKED"])
_SETTINGS = Serving(**_ASKED["settings"])


@bentoml.service(workers=_SETTINGS.n_workers, traffic={"timeout": 60})
class Photos:
    """What BentoML serves."""

    def __init__(self) -> None:
        self.network = Network(_ASKED["network"], _ASKED["output"], _SETTINGS)

    @bentoml.api(batchable=True, max_batch_size=_SETTINGS.max_batch, max_latency_ms=_ASKED["latency_ms"])  # type: ignore[untyped-decorator]
    def predict(self, images: list[PIL.Image.Image]) -> list[dict[str, str]]:
        """Answer a batch."""
        tensors = [tensor_of(one, _ASKED["preprocessing"], _SETTINGS) for one in images]
        return [{"label": label} for label in self.network.labels(tensors, _ASKED["labels"])]
