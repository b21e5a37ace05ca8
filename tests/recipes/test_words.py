"""Words beside the network: where they gain, that is the model, and the network with their weights says the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tiny_transformers import TextMaterial, as_numbers, scores_after, text_job
from topwork.contracts import WORD_WEIGHTS, Budget, FitJob, Fitted, TextTrunk
from topwork.inputs.word_buckets import N_BUCKETS
from topwork.recipes.ladder import LADDER
from topwork.recipes.words import WORDS, weigh_words

N = 240


def weighed(folder: Path, **rest: object) -> FitJob:
    return text_job(folder, n=N, change=lambda material: replace(material, are_weighed=True), **rest)  # type: ignore[arg-type]


def agreement(job: FitJob, fitted: Fitted) -> float:
    """Return how held-out scores go with those of the network with words beside its features: a correlation.

    They are not the same, for each held-out row's are mixed and calibrated by other rows.
    """
    assert isinstance(job.material, TextMaterial)
    assert isinstance(job.material.trunk, TextTrunk)
    trunk = job.material.trunk.with_word_scores(fitted.weights[WORD_WEIGHTS].shape[1])
    wide, valid = replace(job, material=replace(job.material, trunk=trunk)), job.folds[0].valid
    return min(
        float(np.corrcoef(scores[:, -1], fitted.held_out[name][valid][:, -1])[0, 1])
        for name, scores in scores_after(wide, fitted).items()
    )


def test_words_that_decide_are_added_to_the_network(tmp_path: Path) -> None:
    job = weighed(tmp_path, n_steps=1)
    fitted = LADDER(job)
    rung = fitted.rungs[1]
    assert rung.name == WORDS
    assert next(one.name for one in fitted.rungs if one.chosen).endswith(WORDS)
    assert rung.notes[0].startswith("beside probe; ")
    assert rung.gain is not None
    assert rung.gain.low > 0
    assert "of the scores are the words'" in rung.notes[0]
    assert fitted.weights[WORD_WEIGHTS].shape == (N_BUCKETS, 1)
    assert agreement(job, fitted) > 0.98


def test_words_stand_beside_the_network_before_training_and_after_it(tmp_path: Path) -> None:
    job = weighed(tmp_path, n_steps=60)
    fitted = LADDER(job)
    names = [rung.name for rung in fitted.rungs]
    best = names[-1].removesuffix(" and words")
    assert names[:2] == ["probe", WORDS]
    assert best in names[2:-1]
    assert fitted.rungs[-1].notes[0].startswith(f"beside {best}; ")
    told = list(dict.fromkeys(moment.rung for moment in fitted.history))
    assert (told[0], told[-1]) == (WORDS, names[-1])
    assert [moment.seconds for moment in fitted.history] == sorted(
        moment.seconds for moment in fitted.history
    )


def test_words_are_fitted_once_for_both(tmp_path: Path) -> None:
    words = weigh_words(weighed(tmp_path))
    assert words is not None
    assert words.weights("label", 1) is words.weights("label", 1)
    assert words.weights("label", 1) is not words.weights("label", 2)


def test_several_targets_have_columns_of_their_own(tmp_path: Path) -> None:
    job = weighed(tmp_path, n_steps=1)
    number = as_numbers(job).goals["label"]
    both = replace(job, goals={**job.goals, "number": number})
    fitted = LADDER(both)
    assert next(rung.name for rung in fitted.rungs if rung.chosen).endswith(WORDS)
    assert fitted.weights[WORD_WEIGHTS].shape == (N_BUCKETS, 2)
    assert not fitted.heads["label"].weight[:, -1].any()
    assert not fitted.heads["number"].weight[:, -2].any()
    assert agreement(both, fitted) > 0.95


def test_it_is_for_texts_with_enough_rows_few_scores_and_time(tmp_path: Path) -> None:
    job = weighed(tmp_path)
    assert weigh_words(job) is not None
    few = replace(job, folds=tuple(replace(one, train=one.train[:99]) for one in job.folds))
    assert weigh_words(few) is None
    many = replace(job, goals={"label": replace(job.goals["label"], n_outputs=9)})
    assert weigh_words(many) is None
    late = replace(job, n_steps=None, budget=Budget(lambda: 0.0, 0.1))
    assert weigh_words(late) is None
    pictures = text_job(tmp_path, n=N)
    assert weigh_words(pictures) is None


def test_the_same_twice(tmp_path: Path) -> None:
    one, other = (LADDER(weighed(tmp_path, n_steps=1)) for _ in range(2))
    assert np.array_equal(one.weights[WORD_WEIGHTS], other.weights[WORD_WEIGHTS])
    assert np.array_equal(one.heads["label"].weight, other.heads["label"].weight)
