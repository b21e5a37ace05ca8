from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from topwork.contracts import Array, LinearHead
from topwork.engines.choice import build, reference
from topwork.engines.export import export
from topwork.engines.feature_maps import MAP, expose_feature_map
from topwork.engines.grafting import graft
from topwork.errors import UsageError
from topwork.inputs import modality
from topwork.steps.transfer import exportable_of
from topwork.training.heatmaps import class_maps, contrast, heat, peak
from topwork.trunks import resolve

N_CHANNELS, N_CLASSES, H, W = 6, 4, 3, 5


def drawn(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def spot(row: int, column: int, height: int = H, width: int = W) -> Array:
    """Return a map with one channel that is alive in one place."""
    feature_map = np.zeros((1, height, width), np.float32)
    feature_map[0, row, column] = 2.0
    return feature_map


def test_the_mean_of_a_class_map_is_its_score() -> None:
    feature_map, head = drawn(2, N_CHANNELS, H, W), LinearHead(drawn(N_CLASSES, N_CHANNELS), drawn(N_CLASSES))
    maps = class_maps(feature_map, head.weight)
    assert maps.shape == (2, N_CLASSES, H, W)
    assert maps.dtype == np.float32
    scores = feature_map.mean(axis=(2, 3)) @ head.weight.T + head.bias
    np.testing.assert_allclose(maps.mean(axis=(2, 3)) + head.bias, scores, rtol=1e-5, atol=1e-5)


def test_class_maps_of_a_network_with_a_head_give_the_scores_that_it_gives(tiny_trunk: Path) -> None:
    trunk = resolve(str(tiny_trunk), {})
    exported = export(exportable_of(trunk, modality("image"), tiny_trunk / "model.safetensors"))
    head = LinearHead(drawn(3, trunk.card.n_features), drawn(3))
    exposed = expose_feature_map(graft(exported, {"label": head}))
    assert exposed is not None
    batch = np.random.default_rng(0).integers(0, 256, (2, *trunk.card.input_size, 3), dtype=np.uint8)
    found = build(reference(), exposed, n_threads=1, n_streams=1).run(batch)
    said = class_maps(found[MAP], head.weight).mean(axis=(2, 3)) + head.bias
    np.testing.assert_allclose(said, found["scores.label"], rtol=1e-4, atol=1e-4)


def test_a_contrast_is_the_lead_over_the_mean_of_the_others_or_over_one() -> None:
    weight, features = drawn(N_CLASSES, N_CHANNELS), drawn(N_CHANNELS, seed=1)
    scores = weight @ features
    assert contrast(weight, 1) @ features == pytest.approx(scores[1] - scores[[0, 2, 3]].mean(), abs=1e-5)
    assert contrast(weight, 1, 3) @ features == pytest.approx(scores[1] - scores[3], abs=1e-5)


def test_what_speaks_for_every_class_alike_is_not_hot() -> None:
    weight = drawn(N_CLASSES, N_CHANNELS)
    weight[:, 0] = 9.0
    feature_map = np.zeros((N_CHANNELS, H, W), np.float32)
    feature_map[0, 1, 1] = 5.0
    assert heat(feature_map, weight[2], 12).max() == 1
    assert not heat(feature_map, contrast(weight, 2), 12).any()


@pytest.mark.parametrize(("row", "column"), [(0, 0), (1, 2), (0, 4)])
def test_heat_is_hottest_where_the_evidence_is(row: int, column: int) -> None:
    found = heat(spot(row, column), np.ones(1, np.float32), 60)
    assert found.shape == (60, 60)
    assert found.dtype == np.float32
    assert (found.min(), found.max()) == (0, 1)
    y, x = (index.mean() for index in np.nonzero(found > 0.9))
    assert int(y // (60 / H)) == row
    assert int(x // (60 / W)) == column


def test_heat_of_two_places_keeps_their_proportion() -> None:
    feature_map = spot(0, 0, 3, 3) + spot(2, 2, 3, 3) / 4
    found = heat(feature_map, np.ones(1, np.float32), 9)
    assert found[1, 1] == pytest.approx(1)
    assert found[7, 7] == pytest.approx(0.25)


def test_a_map_of_one_value_is_warm_everywhere() -> None:
    np.testing.assert_allclose(heat(np.ones((1, H, W), np.float32), np.ones(1, np.float32), 7), 1, rtol=1e-6)


def test_what_speaks_against_an_answer_is_cold() -> None:
    feature_map = spot(0, 0) - spot(2, 4)
    found = heat(feature_map, np.ones(1, np.float32), 30)
    assert found[-1, -1] == 0
    assert not heat(feature_map, np.zeros(1, np.float32), 30).any()
    assert not heat(-np.abs(drawn(1, H, W)), np.ones(1, np.float32), 30).any()


@pytest.mark.parametrize("shape", [(N_CHANNELS + 1, H, W), (N_CHANNELS, H), (1, N_CHANNELS, H, W)])
def test_a_map_of_another_network_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=rf"expected \[n, {N_CHANNELS}, h, w\]"):
        heat(drawn(*shape), drawn(N_CHANNELS), 8)


# --- the part that speaks most ---------------------------------------------------------------------------


def test_a_peak_is_the_window_with_most_of_what_raised_the_score() -> None:
    """On 5 × 10 places a window has 2 × 4. It goes by the sum: one strong place loses to several good ones."""
    feature_map = np.zeros((1, 5, 10), np.float32)
    feature_map[0, 0, 0] = 3.0
    feature_map[0, 3:5, 5:9] = 1.0
    found = peak(feature_map, np.ones(1, np.float32))
    assert found is not None
    assert found.box == pytest.approx((0.5, 0.6, 0.9, 1.0))
    assert found.share == pytest.approx(8 / 11)
    assert found.raised == pytest.approx(8 / 50)


def test_what_spoke_against_a_class_is_no_part_of_what_spoke_for_it() -> None:
    feature_map = np.zeros((2, 5, 5), np.float32)
    feature_map[0, 1:3, 1:3] = 1.0
    feature_map[1, 4, :] = 9.0
    found = peak(feature_map, np.array([2.0, -1.0], np.float32))
    assert found is not None
    assert found.box == pytest.approx((0.2, 0.2, 0.6, 0.6))
    assert found.share == 1.0
    assert found.raised == pytest.approx(8 / 25)


def test_all_that_raised_a_score_less_all_that_lowered_it_is_the_score() -> None:
    feature_map, row = drawn(N_CHANNELS, 7, 7), drawn(N_CHANNELS)
    up, down = peak(feature_map, row), peak(feature_map, -row)
    assert up is not None
    assert down is not None
    score = feature_map.mean(axis=(1, 2)) @ row
    assert up.raised / up.share - down.raised / down.share == pytest.approx(score, abs=1e-5)


@pytest.mark.parametrize("places", [(1, 1), (2, 9), (9, 2)])
def test_a_coarse_map_has_no_parts(places: tuple[int, int]) -> None:
    assert peak(np.ones((1, *places), np.float32), np.ones(1, np.float32)) is None


def test_where_nothing_raised_the_score_there_is_no_peak() -> None:
    assert peak(-np.ones((1, 7, 7), np.float32), np.ones(1, np.float32)) is None
