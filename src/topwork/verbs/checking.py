"""`check`: look at data as a fit would, without fitting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from topwork.contracts import Dataset, Split, Task
from topwork.data.check import Findings, examine, require_enough
from topwork.data.columns import Columns
from topwork.data.reading import read
from topwork.data.split import SplitOptions, make_split
from topwork.engines.machine import survey
from topwork.errors import DataError
from topwork.inputs import modality as modality_named
from topwork.steps.duplicates import near_pairs
from topwork.steps.events import with_events
from topwork.steps.kinds import (
    encoded,
    learned,
    require_tasks,
    strata_for,
    tasks_of,
    uncounted,
    understood,
)
from topwork.steps.options import FitOptions, Surroundings
from topwork.training.reading import inspect

__all__ = ["DataCheck", "check"]


@dataclass(frozen=True, slots=True)
class DataCheck:
    """What a look at the data showed.

    Attributes
    ----------
    split
        How a fit would split the rows; None where ``obstacle`` says why it would refuse.
    """

    dataset: Dataset
    findings: Findings
    split: Split | None
    obstacle: str | None


def check(
    data: str | Path | Columns,
    *,
    seed: int = 0,
    options: FitOptions | None = None,
    around: Surroundings | None = None,
) -> DataCheck:
    """Read and decode everything, find duplicates and leaks, and try the split.

    ``data`` is a path, a mapping of names to columns, or a pair of texts and labels; see `topwork.data.read`.

    Raises
    ------
    DataError
        The layout cannot be understood at all.
    """
    options, around = options or FitOptions(), around or Surroundings()
    require_tasks(options.task)
    dataset = read(data, options.reading())
    tasks = tasks_of(options.task, dataset.targets)
    dataset = with_events(dataset, options.event, tasks)
    modality = modality_named(dataset.modality)
    decode = partial(modality.decode, preprocessing=modality.inspection_preprocessing())
    seen = inspect(dataset, decode, n_threads=survey().n_cores, progress=around.progress)
    findings = examine(
        dataset, seen.inspections, near_pairs(seen, modality), uncounted(tasks), remarks=modality.remarks
    )
    try:
        require_enough(findings, dataset)
        split, told = _split(dataset, tasks, findings, options.splitting(seed))
        return DataCheck(dataset, replace(findings, lines=(*findings.lines, *told)), split, None)
    except DataError as error:
        return DataCheck(dataset, findings, None, error.problem)


def _split(
    dataset: Dataset, tasks: Mapping[str, Task], findings: Findings, how: SplitOptions
) -> tuple[Split, tuple[str, ...]]:
    """Split as a fit would, and say how the targets were read."""
    targets = learned(tasks, dataset.targets, findings.usable)
    strata = strata_for(encoded(targets, dataset.targets))
    return make_split(dataset, findings, strata, how), understood(targets)
