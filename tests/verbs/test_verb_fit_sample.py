"""A fit of many rows that begins with a sample: what it tells, what it counts, and that it can be gone on with."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import topwork
from quick import fit_probe
from topwork import FitOptions, Surroundings
from topwork.progress import Quiet
from toy_texts import toy_texts

N, N_TEST, N_SAMPLE = 400, 80, 100
SAMPLING = {"sample": N_SAMPLE, "quick": 0.0}

TUNING = """
from dataclasses import replace
from topwork.contracts import Beginning
from topwork.recipes.probe import PROBE
from topwork.training.selection import selected, spread

class Tuning:
    name, requires, beginning = "tuning", PROBE.requires, Beginning(100, 0.0)

    def __call__(self, job):
        known = job.sample.known
        fitted = spread(PROBE(selected(job, known)), known, len(job.features))
        name, value = list(job.material.network().named_parameters())[-1]
        return replace(fitted, fitted_on=None, weights={name: 0.99 * value.detach().numpy()})

TUNING = Tuning()
"""
"""A recipe that changes the network a little, so that it has to be run again."""


def surroundings(folder: Path) -> Surroundings:
    return Surroundings(cache_dir=folder / "cache", progress=Quiet())


@contextmanager
def tuning(folder: Path) -> Iterator[str]:
    """Put the recipe on the path."""
    info = folder / "tuning-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tuning\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[topwork.recipes]\ntuning = tuning_recipe:TUNING\n")
    (folder / "tuning_recipe.py").write_text(TUNING)
    sys.path.insert(0, str(folder))
    try:
        yield "tuning"
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("tuning_recipe", None)


def n_cached(around: Surroundings) -> int:
    """Return how many inputs have features in the cache."""
    with closing(sqlite3.connect(around.cache_dir / "features.sqlite")) as store:
        return int(store.execute("SELECT count(*) FROM entry").fetchone()[0])


def test_what_was_not_read_is_not_counted_and_that_is_told(trunk: str, tmp_path: Path) -> None:
    """The user wants the best so far at once; the proof is of what was read."""
    around = replace(surroundings(tmp_path), should_stop=lambda: True)
    options = FitOptions(recipe_settings=SAMPLING, proof="none")
    model = topwork.fit(toy_texts(N), tmp_path / "m.topwork", trunk=trunk, options=options, around=around)
    record = model.record
    assert record.split.n_train + record.split.n_valid < N_SAMPLE
    assert record.split.n_test == record.targets["label"].n_test == N_TEST
    n_fitted = record.split.n_train + record.split.n_valid
    assert any(f"Fitted on {n_fitted} of {N - N_TEST} inputs" in note for note in record.notes)
    assert f"Fitted on {n_fitted} of {N - N_TEST} inputs" in (tmp_path / "m.report.html").read_text("utf-8")
    assert f"fitted on {n_fitted} of {N - N_TEST} inputs" in record.rungs[0].notes
    assert record.data.n_used == N
    assert n_cached(around) == n_fitted + N_TEST


@pytest.mark.slow
def test_a_probe_on_all_that_time_allowed_has_read_all_of_few_rows(trunk: str, tmp_path: Path) -> None:
    """There is time enough to read on here, and too little to train."""
    around, options = (
        surroundings(tmp_path),
        FitOptions(recipe_settings=SAMPLING | {"reserve_s": 1e6}, proof="quick"),
    )
    record = topwork.fit(toy_texts(N), trunk=trunk, budget="10m", options=options, around=around).record
    assert [rung.chosen for rung in record.rungs] == [False, True]
    assert record.split.n_train + record.split.n_valid == N - N_TEST
    assert not any("Fitted on" in note for note in record.notes)
    assert not any("could not be made" in note for note in record.notes)


@pytest.mark.slow
def test_a_network_that_was_tuned_counts_all_rows_and_the_proof_reads_them(
    trunk: str, tmp_path: Path
) -> None:
    around = surroundings(tmp_path)
    with tuning(tmp_path / "plugin") as recipe:
        for proof in ("none", "quick"):
            options = FitOptions(proof=proof)
            record = topwork.fit(
                toy_texts(N), trunk=trunk, recipe=recipe, options=options, around=around
            ).record
            assert record.split.n_train + record.split.n_valid == N - N_TEST
            assert record.targets["label"].n_test == N_TEST
            assert not any("could not be made" in note for note in record.notes)
            if proof == "none":
                assert n_cached(around) == N_SAMPLE
    assert "frozen network" in {one.name for one in record.targets["label"].comparisons}
    assert n_cached(around) == N


class Killed(Exception):  # noqa: N818 - it is an event
    """Stands for a kill: nothing catches it."""


@pytest.mark.slow
def test_a_fit_that_is_killed_goes_on_with_the_same_sample(trunk: str, tmp_path: Path) -> None:
    """By then the cache may hold what it will."""
    out, plan = tmp_path / "m.topwork", tmp_path / "m.unfinished" / "plan.json"

    def stop_when_planned() -> bool:
        if plan.exists():
            raise Killed
        return False

    around, options = surroundings(tmp_path), FitOptions(recipe_settings=SAMPLING, proof="none")
    with pytest.raises(Killed):
        topwork.fit(
            toy_texts(N),
            out,
            trunk=trunk,
            options=options,
            around=replace(around, should_stop=stop_when_planned),
        )
    n_known = json.loads(plan.read_text())["n_known"]
    assert 0 < n_known < N_SAMPLE
    assert n_cached(around) == N_SAMPLE
    fit_probe(toy_texts(N), trunk=trunk, options=FitOptions(proof="none"), around=around)
    record = topwork.fit(
        toy_texts(N), out, trunk=trunk, options=replace(options, resume=True), around=around
    ).record
    assert f"fitted on {n_known} of {N - N_TEST} inputs" in record.rungs[0].notes
    assert record.n_cached == N
    assert not plan.exists()


@pytest.mark.parametrize(("quick", "is_told"), [(0.0, True), (1.0, False)])
def test_an_estimate_is_of_a_ladder_that_begins_so(
    quick: float, is_told: bool, trunk: str, tmp_path: Path
) -> None:
    options = FitOptions(recipe_settings=SAMPLING | {"quick": quick})
    found = topwork.estimate(
        toy_texts(N), trunk=trunk, budget="1h", options=options, around=surroundings(tmp_path)
    )
    assert any(f"begins with {N_SAMPLE} of {N} inputs" in note for note in found.notes) == is_told
    whole = [one for one in found.forecasts if (one.name, one.unit) == ("ladder", "seconds")]
    assert [0 < one.low < one.high < 3600 for one in whole] == [True]
