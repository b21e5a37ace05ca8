"""Our side of the few-shot benchmark: the probe as a fit makes it first, on features that are not cached.

Run as a process of its own: ``python -m benchmarks.fewshot_side JSON``; it prints one JSON object. With ``"recipe":
"contrast"`` the upper layers are tuned on pairs besides.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from benchmarks.text_sides import TRUNK
from topwork import Surroundings, plugins
from topwork.contracts import Array, Budget, Dataset, FitJob, Fitted, Goal, Split
from topwork.data.split import SplitOptions, make_folds
from topwork.inputs import TEXT
from topwork.progress import Quiet
from topwork.recipes.contrast import CONTRAST
from topwork.recipes.probe import PROBE
from topwork.steps.material import TrunkMaterial, resources_of
from topwork.steps.transfer import Preparation
from topwork.training.probe import log_loss
from topwork.training.reading import Runner, read_features

_NONE: Mapping[str, Array] = MappingProxyType({})


def main() -> None:
    """Fit each draw; seconds are those from the texts to the head, the network being loaded."""
    asked = json.loads(sys.argv[1])
    reader = _Reader(Path(asked["cache"]))
    splits = [json.loads(Path(path).read_text(encoding="utf-8")) for path in asked["splits"]]
    reader.features([text for text, _ in splits[0]["test"][:8]])  # the first texts wait for the engine
    fit = _FITS[asked.get("recipe", "probe")]
    if fit is not _probe:
        fit(splits[0], reader)  # what a first fit imports is loaded before time is taken
    print(json.dumps([_told(split, fit(split, reader)) for split in splits]))


class _Reader:
    """Reads texts through the default engine, as a fit does."""

    def __init__(self, cache: Path) -> None:
        self._trunk: Any = plugins.trunks()[TRUNK]
        self._around = Surroundings(cache_dir=cache, progress=Quiet())
        self._preparation = Preparation(self._trunk, TEXT, self._around)
        self._engine = self._preparation.engine()

    def features(self, texts: list[str], weights: Mapping[str, Array] = _NONE) -> Array:
        """Return ``float32 [n, d]``, by the network as it is or with other weights."""
        part, engine = _Texts(tuple(text.encode() for text in texts)), self._engine
        if weights:
            graph = self._preparation.graph()
            engine = self._preparation.engine_on(replace(graph, weights={**graph.weights, **weights}))
        runner = Runner(lambda: engine, {"features": self._trunk.card.n_features})
        spec, n_threads = self._trunk.preprocessing, self._preparation.machine.n_cores
        decode = partial(TEXT.decode, preprocessing=spec)
        return read_features(part, decode, runner, n_threads=n_threads, progress=Quiet()).features

    def material(self, texts: list[str]) -> TrunkMaterial:
        """Return what a recipe trains with."""
        part = _Texts(tuple(text.encode() for text in texts))
        data = Dataset("text", tuple(str(row) for row in range(len(texts))), part.read, {})
        resources = resources_of(self._preparation.machine)
        return TrunkMaterial(self._trunk, self._around, data, TEXT, np.arange(len(texts)), resources)


@dataclass(frozen=True, slots=True)
class _Texts:
    """Encoded texts as a reading pass takes them."""

    encoded: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.encoded)

    def read(self, row: int) -> bytes:
        """Return an encoded text."""
        return self.encoded[row]


@dataclass(frozen=True, slots=True)
class _Fit:
    """What was learned, in how many seconds, and what it says of the test texts."""

    seconds: float
    scores: Array


def _probe(split: Mapping[str, Any], reader: _Reader) -> _Fit:
    texts, truth = _learned_from(split)
    began_s = time.perf_counter()
    fitted = PROBE(_job(reader.features(texts), truth, split["seed"]))
    return _Fit(time.perf_counter() - began_s, _scores(split, reader, fitted))


def _contrast(split: Mapping[str, Any], reader: _Reader) -> _Fit:
    texts, truth = _learned_from(split)
    began_s = time.perf_counter()
    job = _job(reader.features(texts), truth, split["seed"])
    fitted = CONTRAST(replace(job, material=reader.material(texts)))
    return _Fit(time.perf_counter() - began_s, _scores(split, reader, fitted))


_FITS: Mapping[str, Callable[[Mapping[str, Any], _Reader], _Fit]] = {"probe": _probe, "contrast": _contrast}


def _learned_from(split: Mapping[str, Any]) -> tuple[list[str], Array]:
    texts, labels = zip(*split["train"], strict=True)
    return list(texts), np.array([split["labels"].index(label) for label in labels])


def _scores(split: Mapping[str, Any], reader: _Reader, fitted: Fitted) -> Array:
    return fitted.heads["label"].scores(reader.features([text for text, _ in split["test"]], fitted.weights))


def _told(split: Mapping[str, Any], fit: _Fit) -> dict[str, Any]:
    truth = np.array([split["labels"].index(label) for _, label in split["test"]])
    answers = [split["labels"][answer] for answer in fit.scores.argmax(axis=1)]
    return {"seconds": fit.seconds, "answers": answers, "log_loss": log_loss(truth, fit.scores)}


def _job(features: Array, truth: Array, seed: int) -> FitJob:
    rows = np.arange(len(truth))
    none = np.arange(0)
    folds = make_folds(Split(rows, none, none, rows, "", seed), truth, SplitOptions(seed))
    goal = Goal(truth, "softmax", int(truth.max()) + 1)
    return FitJob(features, {"label": goal}, folds, seed, Budget(time.perf_counter), Quiet())


if __name__ == "__main__":
    main()
