"""`lr-find` tells four rates and draws their curve; `fit --set` takes one of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from commands import Told

Command = Callable[..., Told]


def test_it_tells_the_suggestions_and_draws_the_curve_beside(
    topwork: Command, photos: Path, tiny_trunk: Path, tmp_path: Path
) -> None:
    told = topwork("lr-find", photos, "--trunk", tiny_trunk, "--steps", 30, "--quiet")
    assert told.status == 0
    assert all(f"\n  {name}" in told.out for name in ("valley", "slide", "minimum", "steep"))
    assert "Plot    colours.rates.html" in told.out
    assert (tmp_path / "colours.rates.html").is_file()
    assert "--recipe full --set rate=" in told.err


def test_in_json_it_holds_the_curve(topwork: Command, photos: Path, tiny_trunk: Path, tmp_path: Path) -> None:
    words = ("--trunk", tiny_trunk, "--steps", 30, "--out", tmp_path / "curve.html")
    told = topwork("lr-find", photos, *words, "--json")
    assert set(told.json) >= {
        "schema",
        "suggestions",
        "rates",
        "losses",
        "ended",
        "plot",
        "n_rows",
        "seconds",
    }
    assert len(told.json["rates"]) == len(told.json["losses"]) > 3
    assert (tmp_path / "curve.html").is_file()


def test_a_fit_takes_settings_of_its_recipe(topwork: Command, photos: Path, tiny_trunk: Path) -> None:
    words = ("--trunk", tiny_trunk, "--recipe", "full", "--proof", "none", "--steps", 12, "--json")
    told = topwork("fit", photos, *words, "--set", "rate=1e-3", "--set", "warmup=0.5")
    assert told.status == 0
    assert told.json["recipe"] == "full"


def test_a_setting_that_is_none_is_refused_by_name(topwork: Command, photos: Path, tiny_trunk: Path) -> None:
    told = topwork("fit", photos, "--trunk", tiny_trunk, "--recipe", "full", "--set", "epoch=3")
    assert told.status == 1
    assert "no setting 'epoch'; it has epochs, warmup" in told.err
    told = topwork("fit", photos, "--recipe", "full", "--set", "epochs")
    assert told.status == 1
    assert "--set takes NAME=VALUE" in told.err
