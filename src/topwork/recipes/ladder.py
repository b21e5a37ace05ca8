"""The ladder: the probe first, then deeper and deeper fine-tuning, as long as time lasts and validation improves.

Rung by rung, each starting from the best of the one before:

1. ``probe``: a linear head on the frozen network's features;
2. ``contrast``: where rows are few, the upper stages on pairs of them; it may take the place of the probe, and no other
   rung starts from it;
3. ``words``: of texts, what their words say by themselves beside the network as it is;
4. ``top``: the upper stages, on activations at the cut that were computed once and kept; of rows that do not vary, as
   texts, only where there is no time for the next;
5. ``all``: every stage, the lower ones gently (Howard and Ruder, arXiv 1801.06146);
6. ``longer``: the same for twice as many steps, where ``all`` was a gain and time is left;
7. ``top and words``: the same words beside the best network that was trained, here that of ``top``.

The model is the rung whose validation log loss is the lowest, each row's scores calibrated by other rows, or one that
was trained deeper and is not worse by more than one standard error; where ``contrast`` stands, rows are few, and
another has to be better by more than that. Nothing here sees a test row. Where a job says that only a sample of its
rows has features, the probe is fitted on that, the other rungs are trained on all rows, and all are compared on the
validation rows of the sample.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from topwork.contracts import Beginning, FitJob, Fitted
from topwork.errors import UsageError
from topwork.recipes.beginning import ended, has_time, known_part
from topwork.recipes.candidate import Candidate
from topwork.recipes.climber import Climber
from topwork.recipes.first_rung import FirstRung
from topwork.recipes.stretch import told_to_stop
from topwork.recipes.words import weigh_words

__all__ = ["LADDER", "LadderRecipe", "LadderSettings"]


@dataclass(frozen=True, slots=True)
class LadderSettings:
    """How the ladder keeps to its budget.

    ``reserve_s``: time kept back of it beside what the trial measured. ``sample``: inputs of many that the probe begins
    with, unless reading all of them then takes less than ``quick`` of what is left; if not, as long is spent at most
    on further validation rows, of which there are to be half as many.
    """

    reserve_s: float = 1.0
    sample: int = 2000
    quick: float = 0.1

    def __post_init__(self) -> None:
        if self.sample < 1 or not 0 <= self.quick <= 1:
            raise UsageError(
                f"The settings sample and quick are {self.sample} and {self.quick}; "
                "expected 1 or more, and a share from 0 to 1."
            )


@dataclass(frozen=True, slots=True)
class LadderRecipe:
    """Probe, upper stages, all stages, for as long as it pays."""

    settings: LadderSettings = field(default_factory=LadderSettings)
    name: str = "ladder"
    requires: frozenset[str] = frozenset({"pooled"})

    @property
    def beginning(self) -> Beginning:
        """Return how it begins where there are many rows."""
        return Beginning(self.settings.sample, self.settings.quick)

    def __call__(self, job: FitJob) -> Fitted:
        """Climb, and give back the rung that was chosen."""
        if job.material is None:
            raise UsageError(
                "The ladder trains the network itself; this job holds only its features.",
                next_step="Use the recipe probe.",
            )
        began_s = job.budget.clock()
        first = FirstRung.of(known_part(job), began_s)
        resumes = job.workplace is not None and job.workplace.resume
        if not resumes and (_is_late(job) or told_to_stop(job) or not has_time(job)):
            return ended(job, first.alone(), first, began_s)
        from topwork.training.devices import at_work

        with at_work(job.material.resources.device):
            climber = Climber(
                job, first.strengths, began_s, f"{self.name}: {self.settings}", self.settings.reserve_s
            )
            probe = Candidate(first.rung, first.scores, first.losses)
            # Now, for it takes seconds, and nobody knows what is left at the end.
            words = weigh_words(climber.job)
            fitted = climber.finish(first.probe, climber.all_rungs(probe, first.probe, words))
            began_s = climber.began_s
        return ended(job, fitted, first, began_s)


def _is_late(job: FitJob) -> bool:
    return job.n_steps is None and job.budget.remaining_s() <= 0


LADDER = LadderRecipe()
