"""The probe where a fit begins with a sample: fitted on the rows that have features, and on more as time goes on.

The rungs above it are trained on all rows and compared with it on the validation rows of the sample. It knows none of
them, only what the probe took, and how a row is read.
"""

from __future__ import annotations

from dataclasses import replace

from topwork.contracts import Budget, FitJob, Fitted, Moment, Sample
from topwork.recipes.first_rung import FirstRung
from topwork.recipes.stretch import told_to_stop
from topwork.training.selection import selected, spread, validated

__all__ = ["ended", "has_time", "known_part", "of_sample"]

_RESERVE_S = 1.0


def known_part(job: FitJob) -> FitJob:
    """Return the job of the rows that have features: the job itself where all have."""
    return job if job.sample is None else selected(job, job.sample.known)


def of_sample(job: FitJob) -> FitJob:
    """Return the job as rungs are trained by it: on all training rows, looked at on validation rows with features."""
    return job if job.sample is None else validated(job, job.sample.known)


def has_time(job: FitJob) -> bool:
    """Tell whether a network that begins with a sample could be trained at all before the budget ends."""
    if job.sample is None or job.n_steps is not None:
        return True
    return job.budget.remaining_s() > job.afterwards.seconds(0.0)


def ended(job: FitJob, fitted: Fitted, first: FirstRung, began_s: float) -> Fitted:
    """Return what a recipe gives back: where it began with a sample, of all rows of the job, and told from there on.

    Where the probe is the model, what is left of the budget is used to fit it on more rows.

    Parameters
    ----------
    fitted
        The climb's end: a network that was trained, or the probe ``first``.
    began_s
        What the clock said when the recipe began.
    """
    if job.sample is None:
        return fitted
    (sample_rung, *rungs), n = fitted.rungs, len(job.features)
    sample_rung = replace(sample_rung, notes=(*sample_rung.notes, _share(job, job.sample)))
    fitted = replace(
        fitted, rungs=(sample_rung, *rungs), history=(_moment(first, first.rung.seconds), *fitted.history)
    )
    if fitted.weights:
        return fitted
    more = job.sample if told_to_stop(job) else _read_on(job, job.sample, first)
    if len(more.known) == len(job.sample.known):
        return spread(fitted, more.known, n)
    return _on_more(replace(job, sample=more), fitted, began_s)


def _on_more(job: FitJob, fitted: Fitted, began_s: float) -> Fitted:
    """Fit the probe again, now that more rows have features."""
    assert job.sample is not None
    kept_back_s = job.sample.afterwards.seconds(0.0)
    budget = Budget(job.budget.clock, job.budget.deadline_s - kept_back_s)
    again = FirstRung.of(known_part(replace(job, budget=budget)), began_s)
    rung = replace(again.rung, notes=(*again.rung.notes, _share(job, job.sample)), chosen=True)
    before = (replace(one, chosen=False) for one in fitted.rungs)
    found = replace(
        fitted,
        heads=again.probe.heads,
        held_out=again.probe.held_out,
        notes=(*again.probe.notes, *(note for note in fitted.notes if note not in fitted.rungs[0].notes)),
        rungs=(*before, rung),
        history=(*fitted.history, _moment(again, rung.seconds)),
    )
    return spread(found, job.sample.known, len(job.features))


def _read_on(job: FitJob, sample: Sample, first: FirstRung) -> Sample:
    """Have features computed of further rows, for as long as fitting the probe on them leaves.

    The fit takes as long again for each row as the first one did, and reading what the job has measured.
    """
    left_s = job.budget.remaining_s() - sample.afterwards.seconds(0.0) - first.took_s - _RESERVE_S
    if left_s <= 0:
        return sample
    probe_s = first.took_s / len(sample.known)
    row_s = sample.afterwards.row_s
    share = 0.5 if row_s is None else row_s / (row_s + probe_s)
    return sample.more(job.budget.clock() + share * left_s)


def _share(job: FitJob, sample: Sample) -> str:
    return f"fitted on {len(sample.known):,} of {len(job.features):,} inputs"


def _moment(first: FirstRung, seconds: float) -> Moment:
    loss = first.rung.log_loss
    assert loss is not None
    return Moment(seconds, 0, first.rung.name, loss.value, first.rung.validation)
