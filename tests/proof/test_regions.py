"""What drives each class: parts of inputs that nothing was trained on, the strongest of each class first."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from quick import fit_probe
from topwork import FitOptions, Model, Surroundings
from topwork.contracts import Array, Gallery, LinearHead
from topwork.progress import Quiet
from topwork.proof.looking import Looker
from topwork.proof.regions import TITLE, regions_of, wanted
from topwork.steps.order import Rows
from toy_photos import photo

QUICK = FitOptions(proof="quick")


@pytest.fixture(scope="module")
def fine_trunk(tiny_trunk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny trunk on pictures of 128 pixels: its map has 4 × 4 places."""
    folder = Path(shutil.copytree(tiny_trunk, tmp_path_factory.mktemp("fine") / "fine"))
    config = json.loads((folder / "config.json").read_text())
    config["pretrained_cfg"]["input_size"] = [3, 128, 128]
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Surroundings:
    """A cache of its own: the two trunks have the same weights."""
    return Surroundings(cache_dir=tmp_path_factory.mktemp("cache"), progress=Quiet())


@pytest.fixture(scope="module")
def model(photos: Path, fine_trunk: Path, around: Surroundings) -> Model:
    return fit_probe(photos, trunk=str(fine_trunk), options=QUICK, around=around)


def regions(model: Model, target: str = "label") -> Gallery | None:
    sections = model.record.targets[target].sections
    return next((one for one in sections if isinstance(one, Gallery) and one.title == TITLE), None)


def test_classes_have_parts_that_speak_for_them(model: Model) -> None:
    """The tiny trunk's weights are random: of a colour may nothing speak for it, and then that is told."""
    found = regions(model)
    assert found is not None
    labels = [one.caption.partition(":")[0] for one in found.pictures]
    assert labels == sorted(labels)
    silent = {"blue", "green", "red"} - set(labels)
    assert len(silent) < 2
    assert (f"Of {len(silent)} of them no part speaks" in found.caption) == bool(silent)
    assert all(labels.count(label) <= 4 for label in labels)
    shares = [re.search(r": (\d+)% of what speaks for it lies here$", one.caption) for one in found.pictures]
    assert all(share and 0 < int(share[1]) <= 100 for share in shares)
    assert all(one.truth and one.predicted for one in found.pictures)
    assert found.caption.startswith("Parts of test pictures that speak most for a class")
    for one in found.pictures:
        shown = Image.open(io.BytesIO(base64.b64decode(one.jpeg_base64)))
        assert shown.size == (20, 20), "half of the 40 by 40 in the middle"
        assert not one.heat_base64


def test_the_parts_are_of_rows_that_nothing_was_trained_on(model: Model, photos: Path) -> None:
    found, sides = regions(model), model.servable.bundle.sides()
    assert found is not None
    contents = [hashlib.sha256((photos / one.key).read_bytes()).hexdigest() for one in found.pictures]
    assert {sides[content] for content in contents} == {"test"}
    own = [(one.key, one.caption.partition(":")[0]) for one in found.pictures]
    assert len(set(own)) == len(own), "one part of an input for a class"


def test_the_time_that_it_took_is_told(model: Model) -> None:
    assert model.record.proof_seconds["regions"] > 0


def test_where_inputs_are_not_to_be_kept_there_are_no_parts(
    photos: Path, fine_trunk: Path, around: Surroundings
) -> None:
    options = FitOptions(proof="quick", keep_training_data=False)
    assert regions(fit_probe(photos, trunk=str(fine_trunk), options=options, around=around)) is None


def test_a_network_that_has_looked_at_one_place_has_no_parts(
    photos: Path, tiny_trunk: Path, tmp_path: Path
) -> None:
    """On 32 pixels the tiny trunk's map is a single place."""
    around = Surroundings(cache_dir=tmp_path, progress=Quiet())
    assert regions(fit_probe(photos, trunk=str(tiny_trunk), options=QUICK, around=around)) is None


def test_a_modality_that_cuts_nothing_out_has_no_parts() -> None:
    order = SimpleNamespace(options=FitOptions(), modality=object())
    looker = Looker(order, None, None)  # type: ignore[arg-type]
    head = LinearHead(np.zeros((2, 3)), np.zeros(2))
    assert regions_of(looker, cast("Rows", None), "label", head, 12) is None


