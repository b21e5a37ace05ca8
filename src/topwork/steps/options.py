"""What a caller may choose about a fit besides the data; flat, typed, and each with a default that works."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from topwork import progress
from topwork.contracts import Clock, Progress
from topwork.data.reading import Layout, ReadOptions
from topwork.data.split import SplitOptions
from topwork.engines.machine import DeviceName
from topwork.errors import UsageError
from topwork.steps.settings import Value
from topwork.storage import cache_folder

__all__ = [
    "DEFAULT_RECIPE",
    "DEFAULT_TASK",
    "FitOptions",
    "ProofLevel",
    "Surroundings",
    "duration_s",
]

ProofLevel = Literal["none", "quick", "standard", "full"]
DEFAULT_TASK = "classification"
DEFAULT_RECIPE = "ladder"
DEFAULT_BUDGET = "5m"
_CACHE_LIMIT_BYTES = 4 * 2**30
_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0}


@dataclass(frozen=True, slots=True)
class FitOptions:
    """How the data are to be read and split, and what may go into the bundle.

    Attributes
    ----------
    input, target, group, time
        Columns of a table: the file name, the labels, what must stay together, the time to split by.
    layout
        What kind of data set it is; ``auto`` finds out.
    keep_training_data
        Whether pictures of the training set may go into bundle and report.
    golden
        A folder of inputs for the proof, in place of training examples.
    task
        What the targets are: the name of a task for all of them, or names of targets to names of tasks; a target that
        has none is a classification.
    n_folds
        Folds of cross-validation where there is no validation side.
    test_fraction
        Part of the rows that is held out as the test where the data bring none of their own; 0 fits on all rows, so
        that there is no test, nor a proof.
    steps
        Optimiser steps of training, in place of a length that the budget decides.
    resume
        Go on with the fit to the same bundle that was killed.
    proof
        How much is found out about the model besides its test score: ``none``; ``quick`` leaves out what trains
        networks; ``standard`` trains one from scratch for as long; ``full`` does so for several seeds.
    slices
        Columns of a table by which the score is told apart; brightness and size of pictures and the source folder
        are looked at in any case.
    onward
        A bundle to go on from: its network is the trunk.
    labels
        A table of corrected labels, as a fit leaves it beside its bundle and the user has edited it.
    error_cost
        What a wrong answer costs, in units of having a person answer; gives the probability to answer from.
    recipe_settings
        The recipe's own settings by name, in place of their defaults; words are read as what the setting is.
    event
        Column that says whether the event happened at the time of its row, where the target is a column of times.
    adapter_only
        Leave out of the bundle what the trunk has: it names the trunk, and takes the weights from it when it opens.
    keep_examples
        Whether the bundle keeps some training inputs as the network takes them, for `topwork bundle optimize`; never
        without ``keep_training_data``, nor with ``adapter_only``.
    """

    input: str | None = None
    target: tuple[str, ...] = ()
    group: str | None = None
    time: str | None = None
    layout: Layout = "auto"
    keep_training_data: bool = True
    golden: Path | None = None
    task: str | Mapping[str, str] = DEFAULT_TASK
    n_folds: int = 5
    test_fraction: float = 0.2
    steps: int | None = None
    resume: bool = False
    proof: ProofLevel = "standard"
    slices: tuple[str, ...] = ()
    onward: Path | None = None
    labels: Path | None = None
    error_cost: float | None = None
    recipe_settings: Mapping[str, Value] = field(default_factory=dict)
    event: str | None = None
    adapter_only: bool = False
    keep_examples: bool = True

    def reading(self) -> ReadOptions:
        """Return the part that readers of data need."""
        return ReadOptions(self.input, self.target, self.group, self.time, self.layout)

    def splitting(self, seed: int) -> SplitOptions:
        """Return the part that splits need."""
        return SplitOptions(seed, self.group, self.time, self.test_fraction, self.n_folds)


def _stderr() -> Progress:
    return progress.on(sys.stderr)


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a verb finds around it: where caches live, how it tells of progress, what the clocks say.

    Attributes
    ----------
    cache_dir
        Folder for weights, graphs and features; by default the user's own, or ``TOPWORK_CACHE``.
    cache_limit_bytes
        Where the feature cache begins to forget.
    began_s
        Reading of ``clock`` when the process began, as far as it is known.
    command
        How the call would be written in a terminal, for the record.
    engine
        ``auto``, or the name of an engine that must be used.
    device
        ``auto`` reads the data on a GPU where torch sees one, and trains on the processor; ``cpu`` leaves a GPU alone;
        ``cuda`` trains on it as well, which needs ``CUBLAS_WORKSPACE_CONFIG=:4096:8`` in the environment.
    should_stop
        Asked between two steps whether the user wants the best so far.
    n_cores
        Most cores to keep busy; by default those that this process has.
    shelf
        Folder in which networks lie as files that several processes map; by default each process has its own.
    """

    cache_dir: Path = field(default_factory=cache_folder)
    cache_limit_bytes: int = _CACHE_LIMIT_BYTES
    progress: Progress = field(default_factory=_stderr)
    clock: Clock = time.perf_counter
    wall_clock: Clock = time.time
    began_s: float | None = None
    command: str = ""
    engine: Literal["auto", "openvino", "onnxruntime", "torch"] = "auto"
    device: DeviceName = "auto"
    should_stop: Callable[[], bool] = _never
    n_cores: int | None = None
    shelf: Path | None = None


def duration_s(text: str | float | None) -> float:
    """Turn ``90``, ``90s``, ``2m`` or ``1h30m`` into seconds; None or ``none`` means no limit.

    Raises
    ------
    UsageError
        It is no such duration, or not longer than zero.
    """
    if text is None or text == "none":
        return float("inf")
    parts = re.fullmatch(
        r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", str(text).strip()
    )
    amounts = parts.groups() if parts else (None,) * 3
    seconds = sum(float(a) * unit for a, unit in zip(amounts, _UNITS_S.values(), strict=True) if a)
    if seconds <= 0:
        raise UsageError(
            f"{text!r} is no duration; expected something like 90s, 2m or 1h30m.",
            next_step="Give --budget none for no limit.",
        )
    return seconds
