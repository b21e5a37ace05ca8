"""`estimate` of a fit on texts to write like: what it would take, from a few rows that are tried."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from topwork.contracts import Budget, FitJob, Forecast
from topwork.progress import Quiet
from topwork.recipes.writing import BASE, goals_of, outlook
from topwork.steps.options import DEFAULT_BUDGET, FitOptions, Surroundings, duration_s
from topwork.steps.writing_order import look_up_texts
from topwork.training.forecasts import peak_bytes, range_of
from topwork.trunks.causal_attention import TRAINED
from topwork.verbs.estimating import FitEstimate
from topwork.verbs.rewriting import DEFAULT_WRITING_RECIPE

__all__ = ["estimate_writer"]


def estimate_writer(
    data: str | Path,
    *,
    trunk: str | None = None,
    recipe: str = DEFAULT_WRITING_RECIPE,
    budget: str | float | None = DEFAULT_BUDGET,
    seed: int = 0,
    options: FitOptions | None = None,
    around: Surroundings | None = None,
) -> FitEstimate:
    """Estimate time and peak memory of fine-tuning a language model, without doing it; see `topwork.fit_writer`.

    Raises
    ------
    DataError
        There are no texts, or too little.
    UsageError
        A name or a setting that cannot work.
    WeightsError
        The model's weights cannot be had.
    """
    around = around or Surroundings()
    began_s = around.clock()
    order = look_up_texts(
        data, trunk, recipe, budget=budget, seed=seed, options=options or FitOptions(), around=around
    )
    network = order.model.load(order.model.fetch(around.cache_dir, around.progress), attention=TRAINED)
    starting_s = around.clock() - began_s
    rows = order.rows.train, order.rows.valid
    goals, fold = goals_of(*rows)
    features = np.zeros((len(rows[0]) + len(rows[1]), 1), np.float32)
    job = FitJob(features, goals, (fold,), seed, Budget(around.clock), Quiet(), n_steps=order.options.steps)
    found = outlook(job, network, rows, order.settings, bf16=order.bf16, device=order.device)
    n_valid, n_test = len(rows[1]), len(order.rows.test)
    before_s = starting_s + found.look_s * (n_valid + n_test)
    after_s = found.look_s * n_test + order.delivery_s
    training_s = found.n_steps * found.step_s + found.n_looks * n_valid * found.look_s
    whole_s = before_s + training_s + after_s
    room_s = duration_s(budget) - before_s - after_s
    share = 1.0 if training_s <= room_s else max(0.0, room_s / training_s)
    fitted_s = before_s + share * training_s + after_s
    n_tokens = order.rows.train.n_said
    return FitEstimate(
        n_rows=len(order.corpus.documents),
        n_tried=2,
        forecasts=(
            Forecast(BASE, "seconds", *range_of(before_s + after_s)),
            Forecast(order.recipe, "seconds", *range_of(fitted_s)),
            Forecast(order.recipe, "bytes", *range_of(peak_bytes())),
        ),
        seconds=around.clock() - began_s,
        notes=(
            f"{n_tokens:,} tokens are to be learned; {order.settings.epochs} times each takes {found.n_steps:,} steps "
            f"and some {whole_s / 60:,.0f} minutes in all."
            + ("" if share >= 1 else f" The budget has time for {share:.0%} of the steps."),
        ),
    )
