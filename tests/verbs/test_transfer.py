"""What makes an exported network another one: its weights, and the inputs that it was exported for."""

from __future__ import annotations

from dataclasses import replace

from topwork.contracts import Trunk
from topwork.inputs import ImagePreprocessing
from topwork.steps.transfer import graph_identity
from topwork.trunks.catalogue import EFFICIENTNET_LITE0, EFFICIENTNET_LITE1
from topwork.trunks.text_catalogue import ALL_MINILM_L6_V2


def test_networks_for_inputs_of_another_size_are_not_mistaken_for_each_other() -> None:
    spec = EFFICIENTNET_LITE0.preprocessing
    assert isinstance(spec, ImagePreprocessing)
    larger = replace(EFFICIENTNET_LITE0, preprocessing=replace(spec, height=256, width=256))
    trunks: list[Trunk] = [EFFICIENTNET_LITE0, larger, EFFICIENTNET_LITE1, ALL_MINILM_L6_V2]
    assert len({graph_identity(trunk) for trunk in trunks}) == len(trunks)
    assert graph_identity(EFFICIENTNET_LITE0) == graph_identity(replace(EFFICIENTNET_LITE0))
