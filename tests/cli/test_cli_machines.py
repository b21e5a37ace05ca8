"""`topwork bundle optimize` and `bundle export`: tables, JSON, the next step, what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from commands import Told
from topwork import load
from toy_photos import write_photos

Command = Callable[..., Told]


def test_it_tells_what_was_tried_what_was_chosen_and_what_comes_next(
    topwork: Command, bundle: Path, tmp_path: Path
) -> None:
    told = topwork("bundle", "optimize", bundle, "fast.topwork", "--rounds", "2")
    assert told.status == 0, told.err
    lines = [line.split("  ") for line in told.out.splitlines()]
    heads = [cell.strip() for cell in lines[0] if cell.strip()]
    assert heads[:4] == ["engine", "one input, ms", "inputs per second", "times the first"]
    assert any(line.startswith("  openvino fp32: ") for line in told.out.splitlines())
    assert "accuracy was measured on no labelled inputs; --data gives some" in told.out
    chosen = next(line for line in told.out.splitlines() if line.startswith("Chosen  "))
    model = load(tmp_path / "fast.topwork")
    engine = model.servable.engine
    assert chosen == f"Chosen  {engine.name} {engine.precision}, for throughput"
    assert "topwork serve fast.topwork" in told.err
    inspected = topwork("bundle", "inspect", "fast.topwork").out
    assert f"Runs with {engine.name} in {engine.precision}" in inspected


def test_json_holds_every_figure(topwork: Command, bundle: Path, tmp_path: Path) -> None:
    data = write_photos(tmp_path / "new", 10, seed=77)
    told = topwork(
        "bundle",
        "optimize",
        bundle,
        "fast.topwork",
        "--data",
        data,
        "--for",
        "latency",
        "--rounds",
        "3",
        "--json",
    ).json
    assert (told["schema"], told["aim"], told["n_rows"]) == (1, "latency", 30)
    first = told["tried"][0]
    assert first["speed"]["times_the_first"] == {"median": 1.0, "low": 1.0, "high": 1.0}
    assert first["speed"]["single_s"]["low"] <= first["speed"]["single_s"]["median"]
    assert first["difference"]["label"]["accuracy"]["value"] == 0
    assert 0 <= first["metrics"]["label"]["accuracy"]["value"] <= 1
    assert [one["chosen"] for one in told["tried"]].count(True) == 1
    chosen = next(one for one in told["tried"] if one["chosen"])
    assert told["chosen"] == {key: chosen[key] for key in ("engine", "precision", "device")}
    assert load(tmp_path / "fast.topwork").servable.bundle.identity == told["identity"]


def test_quiet_says_results_alone(topwork: Command, bundle: Path) -> None:
    told = topwork("bundle", "optimize", bundle, "fast.topwork", "--rounds", "1", "--quiet")
    assert (told.status, told.err) == (0, "")
    assert "Chosen" in told.out


def test_a_file_for_other_programs_says_what_was_proven(
    topwork: Command, bundle: Path, tmp_path: Path
) -> None:
    told = topwork("bundle", "export", bundle, "colours.onnx")
    assert told.status == 0
    assert told.out.startswith("File    colours.onnx  (")
    assert "Input   input  [batch, 32, 32, 3]" in told.out
    assert "Output  scores.label  [batch, 3]" in told.out
    assert "gives the outputs of the fit for all 8 golden examples" in told.out
    assert (tmp_path / "colours.onnx").is_file()
    found = topwork("bundle", "export", bundle, "again.onnx", "--format", "onnx", "--json").json
    assert found["bytes"] == (tmp_path / "again.onnx").stat().st_size
    assert found["largest_difference"] < found["allowed"] == 0.001
    assert found["inputs"] == {"input": ["batch", 32, 32, 3]}


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("optimize", "BUNDLE"), 2, "OUT"),
        (("optimize", "BUNDLE", "BUNDLE"), 1, "would be overwritten"),
        (("optimize", "gone.topwork", "a.topwork"), 1, "There is no file gone.topwork"),
        (("optimize", "BUNDLE", "a.topwork", "--for", "beauty"), 2, "beauty"),
        (("export", "BUNDLE", "a.txt"), 1, "does not end in .onnx"),
        (("export", "BUNDLE", "a.onnx", "--format", "pickle"), 2, "pickle"),
        (("export", "BUNDLE", "a.onnx", "--only", "colour"), 1, "no target 'colour'"),
    ],
)
def test_what_cannot_be_is_refused(
    topwork: Command, bundle: Path, words: tuple[str, ...], status: int, said: str
) -> None:
    told = topwork("bundle", *(str(bundle) if word == "BUNDLE" else word for word in words))
    assert told.status == status
    assert said in told.err
    assert not told.out
