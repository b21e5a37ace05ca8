"""Windows of answers: what is counted, when they are tested, and that what has not changed is seldom told to have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from topwork.contracts import Answer, Json, Profile, Reference
from topwork.serving.watching.drift import LEVEL, Watch

QUANTILES = np.linspace(0, 1, 101)
LABELS = ("ash", "beech", "cedar")


def reference(n_traits: int = 3) -> Reference:
    """Return what 600 normal rows and labels of shares 1/2, 1/3 and 1/6 leave."""
    rng = np.random.default_rng(0)
    traits = np.quantile(rng.normal(size=(600, n_traits)), QUANTILES, axis=0).T
    sure = np.quantile(rng.uniform(0.5, 1, 600), QUANTILES)
    profile = Profile(600, {"label": {"ash": 300, "beech": 200, "cedar": 100}}, {"confidence": sure})
    return Reference({"": profile}, traits.astype(np.float32), (600,) * n_traits, 0.05)


def answers(
    n: int, seed: int, *, moved: float = 0.0, shares: Sequence[float] = (3, 2, 1), strange: float = 0.05
) -> Iterator[Answer]:
    rng = np.random.default_rng(seed)
    labels = rng.choice(LABELS, n, p=np.array(shares) / sum(shares))
    for i, label in enumerate(labels):
        traits = rng.normal(size=3) + np.array([moved, 0, 0])
        sure = rng.uniform(0.5, 1)
        value: dict[str, Json] = {
            "label": str(label),
            "probabilities": {str(label): sure},
            "in_domain": bool(rng.random() > strange),
        }
        yield Answer(i, value, traits=tuple(traits))


def watched(found: Iterator[Answer], size: int = 200, known: Reference | None = None) -> Watch:
    watch = Watch(known or reference(), size)
    watch.saw(found)
    return watch


def test_answers_that_are_complete_are_counted() -> None:
    watch = Watch(reference(), 50)
    given = [
        Answer(0, None, "bad"),
        Answer(1, {"label": "ash"}, last=False),
        Answer(1, {"label": "ash"}),
        Answer(2, {"text": "no label"}),
    ]
    watch.saw(given)
    assert watch.n_answers == 2
    assert watch.given == {("", "ash"): 1}


def test_a_window_is_tested_when_it_is_full_and_the_next_begins() -> None:
    watch = watched(answers(450, 1))
    assert (watch.n_windows, watch.current.n, watch.n_answers) == (2, 50, 450)
    assert watch.last is not None
    assert watch.last.window.n == 200
    assert [one.what for one in watch.last.tests] == [
        "input: feature 1",
        "input: feature 2",
        "input: distance",
        "input: out of domain",
        "answer: label",
        "answer: confidence",
    ]


def test_windows_that_did_not_change_are_seldom_told_to_have_drifted() -> None:
    watch = watched(answers(200 * 200, 2))
    assert watch.n_windows == 200
    assert watch.n_drifted / 200 <= 3 * LEVEL  # the mean is at most LEVEL, for each reference on average


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"moved": 0.6}, "input: feature 1"),
        ({"shares": (1, 2, 3)}, "answer: label"),
        ({"strange": 0.2}, "input: out of domain"),
    ],
)
def test_what_changed_is_named(change: dict[str, float], what: str) -> None:
    watch = watched(answers(200, 3, **change))  # type: ignore[arg-type]
    assert watch.last is not None
    assert watch.last.has_drifted
    assert [one.what for one in watch.last.tests if one.is_significant] == [what]
    assert watch.n_drifted == 1


def test_labels_that_the_model_does_not_know_and_strange_traits_do_not_break_it() -> None:
    watch = Watch(reference(), 2)
    values: tuple[dict[str, Json], ...] = ({"label": "ash"}, {"labels": ["x"]}, {"label": {"odd": 1}}, {})
    for value in values:
        watch.add(Answer(0, value, traits=(1.0,)))
    assert watch.n_windows == 2
    assert watch.last is not None
    assert [one.what for one in watch.last.tests if one.what.startswith("input")] == ["input: out of domain"]


def test_a_model_that_knows_nothing_is_only_counted() -> None:
    watch = Watch(None, 5)
    watch.saw(answers(20, 4))
    assert (watch.n_answers, watch.n_windows, watch.last) == (20, 0, None)


def test_several_targets_are_watched_each() -> None:
    one = reference().profiles[""]
    known = Reference({"kind": one, "age": one}, np.zeros((0, 101), np.float32), (), None)
    value = {"kind": {"label": "ash"}, "age": {"label": "beech"}}
    watch = watched(iter([Answer(0, value)] * 60), 60, known)
    assert watch.last is not None
    assert [test.what for test in watch.last.tests] == ["answer: kind.label", "answer: age.label"]
    assert watch.given == {("kind", "ash"): 60, ("age", "beech"): 60}


def test_threads_lose_no_answer() -> None:
    watch = Watch(reference(), 100)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda seed: watch.saw(answers(250, seed)), range(8)))
    assert (watch.n_answers, watch.n_windows, watch.current.n) == (2000, 20, 0)
