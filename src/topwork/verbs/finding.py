"""`find_rate`: a sweep of the learning rate over all layers, and what four readings of it suggest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from topwork.contracts import Array, Budget, Chart, FitJob, Point, Series, Workplace
from topwork.data.columns import Columns
from topwork.data.reading import name_of
from topwork.recipes.full import FullSettings, full_rung
from topwork.recipes.probe import PROBE
from topwork.recipes.stretch import in_parts, material_of, probe_heads, stretch_of, told_to_stop
from topwork.report.html import render_charts
from topwork.steps.asking import look_up
from topwork.steps.assigning import assign
from topwork.steps.choosing import settle
from topwork.steps.options import FitOptions, Surroundings
from topwork.steps.places import require_file_place
from topwork.steps.reading import read_rows
from topwork.steps.transfer import Preparation
from topwork.storage import write_atomically
from topwork.training.judging import of_rows
from topwork.training.plan import BATCH
from topwork.training.suggestions import suggest
from topwork.verbs.fitting import job_of

if TYPE_CHECKING:
    from topwork.training.loop import Control

__all__ = ["RateSearch", "find_rate"]

_N_STEPS = 100


@dataclass(frozen=True, slots=True, eq=False)
class RateSearch:
    """What a sweep of the learning rate showed.

    Attributes
    ----------
    rates, losses
        ``float64 [n]``: rates of the head, and the smoothed training loss at them.
    suggestions
        Rates by the name of the reading; see `topwork.training.suggestions`.
    ended
        ``done``, ``exploded`` where the loss was four times its lowest, ``stopped`` by the user.
    """

    rates: Array
    losses: Array
    suggestions: dict[str, float]
    ended: str
    n_rows: int
    seconds: float
    plot: Path | None = None


def find_rate(
    data: str | Path | Columns,
    plot: str | Path | None = None,
    *,
    trunk: str | None = None,
    seed: int = 0,
    options: FitOptions | None = None,
    around: Surroundings | None = None,
) -> RateSearch:
    """Find learning rates for the recipe ``full``: sweep them, read the curve in four ways, and undo it all.

    The sweep begins with the probe's head and trains every layer, each at its own share of the rate. No weight and no
    random state is another one afterwards, and no test row is seen.

    Parameters
    ----------
    plot
        An HTML file to draw the curve in; without it none is written.
    data, trunk, seed, options, around
        As for `fit`; ``options.steps`` are those of the sweep, 100 unless they are given.

    Raises
    ------
    DataError
        The data cannot be used, or the loss was no number from the beginning.
    UsageError
        A name or a combination that cannot work.
    StorageError
        The plot cannot be written.
    """
    around = around or Surroundings()
    began_s = around.clock()
    if plot is not None:
        require_file_place(Path(plot))
    order = look_up(data, trunk, "probe", seed, None, options or FitOptions(), around)
    preparation = Preparation(order.trunk, order.modality, around)
    settled = settle(order, assign(order, read_rows(order, preparation)), preparation)
    order, rows, preparation = settled.order, settled.rows, settled.preparation
    workplace = Workplace(None, should_stop=around.should_stop)
    job = job_of(order, rows, preparation, workplace, Budget(around.clock))
    rates, losses, ended = swept(job, order.options.steps or _N_STEPS)
    found = RateSearch(
        rates,
        losses,
        suggest(rates, losses),
        ended,
        len(job.folds[0].train),
        around.clock() - began_s,
        None if plot is None else Path(plot),
    )
    if found.plot is not None:
        page = render_charts(f"Learning rates of {name_of(data).name}", [chart_of(found)])
        write_atomically(found.plot, page.encode("utf-8"))
    return replace(found, seconds=around.clock() - began_s)


def swept(job: FitJob, n_steps: int) -> tuple[Array, Array, str]:
    """Sweep over all layers from the probe's head; return rates of the head, losses, and how it ended."""
    from topwork.training.devices import at_work
    from topwork.training.sweeping import SweepSettings, random_states_kept, sweep

    material = material_of(job, "full")
    _, strengths = PROBE.fit(job)
    with random_states_kept(), at_work(material.resources.device):
        stretch = stretch_of(job, probe_heads(job, job.folds[0], strengths))
        n_stages, batch = len(stretch.trainee.stages), min(BATCH, stretch.feed.n_train)
        rung = in_parts(stretch, full_rung(FullSettings(rate=1.0), material.rates, n_stages, batch))
        goals = of_rows(job.goals, stretch.fold.train)
        with job.progress.track("Sweeping the rate", n_steps, "steps") as advance:
            found = sweep(
                rung,
                stretch.trainee,
                stretch.feed,
                goals,
                _control(job, advance, bf16=stretch.bf16),
                settings=SweepSettings(n_steps=n_steps, seed=job.seed),
            )
    return found.rates, found.losses, found.ended


def _control(job: FitJob, advance: Callable[[int], None], *, bf16: bool) -> Control:
    from topwork.training.loop import Control

    should_stop = partial(told_to_stop, job)
    return Control(should_stop, advance, keep=lambda _: None, saw=lambda *_: None, bf16=bf16)


def chart_of(found: RateSearch) -> Chart:
    """Return the curve, with a mark on it for every suggestion."""
    points = tuple(Point(float(x), float(y)) for x, y in zip(found.rates, found.losses, strict=True))
    marks = tuple(
        Series(
            f"{name}: {rate:.1e}", (Point(rate, float(np.interp(rate, found.rates, found.losses))),), "dots"
        )
        for name, rate in found.suggestions.items()
    )
    return Chart(
        "Training loss at growing learning rates",
        "learning rate of the head",
        "smoothed training loss",
        (Series("loss", points), *marks),
        caption="A rate is good where the loss falls steadily, well before it turns.",
        x_log=True,
    )
