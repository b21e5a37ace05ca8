"""Our side of the few-shot benchmark: the probe as a fit makes it first, on features that are not cached.

Run as a process of its own: ``python -m benchmarks.fewshot_side JSON``; it prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.text_sides import TRUNK
from topwork import Surroundings, plugins
from topwork.contracts import Array, Budget, FitJob, Goal, Split
from topwork.data.split import SplitOptions, make_folds
from topwork.inputs import TEXT
from topwork.progress import Quiet
from topwork.recipes.probe import PROBE
from topwork.steps.transfer import Preparation
from topwork.training.reading import Runner, read_features


def main() -> None:
    """Fit each draw; seconds are those from the texts to the head, the network being loaded."""
    asked = json.loads(sys.argv[1])
    reader = _Reader(Path(asked["cache"]))
    splits = [json.loads(Path(path).read_text(encoding="utf-8")) for path in asked["splits"]]
    reader.features([text for text, _ in splits[0]["test"][:8]])  # the first texts wait for the engine
    print(json.dumps([_fit(split, reader) for split in splits]))


class _Reader:
    """Reads texts through the default engine, as a fit does."""

    def __init__(self, cache: Path) -> None:
        self._trunk: Any = plugins.trunks()[TRUNK]
        around = Surroundings(cache_dir=cache, progress=Quiet())
        self._preparation = Preparation(self._trunk, TEXT, around)
        self._engine = self._preparation.engine()

    def features(self, texts: list[str]) -> Array:
        """Return ``float32 [n, d]``."""
        part = _Texts(tuple(text.encode() for text in texts))
        runner = Runner(lambda: self._engine, {"features": self._trunk.card.n_features})
        spec, n_threads = self._trunk.preprocessing, self._preparation.machine.n_cores
        decode = partial(TEXT.decode, preprocessing=spec)
        return read_features(part, decode, runner, n_threads=n_threads, progress=Quiet()).features


@dataclass(frozen=True, slots=True)
class _Texts:
    """Encoded texts as a reading pass takes them."""

    encoded: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.encoded)

    def read(self, row: int) -> bytes:
        """Return an encoded text."""
        return self.encoded[row]


def _fit(split: Mapping[str, Any], reader: _Reader) -> dict[str, Any]:
    texts, labels = zip(*split["train"], strict=True)
    truth = np.array([split["labels"].index(label) for label in labels])
    began_s = time.perf_counter()
    head = PROBE(_job(reader.features(list(texts)), truth, split["seed"])).heads["label"]
    seconds = time.perf_counter() - began_s
    scores = head.scores(reader.features([text for text, _ in split["test"]]))
    return {"seconds": seconds, "answers": [split["labels"][answer] for answer in scores.argmax(axis=1)]}


def _job(features: Array, truth: Array, seed: int) -> FitJob:
    rows = np.arange(len(truth))
    none = np.arange(0)
    folds = make_folds(Split(rows, none, none, rows, "", seed), truth, SplitOptions(seed))
    goal = Goal(truth, "softmax", int(truth.max()) + 1)
    return FitJob(features, {"label": goal}, folds, seed, Budget(time.perf_counter), Quiet())


if __name__ == "__main__":
    main()
