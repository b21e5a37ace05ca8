"""Rungs of texts: what words say by themselves is added to what a network says, as far as validation gains by it.

On long texts a linear model of words and pairs of words is hard to beat (Wang & Manning, *Baselines and Bigrams*, ACL
2012), and it is wrong about other texts than a network is. It becomes a part of the network; see
`topwork.contracts.TextTrunk.with_word_scores`. Words are weighed once and put beside two networks: the frozen one, long
before anything is trained, and the best that was trained. It knows no way to train one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from topwork.contracts import WORD_WEIGHTS, Array, FitJob, LinearHead
from topwork.errors import MissingExtraError
from topwork.inputs.word_buckets import weigh
from topwork.recipes.candidate import Candidate
from topwork.recipes.result import judged
from topwork.recipes.stretch import told_to_stop
from topwork.training.calibration import Calibration
from topwork.training.judging import of_rows
from topwork.training.links import solver_of
from topwork.training.word_weights import STRENGTHS, WordWeights, fit_words, mixed

__all__ = ["WORDS", "AddedWords", "WeighedWords", "expected_s", "weigh_words"]

WORDS: Final = "words"
_MOST_COLUMNS: Final = 8
"""Scores of all targets together: each takes two megabytes of the bundle, of two opposite ones both."""
_FEWEST_ROWS: Final = 100
_ROW_S: Final = 0.003
"""For counting and fitting; some two and a half times what a row of 300 tokens takes of one target."""
_TOKEN_S: Final = 4e-6


@dataclass(frozen=True, slots=True, eq=False)
class AddedWords:
    """A network with the words' scores behind its features.

    Attributes
    ----------
    weight
        ``float32 [m, c]``, the columns of all targets side by side.
    heads
        Calibrated, on features ``[n, d + c]``.
    scores
        Of the validation rows, by what other rows say.
    shares
        Of each target, how much of the scores is the words'.
    """

    weight: Array
    heads: Mapping[str, LinearHead]
    scores: Mapping[str, Array]
    shares: Mapping[str, float]


def weigh_words(job: FitJob) -> WeighedWords | None:
    """Count the words of all rows, and fit weights of them on the training rows.

    Returns
    -------
    None where inputs are no texts, there are too few rows, too many scores or too little time, or scikit-learn is not
    installed.
    """
    fold, material, started_s = job.folds[0], job.material, job.budget.clock()
    if material is None or not material.has_words or not _is_worth_it(job):
        return None
    with job.progress.track("Weighing words", len(fold.train) + len(fold.valid), "texts") as advance:

        def text(row: int) -> Array:
            advance(1)
            return material.example(row)

        trained = weigh(text(row) for row in fold.train.tolist())
        held = weigh(text(row) for row in fold.valid.tolist())
    try:
        fits = {
            name: tuple(fit_words(trained, goal, strength).scores(held) for strength in STRENGTHS)
            for name, goal in of_rows(job.goals, fold.train).items()
        }
    except MissingExtraError:
        return None
    return WeighedWords(job, trained, held, fits, job.budget.clock() - started_s)


def _is_worth_it(job: FitJob) -> bool:
    n_columns, n_train = sum(goal.n_outputs for goal in job.goals.values()), len(job.folds[0].train)
    has_time = job.n_steps is not None or job.budget.remaining_s() > _ROW_S * n_train * len(job.goals)
    return n_columns <= _MOST_COLUMNS and n_train >= _FEWEST_ROWS and has_time and not told_to_stop(job)


def expected_s(job: FitJob, n_train: int) -> float:
    """Return what counting and fitting takes with so many training rows like those of a small job; 0 for other inputs.

    It is what it took of 17,000 reviews and a processor's core, for each token and score.
    """
    if job.material is None or not job.material.has_words or n_train < _FEWEST_ROWS:
        return 0.0
    sizes = [job.material.example(row).size for row in range(len(job.features))]
    return _TOKEN_S * n_train * float(np.mean(sizes)) * len(job.goals)


@dataclass(frozen=True, slots=True, eq=False)
class WeighedWords:
    """What is in the texts of a job, CSR ``[n, m]``, and what weights fitted on training rows say of the others.

    Attributes
    ----------
    trained, held
        Of the training rows, and of those of validation.
    fits
        Of each target the scores of the validation rows, by the strength of the penalty.
    seconds
        What it took.
    of_all
        Weights fitted on training and validation rows, by target and place of the strength, as they were asked for.
    """

    job: FitJob
    trained: Any
    held: Any
    fits: Mapping[str, tuple[Array, ...]]
    seconds: float
    of_all: dict[tuple[str, int], WordWeights] = field(default_factory=dict)

    def rung(
        self, name: str, network: Candidate, heads: Mapping[str, LinearHead], seconds: float
    ) -> Candidate:
        """Put the words beside the network of a rung, as a rung of its own; the gain is told against that one.

        Parameters
        ----------
        heads
            Those of the network, calibrated and linear.
        seconds
            What it took until now.
        """
        import torch

        started_s = self.job.budget.clock()
        added = self.beside(heads, network.scores)
        seconds += self.job.budget.clock() - started_s
        rung, losses = judged(self.job, name, seconds, added.scores, network.losses)
        shares = ", ".join(f"{share:.0%}" for share in added.shares.values())
        note = f"beside {network.rung.name}; {shares} of the scores are the words'"
        rung = replace(rung, trained_share=network.rung.trained_share, notes=(note,))
        raw = {**network.raw, WORD_WEIGHTS: torch.from_numpy(added.weight)}
        return Candidate(rung, added.scores, losses, added.heads, raw)

    def beside(self, heads: Mapping[str, LinearHead], scores: Mapping[str, Array]) -> AddedWords:
        """Put the words beside a network that has been trained, or a frozen one, as far as validation gains by it.

        Parameters
        ----------
        heads
            Calibrated and linear, on the network's features.
        scores
            Of the validation rows, each calibrated by other rows.
        """
        parts = {name: self._part(name, scores[name]) for name in self.fits}
        columns = [part.columns for part in parts.values()]
        widened = {name: _widened(heads[name], part, columns) for name, part in parts.items()}
        return AddedWords(
            np.concatenate(columns, axis=1),
            {name: part.calibration.fold_into(widened[name]) for name, part in parts.items()},
            {name: part.scored for name, part in parts.items()},
            {name: part.share for name, part in parts.items()},
        )

    def weights(self, name: str, place: int) -> WordWeights:
        """Fit training and validation rows with one of the strengths, the first time that it is asked for."""
        from scipy.sparse import vstack

        if (name, place) not in self.of_all:
            goal, fold = self.job.goals[name], self.job.folds[0]
            every = replace(goal, truth=np.concatenate([goal.truth[fold.train], goal.truth[fold.valid]]))
            found = vstack([self.trained, self.held]).tocsr()
            self.of_all[name, place] = fit_words(found, every, STRENGTHS[place])
        return self.of_all[name, place]

    def _part(self, name: str, scores: Array) -> _Part:
        """Choose strength and share by weights of the training rows; what is handed on is fitted on both."""
        goal, fold = self.job.goals[name], self.job.folds[0]
        truth, own = goal.truth[fold.valid], self.fits[name]
        place, share, scored = mixed(replace(goal, truth=truth), scores, own, seed=self.job.seed)
        calibration = solver_of(goal.link).calibrate(truth, (1 - share) * scores + share * own[place])
        words = self.weights(name, place)
        columns, spread = words.columns()
        return _Part(columns, spread, words.bias, share, calibration, scored)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """The words' part in one target: their columns ``[m, c]``, what of them is in each score ``[k, c]``, and a bias."""

    columns: Array
    spread: Array
    bias: Array
    share: float
    calibration: Calibration
    scored: Array


def _widened(head: LinearHead, part: _Part, columns: Sequence[Array]) -> LinearHead:
    """Return a head on features that end with the columns of all targets, of which it takes its own."""
    parts = [
        part.share * part.spread if one is part.columns else np.zeros((len(part.spread), one.shape[1]))
        for one in columns
    ]
    weight = np.concatenate([(1 - part.share) * head.weight, *parts], axis=1)
    bias = (1 - part.share) * head.bias + part.share * part.bias
    return LinearHead(weight.astype(np.float32), bias.astype(np.float32))
