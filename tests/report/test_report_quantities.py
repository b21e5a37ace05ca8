"""How numbers and untrusted text are spelt."""

from __future__ import annotations

from typing import Literal

import pytest

from topwork.contracts import Estimate
from topwork.report.quantities import (
    clean,
    coordinate,
    coordinate_interval,
    counted,
    duration,
    is_share,
    lower_is_better,
    metric_title,
    moment,
    of_unit,
    percent,
    spell,
    spell_interval,
    unended,
)

NAN, INF = float("nan"), float("inf")


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("accuracy", 0.7551, "75.5 %"),
        ("Recall", 1.0, "100.0 %"),
        ("macro F1", 0.0, "0.0 %"),
        ("accuracy, frozen network", 0.5, "50.0 %"),
        ("log_loss", 0.8267, "0.827"),
        ("log_loss", 0.0, "0.000"),
        ("perplexity", 12345.0, "1.23e+04"),
        ("drift", 0.00012, "0.00012"),
        ("accuracy", NAN, "unknown"),
        ("log_loss", INF, "unbounded"),
    ],
)
def test_a_value_is_spelt_in_its_own_unit(name: str, value: float, expected: str) -> None:
    assert plain(spell(name, value)) == expected


@pytest.mark.parametrize(
    ("name", "estimate", "expected"),
    [
        ("accuracy", Estimate(0.755, 0.6672, 0.8248), "66.7 to 82.5 %"),
        ("log_loss", Estimate(0.8, 0.72, 0.91), "0.720 to 0.910"),
        ("log_loss", Estimate(NAN, 0.0, INF), "0.000 to unbounded"),
        ("accuracy", Estimate(NAN, NAN, NAN), "unknown"),
    ],
)
def test_an_interval_is_spelt_with_its_unit_once(name: str, estimate: Estimate, expected: str) -> None:
    assert plain(spell_interval(name, estimate)) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, "0 s"),
        (0.4234, "0.42 s"),
        (12.34, "12.3 s"),
        (99.94, "99.9 s"),
        (99.96, "1 min 40 s"),
        (3599.6, "1 h 00 min"),
        (185.0, "3 min 05 s"),
        (7620.0, "2 h 07 min"),
        (NAN, "unknown"),
        (INF, "unknown"),
    ],
)
def test_a_time_is_spelt_in_units_that_fit(seconds: float, expected: str) -> None:
    assert plain(duration(seconds)) == expected


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("number", 1280.0, "1,280"),
        ("number", 68.962, "69"),
        ("number", 0.6127, "0.613"),
        ("number", 2.5e9, "2.5e+09"),
        ("share", 0.81, "81.0 %"),
        ("seconds", 120.0, "2 min 00 s"),
        ("share", NAN, "unknown"),
        ("number", INF, "unbounded"),
    ],
)
def test_a_value_of_a_chart_is_spelt_by_its_kind(
    kind: Literal["number", "share", "seconds"], value: float, expected: str
) -> None:
    assert plain(coordinate(kind, value)) == expected


def test_an_interval_of_a_chart_names_its_unit_once() -> None:
    assert plain(coordinate_interval("share", 0.78, 0.832)) == "78.0 to 83.2 %"
    assert plain(coordinate_interval("number", 1.0, 2.5)) == "1 to 2.5"
    assert plain(coordinate_interval("share", 0.0, INF)) == "0.0 % to unbounded"


@pytest.mark.parametrize(
    ("unit", "value", "expected"),
    [
        ("seconds", 61.3, "61.3 s"),
        ("bytes", 412e6, "412 MB"),
        ("bytes", 999_900_000.0, "1 GB"),
        ("bytes", 12.0, "12 bytes"),
        ("bytes", NAN, "unknown bytes"),
        ("steps", 410.0, "410 steps"),
    ],
)
def test_a_forecast_is_spelt_in_its_unit(unit: str, value: float, expected: str) -> None:
    assert plain(of_unit(unit, value)) == expected


def test_a_sentence_can_go_on_after_its_end() -> None:
    assert [unended(text) for text in ("Six classes. ", "six classes", "and so on...")] == [
        *("Six classes", "six classes", "and so on.."),
    ]


def test_counts_agree_with_their_noun() -> None:
    found = [counted(1, "file"), counted(0, "file"), counted(1250, "file"), counted(2, "class", "classes")]
    assert list(map(plain, found)) == ["1 file", "0 files", "1,250 files", "2 classes"]


def test_a_moment_is_spelt_in_utc_and_left_alone_where_it_is_none() -> None:
    assert moment("2026-11-21T01:20:13+00:00") == "21 November 2026, 01:20 UTC"
    assert moment("2026-11-21T01:20:13+02:00") == "20 November 2026, 23:20 UTC"
    assert moment("2026-05-01T10:00:00") == "1 May 2026, 10:00"
    assert moment("yesterday") == "yesterday"


def test_names_tell_how_a_metric_reads() -> None:
    assert metric_title("macro_f1") == "macro F1"
    assert [metric_title(name) for name in ("r2", "rmse")] == ["R²", "RMSE"]
    assert metric_title("balanced_accuracy") == "balanced accuracy"
    assert is_share("Balanced Accuracy")
    assert not is_share("log_loss")
    assert [lower_is_better(n) for n in ("log_loss", "calibration_error", "accuracy")] == [True, True, False]
    assert [lower_is_better(n) for n in ("rmse", "mae", "interval_width", "r2")] == [True, True, True, False]
    assert plain(percent(0.125)) == "12.5 %"
    assert [plain(percent(share)) for share in (0, 1)] == ["0.0 %", "100.0 %"]
    assert plain(percent(0.9996)) == "over 99.9 %", "four wrong of 10,000 are not none"
    assert plain(percent(0.0004)) == "under 0.1 %"


def test_what_could_garble_a_page_is_replaced_and_the_rest_kept() -> None:
    kept = "naïve 中文 مرحبا 👨‍👩‍👧 <b>\t\n"
    assert clean(kept) == kept
    for harmful in ("\x00", "\x1b", "\u202e", "\u2066", "\udcff", "\x85", "\r"):
        assert clean(f"a{harmful}b") == "a\ufffdb"
    clean("\udcff\ud800").encode()
