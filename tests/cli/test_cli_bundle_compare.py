"""`topwork bundle compare`: a table, a sentence, the counts; JSON; what it refuses."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from commands import Told
from quick import fit_probe
from tiny_trunk import write_tiny_trunk
from topwork import Model, Surroundings, compare
from topwork.cli.listings import show_comparison
from topwork.contracts import Estimate
from topwork.verbs import BundleComparison
from topwork.verbs.comparing import Disagreement
from toy_photos import write_photos

Command = Callable[..., Told]


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("new") / "new", 12, seed=7)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory, around: Surroundings) -> Path:
    """A bundle that knows two of the three labels."""
    folder = tmp_path_factory.mktemp("narrow")
    data = write_photos(folder / "two", 15, seed=4)
    shutil.rmtree(data / "green")
    trunk = write_tiny_trunk(folder / "tiny", seed=5)
    return fit_probe(data, folder / "narrow.topwork", trunk=str(trunk), around=around).path


def test_the_better_one_is_named_with_its_interval(
    topwork: Command, bundle: Path, narrow: Path, new: Path
) -> None:
    told = topwork("bundle", "compare", bundle, narrow, new, "--quiet")
    assert (told.status, told.err) == (0, "")
    assert told.out.startswith("A  colours\nB  narrow\n")
    assert "label, on 36 inputs that neither was fitted on" in told.out
    row = next(line.split("  ") for line in told.out.splitlines() if line.startswith("  accuracy"))
    a, b, difference, interval = (cell.strip() for cell in row[2:] if cell.strip())
    points = re.fullmatch(r"\+([\d.]+) points", difference)
    assert points
    assert float(a.split()[0]) - float(b.split()[0]) == pytest.approx(float(points[1]), abs=0.11)
    low, high = re.findall(r"\+([\d.]+)", interval)
    assert "%" not in interval
    assert f"A is better by {points[1]} points ({low} to {high})." in told.out
    assert "Note: The second bundle does not know green; 12 rows" in told.out
    turned = topwork("bundle", "compare", narrow, bundle, new, "--quiet").out
    assert f"B is better by {points[1]} points ({low} to {high})." in turned


def test_json_holds_what_the_table_says(
    topwork: Command, bundle: Path, narrow: Path, new: Path, around: Surroundings
) -> None:
    told = topwork("bundle", "compare", bundle, narrow, new, "--json", "--engine", "onnxruntime").json
    found = compare(bundle, narrow, new, around=replace(around, engine="onnxruntime")).targets["label"]
    one = told["targets"]["label"]
    assert (told["schema"], told["a"], told["b"]) == (1, "colours", "narrow")
    assert len(told["notes"]) == 1
    assert one["difference"]["accuracy"] == {
        "value": pytest.approx(found.difference["accuracy"].value),
        "low": pytest.approx(found.difference["accuracy"].low),
        "high": pytest.approx(found.difference["accuracy"].high),
    }
    counts = [one[key] for key in ("n_both_right", "n_only_a_right", "n_only_b_right", "n_both_wrong")]
    assert sum(counts) == one["n_rows"] == 36
    assert one["disagreements"][0] == {
        "key": found.disagreements[0].key,
        "truth": found.disagreements[0].truth,
        "a": found.disagreements[0].a,
        "b": found.disagreements[0].b,
    }


def test_what_is_not_shown_is_not_claimed(
    topwork: Command, fitted: Model, new: Path, around: Surroundings, capsys: pytest.CaptureFixture[str]
) -> None:
    found = compare(fitted.path, fitted.path, new, around=around)

    def said(difference: Estimate, **others: object) -> str:
        one = replace(found.targets["label"], difference={"accuracy": difference}, **others)  # type: ignore[arg-type]
        show_comparison(BundleComparison("a", "b", {"label": one}, (), 0.0), as_json=False)
        return capsys.readouterr().out

    undecided = said(Estimate(0.01, -0.02, 0.04))
    assert "No difference is shown on these 36 inputs: A − B is 1.0 points of accuracy" in undecided
    assert "and may be −2.0 to 4.0." in undecided
    assert "better" not in undecided
    assert "B is better by 3.2 points (0.4 to 6.1)." in said(Estimate(-0.032, -0.061, -0.004))
    assert "A is better by 3.2 points (0.4 to 6.1)." in said(Estimate(0.032, 0.004, 0.061))
    unknown = said(Estimate(float("nan"), -1.0, 1.0))
    assert "The difference in accuracy is not known." in unknown
    assert re.search(r"accuracy .* unknown +-100\.0 to \+100\.0$", unknown, re.MULTILINE)
    assert "none at all in accuracy" in said(Estimate(0.0, 0.0, 0.0))
    rows = (Disagreement("red/0.jpg", "red", "red", "blue"),)
    many = said(Estimate(0.0, -0.1, 0.1), disagreements=rows, n_disagreements=61)
    assert "red/0.jpg" in many
    assert "… and 60 others" in many


def test_what_cannot_be_compared_is_refused(
    topwork: Command, bundle: Path, narrow: Path, new: Path, tmp_path: Path
) -> None:
    assert topwork("bundle", "compare", bundle, narrow).status == 2
    gone = topwork("bundle", "compare", bundle, tmp_path / "gone.topwork", new, "--quiet")
    assert (gone.status, gone.out) == (1, "")
    assert "gone.topwork" in gone.err
    shutil.copytree(new / "green", tmp_path / "data" / "purple")
    shutil.copytree(new / "red", tmp_path / "data" / "brown")
    strange = topwork("bundle", "compare", bundle, narrow, tmp_path / "data", "--quiet")
    assert (strange.status, strange.out) == (1, "")
    assert "the data have brown, purple" in strange.err


def test_what_is_no_share_differs_in_its_own_unit(
    fitted: Model, new: Path, around: Surroundings, capsys: pytest.CaptureFixture[str]
) -> None:
    found = compare(fitted.path, fitted.path, new, around=around)
    told = {"log_loss": Estimate(0.12, -0.03, 0.27), "calibration_error": Estimate(0.01, -0.02, 0.04)}
    one = replace(found.targets["label"], difference={**found.targets["label"].difference, **told})
    show_comparison(BundleComparison("a", "b", {"label": one}, (), 0.0), as_json=False)
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert any(row.startswith("log loss ") and row.endswith(" 0.120 -0.030 to 0.270") for row in rows)
    assert any(row.endswith("+1.0 points -2.0 to +4.0") for row in rows if row.startswith("calibration"))
