"""What benchmarks compute from what they measured; nothing here is timed."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from markdown_blocks import ROOT

sys.path.append(str(ROOT))  # benchmarks are no part of the package

import itertools
import random

from benchmarks.curves import best_so_far, draw, median_curve
from benchmarks.figures import Goal, Spread
from benchmarks.ladder import moments
from benchmarks.learning import (
    NEVER,
    Learned,
    Moment,
    difference,
    discordant,
    faster,
    gains,
    pooled,
    share_right,
)
from benchmarks.peers import Family
from benchmarks.place import Place
from benchmarks.queueing import percentile, poisson, times_in_queue
from benchmarks.rankings import kendall, spearman
from benchmarks.results import Section, Seen, rewrite
from benchmarks.serve_peers import settings_to_try
from benchmarks.splits import PhotoSplit
from benchmarks.training_peers import Peer
from benchmarks.training_sides import Fitting

from records import plain_record
from topwork.contracts import Chart, Point, Rung, Series

TRUTH = {f"{number}.jpg": "ab"[number % 2] for number in range(20)}


def learned(*curve: tuple[float, float], wrong: int = 0, search_s: float = 0.0) -> Learned:
    """Return a fit whose first ``wrong`` answers are wrong."""
    answers = {
        path: ("ba" if number < wrong else "ab")[number % 2] for number, (path, _) in enumerate(TRUTH.items())
    }
    return Learned(tuple(Moment(*one) for one in curve), answers, TRUTH, search_s=search_s)


# --- what was learned -----------------------------------------------------------------------------------


def test_the_best_moment_is_the_first_of_the_highest() -> None:
    fit = learned((1, 0.5), (2, 0.9), (3, 0.8), (4, 0.9))
    assert fit.best == Moment(2, 0.9)


def test_seconds_to_an_accuracy_are_those_of_the_first_moment_that_has_it() -> None:
    fit = learned((1, 0.5), (2, 0.9), (3, 0.8), (4, 0.95))
    assert fit.seconds_to(0.8) == 2
    assert fit.seconds_to(0.9) == 2
    assert fit.seconds_to(0.96) == NEVER


def test_equal_accuracies_are_equal_in_single_precision_too() -> None:
    theirs = float(np.float32(0.2))
    assert theirs > 0.2
    assert learned((3, 0.2)).seconds_to(theirs) == 3
    assert learned((1, 0.2), (2, theirs)).best.seconds == 1


def test_we_are_faster_by_their_best_over_our_first_as_good() -> None:
    ours, theirs = learned((5, 0.7), (20, 0.9)), learned((50, 0.4), (100, 0.8), search_s=60)
    assert faster([(ours, theirs)], searched=False).values == (5,)
    assert faster([(ours, theirs)], searched=True).values == (8,)


def test_where_we_never_are_as_good_we_are_not_faster() -> None:
    assert faster([(learned((5, 0.7)), learned((100, 0.8)))], searched=True).values == (0,)


def test_accuracies_are_counted_together() -> None:
    fits = [learned((1, 1), wrong=0), learned((1, 1), wrong=10)]
    assert [share_right(one) for one in fits] == [1.0, 0.5]
    found = pooled(fits)
    assert found.value == 0.75
    assert 0.55 < found.low < 0.75 < found.high < 0.9


def test_a_gain_is_ours_minus_theirs_in_points() -> None:
    pairs = [(learned((1, 1), wrong=2), learned((1, 1), wrong=6))]
    assert gains(pairs).median == pytest.approx(20)
    assert difference(pairs).value == pytest.approx(0.2)
    assert discordant(pairs) == (4, 0)


def test_the_interval_of_a_difference_tells_luck_from_gain() -> None:
    little = [(learned((1, 1), wrong=5), learned((1, 1), wrong=6))]
    much = [(learned((1, 1), wrong=1), learned((1, 1), wrong=15))]
    assert difference(little).low <= 0
    assert difference(much).low > 0.3


def test_the_same_photos_again_make_a_difference_no_surer() -> None:
    pair = (learned((1, 1), wrong=2), learned((1, 1), wrong=8))
    once, often = difference([pair]), difference([pair] * 5)
    assert often.high - often.low == pytest.approx(once.high - once.low)


def test_above_means_above() -> None:
    goal = Goal("gain", Spread((0.0,)), "above", 0, "points")
    assert not goal.is_met
    assert replace(goal, measured=Spread((0.1,))).is_met


# --- the peers ------------------------------------------------------------------------------------------


class Scripted(Peer):
    """A peer whose accuracy is the rate it is given; one that has to find it takes half a second longer to train."""

    def fit(self, split: PhotoSplit, settings: Fitting, *, n_epochs: int, limit_s: float = NEVER) -> Learned:
        del n_epochs, limit_s
        found = learned(
            (10 + split.seed + (0 if settings.rate else 0.5), settings.rate or 0.5),
            search_s=0 if settings.rate else 70,
        )
        return replace(found, rate=settings.rate or 0.5)


def family(tries: Mapping[str, Fitting]) -> Family:
    return Family("peer", Scripted("no_side", {}, Place(Path(), Path())), dict(tries), 1)


def split_of(seed: int) -> PhotoSplit:
    return PhotoSplit(Path("photos"), seed, ("a", "b"), (), (), tuple(TRUTH.items()))


def test_only_the_best_of_the_first_round_goes_on() -> None:
    one = family({"bad": Fitting("squish", rate=0.3), "good": Fitting("squish", rate=0.8)})
    for seed in range(3):
        one.go(split_of(seed))
    assert one.best == "good"
    assert {name: len(fits) for name, fits in one.fits.items()} == {"bad": 1, "good": 3}


def test_a_rate_is_found_once_and_counted_in_every_round() -> None:
    one = family({"found": Fitting("squish"), "given": Fitting("squish", rate=0.1)})
    for seed in range(3):
        one.go(split_of(seed))
    fits = one.fits["found"]
    assert [fit.rate for fit in fits] == [0.5, 0.5, 0.5]
    assert [fit.best_s(searched=True) for fit in fits] == [80.5, 81, 82]
    assert [fit.best_s(searched=False) for fit in fits] == [10.5, 11, 12]


# --- queues ---------------------------------------------------------------------------------------------


def test_the_first_place_that_is_free_takes_the_first_in_line() -> None:
    arrivals, services = [0.0, 1.0, 1.5, 9.0], [4.0, 2.0, 1.0, 1.0]
    assert times_in_queue(arrivals, services, 1) == [4.0, 5.0, 5.5, 1.0]
    assert times_in_queue(arrivals, services, 2) == [4.0, 2.0, 2.5, 1.0]
    assert times_in_queue(arrivals, services, 9) == services


def test_a_queue_waits_as_long_as_theory_says() -> None:
    draw = random.Random(1)
    n, per_s, mean_s = 200_000, 50.0, 0.01
    services = [draw.expovariate(1 / mean_s) for _ in range(n)]
    times = times_in_queue(poisson(per_s, n, draw), services, 1)
    # M/M/1 at half load: the time in it is exponential with the mean 1 / (100 - 50).
    assert sum(times) / n == pytest.approx(0.02, rel=0.05)
    assert percentile(times, 0.99) == pytest.approx(0.02 * np.log(100), rel=0.1)


def test_a_percentile_is_a_value_that_was_seen() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0.01, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    assert percentile([3.0], 0.99) == 3.0


def test_peers_are_tried_as_they_come_first_and_each_setting_once() -> None:
    for n_cores in (1, 2, 8):
        tried = list(settings_to_try(n_cores))
        assert tried[0] == type(tried[0])()
        assert len(set(tried)) == len(tried) >= 7


# --- rankings -------------------------------------------------------------------------------------------


def test_rank_correlations_are_those_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    draw = np.random.default_rng(0)
    for _ in range(30):
        a, b = draw.integers(0, 4, 5).astype(float), draw.integers(0, 4, 5).astype(float)
        if len(set(a)) > 1 and len(set(b)) > 1:
            assert spearman(list(a), list(b)) == pytest.approx(stats.spearmanr(a, b).statistic)
            assert kendall(list(a), list(b)) == pytest.approx(stats.kendalltau(a, b).statistic)


def test_where_nothing_is_ranked_nothing_agrees() -> None:
    assert spearman([1, 1, 1], [1, 2, 3]) == kendall([1, 1, 1], [1, 2, 3]) == 0
    assert spearman([3, 2, 1], [1, 2, 3]) == kendall([3, 2, 1], [1, 2, 3]) == -1


# --- records --------------------------------------------------------------------------------------------


def test_moments_count_from_the_start_of_the_process() -> None:
    chart = Chart(
        "Validation over time",
        "s",
        "accuracy",
        (Series("probe", (Point(1, 0.7),)), Series("all", (Point(9, 0.9),)), Series("top", (Point(4, 0.8),))),
    )
    record = replace(
        plain_record(), rungs=(Rung("probe", 1.0, 0.7),), seconds_to_first_model=6.0, sections=(chart,)
    )
    assert moments(record) == (Moment(6, 0.7), Moment(9, 0.8), Moment(14, 0.9))


def test_without_training_there_is_the_first_model_alone() -> None:
    record = replace(
        plain_record(), rungs=(Rung("probe", 1.0, 0.7),), seconds_to_first_model=6.0, sections=()
    )
    assert moments(record) == (Moment(6, 0.7),)


# --- pictures -------------------------------------------------------------------------------------------

RISING = (Moment(2, 0.5), Moment(10, 0.4), Moment(40, 0.8))


def test_the_best_so_far_never_falls() -> None:
    assert [best_so_far(RISING, s) for s in (1, 2, 10, 39, 40)] == [0, 0.5, 0.5, 0.5, 0.8]


def test_a_median_curve_is_over_fits_and_begins_where_most_have_begun() -> None:
    curves = [(Moment(1, 0.2),), (Moment(2, 0.4),), (Moment(3, 0.6),)]
    assert median_curve(curves) == (Moment(2, 0.2), Moment(3, 0.4))


def test_a_picture_is_svg_for_light_and_dark_with_a_line_for_each_fit() -> None:
    text = draw({"ours": [RISING, RISING], "theirs": [RISING]})
    root = ElementTree.fromstring(text)
    classes = [one.get("class") for one in root.iter("{http://www.w3.org/2000/svg}path")]
    assert [classes.count(c) for c in ("fit s0", "fit s1", "median s0", "median s1")] == [2, 0, 1, 1]
    assert "prefers-color-scheme:dark" in text
    assert "ours, 80 %" in text


def test_names_at_the_ends_of_lines_do_not_overlap() -> None:
    root = ElementTree.fromstring(draw({"one": [RISING], "other": [RISING], "third": [RISING]}))
    texts = root.iter("{http://www.w3.org/2000/svg}text")
    places = sorted(float(one.get("y", "0")) for one in texts if "name" in one.get("class", ""))
    assert len(places) == 3
    assert min(b - a for a, b in itertools.pairwise(places)) >= 13


def test_a_section_is_written_in_place_of_the_one_before_with_its_pictures(tmp_path: Path) -> None:
    results, pictures = tmp_path / "RESULTS.md", tmp_path / "pictures"
    for note, svg in (("first", "<svg>1</svg>"), ("second", "<svg>2</svg>")):
        section = Section("name", "Title", (), (), (note,), {"over_time.svg": svg})
        rewrite(section, Seen(1.0, 0.0), "python -m benchmarks name", results, pictures)
    text = results.read_text(encoding="utf-8")
    assert "second" in text
    assert "first" not in text
    assert "pictures/over_time.svg" in text
    assert (pictures / "over_time.svg").read_text(encoding="utf-8") == "<svg>2</svg>"
