"""A head with hidden layers goes the whole way: fitted, proven, written, opened and asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from commands import Told
from topwork.bundle import open_bundle

Command = Callable[..., Told]


def test_a_bundle_with_hidden_layers_is_fitted_and_predicts(
    topwork: Command, photos: Path, tiny_trunk: Path, tmp_path: Path
) -> None:
    out = tmp_path / "deep.topwork"
    words = ("--trunk", tiny_trunk, "--recipe", "head", "--hidden", "8,5", "--proof", "quick", "--json")
    told = topwork("fit", photos, *words, "--out", out, "--steps", 60)
    assert told.status == 0, told.err
    weights = open_bundle(out).graph().weights
    shapes = {name: array.shape for name, array in weights.items() if name.startswith("heads.")}
    assert {name: shape[0] for name, shape in shapes.items() if name.endswith("weight")} == {
        "heads.label.hidden.0.weight": 8,
        "heads.label.hidden.1.weight": 5,
        "heads.label.weight": 3,
    }
    asked = topwork("predict", out, photos, "--json")
    assert asked.status == 0
    assert len(asked.out.splitlines()) > 10
    assert topwork("bundle", "inspect", out).status == 0


def test_hidden_layers_are_the_head_s_alone(topwork: Command, photos: Path, tiny_trunk: Path) -> None:
    told = topwork("fit", photos, "--trunk", tiny_trunk, "--recipe", "probe", "--hidden", "8")
    assert told.status == 1
    assert "The recipe probe has no setting 'hidden'; it has patience" in told.err