class Cutter:
    """A modality that shows the box in place of what lies in it."""

    def region(
        self, encoded: bytes, box: tuple[float, float, float, float], spec: object, side_px: int
    ) -> bytes:
        return f"{encoded.decode()} {box[0]:.1f} {box[1]:.1f}".encode()


@dataclass
class Maps:
    """Stands for a `Looker`: input i speaks i times as much for the first of two classes, at one place of 5 × 5."""

    order: SimpleNamespace
    n_asked: int = 0

    def maps(self, rows: list[int]) -> Iterator[tuple[int, Array]]:
        for row in rows:
            self.n_asked += 1
            places = np.full((1, 5, 5), 0.01, np.float32)
            places[0, 4, 4] = row
            yield row, places


def test_the_strongest_parts_come_first_and_only_a_few_are_looked_for() -> None:
    n, names = 40, [f"{i}.jpg" for i in range(40)]
    dataset = SimpleNamespace(keys=names, read=lambda row: names[row].encode())
    trunk = SimpleNamespace(preprocessing=None)
    looker = Maps(SimpleNamespace(options=FitOptions(), modality=Cutter(), dataset=dataset, trunk=trunk))
    features, nothing = (np.arange(n)[:, None] / 25).astype(np.float32), np.zeros(0, int)
    rows = SimpleNamespace(
        truth={"label": np.arange(n) % 2},
        targets={"label": SimpleNamespace(labels=("yes", "no"))},
        split=SimpleNamespace(valid=nothing, test=np.arange(n)),
        fit_known=None,
        fit_rows=nothing,
        fit_features=features[:0],
        test_features=features,
    )
    head = LinearHead(np.array([[1.0], [-1.0]], np.float32), np.zeros(2, np.float32))
    found = regions_of(cast("Looker", looker), cast("Rows", rows), "label", head, 12)
    assert found is not None
    assert [one.key for one in found.pictures] == ["39.jpg", "38.jpg", "37.jpg", "36.jpg"]
    assert found.pictures[0].caption == "yes: 99% of what speaks for it lies here"
    assert base64.b64decode(found.pictures[0].jpeg_base64) == b"39.jpg 0.6 0.6"
    assert [one.truth for one in found.pictures] == ["no", "yes", "no", "yes"]
    assert {one.predicted for one in found.pictures} == {"yes"}
    assert found.caption.endswith(" Of 1 of them no part speaks for it.")
    assert looker.n_asked == 24


def test_of_many_classes_the_most_frequent_are_shown(
    fine_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    """Thirteen colours, of which one has fewer photos than the others."""
    data = tmp_path / "colours"
    draw = np.random.default_rng(0)
    for i in range(13):
        (data / f"colour {i:02}").mkdir(parents=True)
        red, green, blue = (int(level) for level in draw.integers(30, 225, 3))
        for j in range(6 if i == 5 else 9):
            photo((red, green, blue), 100 * i + j).save(data / f"colour {i:02}" / f"{j}.jpg", quality=92)
    found = regions(fit_probe(data, trunk=str(fine_trunk), options=QUICK, around=around))
    assert found is not None
    labels = {one.caption.partition(":")[0] for one in found.pictures}
    assert "colour 05" not in labels
    assert len(labels) > 6
    assert "The 12 most frequent of 13 classes." in found.caption
    assert len(found.pictures) <= 48
    assert sum(len(one.jpeg_base64) for one in found.pictures) < 300_000


def test_of_a_sample_only_rows_with_features_are_looked_at() -> None:
    """Rows 0 to 3 are fitted on, of which 1 and 3 validate and 3 alone has features; rows 4 and 5 are the test's."""
    rows: Any = SimpleNamespace(
        fit_rows=np.arange(4),
        fit_features=np.array([[0.0], [9.0], [0.0], [2.0]]),
        test_features=np.array([[3.0], [1.0]]),
        split=SimpleNamespace(valid=np.array([3, 1]), test=np.array([4, 5])),
        fit_known=np.array([0, 3]),
    )
    head = LinearHead(np.array([[1.0], [-1.0]]), np.zeros(2))
    assert wanted(rows, head, [0], 3) == {4: [0], 3: [0], 5: [0]}
