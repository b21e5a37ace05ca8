"""A fit whose bundle leaves its base out: it opens where the base is, answers the same, and says what it lacks."""

from __future__ import annotations

import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import topwork
from tiny_text_trunk import write_tiny_text_trunk
from topwork import FitOptions, Model, Surroundings, UsageError, load
from topwork.errors import WeightsError
from toy_texts import toy_texts

TEXTS = ["the lamp is broken", "a lovely warm meal"]


def fitted(folder: Path, around: Surroundings, *, adapter_only: bool, recipe: str = "lora") -> Model:
    """Fit on toy texts with the tiny encoder, which stands in the same folder."""
    if not (folder / "tiny-bert").is_dir():
        write_tiny_text_trunk(folder / "tiny-bert")
    options = FitOptions(steps=20, proof="none", adapter_only=adapter_only)
    return topwork.fit(
        toy_texts(120),
        folder / f"{recipe}-{adapter_only}.topwork",
        trunk=str(folder / "tiny-bert"),
        recipe=recipe,
        budget=None,
        options=options,
        around=around,
    )


def told(model: Model) -> list[float]:
    """Return the probability of each label for each text."""
    answers: list[Any] = [model.predict(text).answer for text in TEXTS]
    return [value for one in answers for value in one["probabilities"].values()]


def test_it_opens_beside_its_base_and_answers_as_the_whole_bundle_does(
    tmp_path: Path, around: Surroundings
) -> None:
    whole = fitted(tmp_path, around, adapter_only=False)
    small = fitted(tmp_path, around, adapter_only=True)
    assert told(small) == pytest.approx(told(whole), abs=1e-4)
    again = load(small.path)
    assert told(again) == pytest.approx(told(whole), abs=1e-4)
    assert again.servable.bundle.borrowed == (tmp_path / "tiny-bert",)
    assert load(whole.path).servable.bundle.borrowed == ()
    manifest = again.servable.bundle.manifest
    assert manifest.base is not None
    assert manifest.base.name == "tiny-bert"
    weights = (tmp_path / "tiny-bert" / "model.safetensors").read_bytes()
    assert manifest.base.weights_sha256 == sha256(weights).hexdigest()
    stored = {name: part.bytes for name, part in manifest.parts.items()}
    n_weights = (
        2 * 16 * 2 * (4 * (64 + 64) + (64 + 48) + (48 + 64))
    )  # two factors' rows on six layers of each of two
    assert stored["adapter.safetensors"] == pytest.approx(4 * n_weights / 2, rel=0.2)
    assert stored["weights.safetensors"] < 2000


def test_without_its_base_and_beside_another_it_says_so(tmp_path: Path, around: Surroundings) -> None:
    path = fitted(tmp_path, around, adapter_only=True).path
    alone = tmp_path / "elsewhere" / path.name
    alone.parent.mkdir()
    shutil.copy(path, alone)
    with pytest.raises(WeightsError, match=r"(?s)its base 'tiny-bert' .*beside the bundle"):
        load(alone)
    write_tiny_text_trunk(alone.parent / "tiny-bert", seed=1)
    with pytest.raises(
        WeightsError, match=r"(?s)made on 'tiny-bert' with weights of SHA-256 \w{64}; here .*\w{64}"
    ):
        load(alone)


def test_a_probe_needs_its_head_alone(tmp_path: Path, around: Surroundings) -> None:
    small = fitted(tmp_path, around, adapter_only=True, recipe="probe")
    assert told(load(small.path)) == told(small)
    assert small.servable.bundle.manifest.parts["weights.safetensors"].bytes < 2000


def test_a_bundle_on_a_bundle_cannot_leave_its_base_out(tmp_path: Path, around: Surroundings) -> None:
    first = fitted(tmp_path, around, adapter_only=False, recipe="probe")
    options = FitOptions(onward=first.path, adapter_only=True)
    with pytest.raises(UsageError, match="cannot leave its base out"):
        topwork.fit(
            toy_texts(120), trunk=str(tmp_path / "tiny-bert"), recipe="probe", options=options, around=around
        )


def test_what_is_kept_of_a_bundle_without_its_base_holds_everything(
    tmp_path: Path, around: Surroundings
) -> None:
    write_tiny_text_trunk(tmp_path / "tiny-bert")
    texts, labels = toy_texts(120)
    both = {"text": texts, "label": labels, "length": [str(len(one)) for one in texts]}
    options = FitOptions(
        steps=20,
        proof="none",
        adapter_only=True,
        target=("label", "length"),
        task={"length": "regression"},
    )
    model = topwork.fit(
        both,
        tmp_path / "both.topwork",
        trunk=str(tmp_path / "tiny-bert"),
        recipe="lora",
        budget=None,
        options=options,
        around=around,
    )
    small = topwork.keep(model.path, tmp_path / "small.topwork", ["label"])
    alone = tmp_path / "elsewhere" / "small.topwork"
    alone.parent.mkdir()
    shutil.copy(small.path, alone)
    again = load(alone)
    for text in TEXTS:
        kept, whole = again.predict(text).probabilities, model.predict(text).of("label").probabilities
        assert kept == pytest.approx(whole, abs=1e-6)
    assert again.servable.bundle.manifest.base is None
    assert list(again.servable.targets) == ["label"]
