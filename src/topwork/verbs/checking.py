"""`check`: look at data as a fit would, without fitting."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from topwork import plugins
from topwork.contracts import Dataset, Split, has_one_label
from topwork.data.check import Findings, examine, require_enough
from topwork.data.columns import Columns
from topwork.data.reading import read
from topwork.data.split import make_split
from topwork.engines.machine import survey
from topwork.errors import DataError
from topwork.inputs import modality as modality_named
from topwork.steps.duplicates import near_pairs
from topwork.steps.events import with_events
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
    task = plugins.task(options.task)
    dataset = read(data, options.reading())
    dataset = with_events(dataset, options.event, dict.fromkeys(dataset.targets, task))
    modality = modality_named(dataset.modality)
    decode = partial(modality.decode, preprocessing=modality.inspection_preprocessing())
    seen = inspect(dataset, decode, n_threads=survey().n_cores, progress=around.progress)
    numeric = () if has_one_label(task.link) else tuple(dataset.targets)
    findings = examine(dataset, seen.inspections, near_pairs(seen, modality), numeric)
    try:
        require_enough(findings, dataset)
        split, told = _split(dataset, findings, seed, options)
        return DataCheck(dataset, replace(findings, lines=(*findings.lines, *told)), split, None)
    except DataError as error:
        return DataCheck(dataset, findings, None, error.problem)


def _split(
    dataset: Dataset, findings: Findings, seed: int, options: FitOptions
) -> tuple[Split, tuple[str, ...]]:
    """Split as a fit would, and say how the first target was read."""
    first = next(iter(dataset.targets.values()))
    target = plugins.task(options.task).learn([first[row] for row in findings.usable])
    how = options.splitting(seed)
    return make_split(dataset, findings, target.encode(first), how), target.understood
