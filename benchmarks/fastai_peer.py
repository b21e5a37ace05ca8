"""fastai, the peer that is nearest to what topwork promises: a pretrained network fine-tuned in a few lines.

It says where fastai comes from and which of its settings are tried; `fastai_side` is what runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from benchmarks.environments import interpreter
from benchmarks.place import Place
from benchmarks.splits import PhotoSplit
from benchmarks.training_peers import Peer, Timed
from benchmarks.training_sides import Fitting
from topwork.engines.machine import survey

__all__ = ["DEFAULT_RATE", "N_EPOCHS", "REQUIREMENTS", "choices", "peer", "speeds"]

REQUIREMENTS = ("fastai==2.8.12", "torch==2.13.0", "torchvision==0.28.0", "timm==1.0.31")
N_EPOCHS = 8
"""Epochs of all layers, after one of the head."""
DEFAULT_RATE = 2e-3
"""Of `fine_tune`, where none is given."""

_AS_IT_COMES = Fitting("presize")
_FAST = partial(Fitting, is_bf16=True, is_channels_last=True)


def peer(place: Place, network: dict[str, object]) -> Peer:
    """Return fastai in a virtual environment of its own, made where it is not there yet."""
    return Peer("fastai_side", network, place, str(interpreter(place.cache / "fastai", REQUIREMENTS)))


def speeds(fastai: Peer, split: PhotoSplit) -> list[Timed]:
    """Measure the training speed of settings, best first."""
    kinds = [_FAST("squish", rests=fastai.place.is_quick)]
    if not fastai.place.is_quick:
        kinds += [
            Fitting("squish"),
            Fitting("squish", is_channels_last=True),
            Fitting("presize"),
            _FAST("presize"),
        ]
    return fastai.fastest(split, _AS_IT_COMES, kinds, survey().n_cores)


def choices(timed: Sequence[Timed]) -> dict[str, Fitting]:
    """Return what is fitted in the first round, by name: the fastest settings, and what they leave open."""
    fastest = timed[0].settings
    other = replace(fastest, rate=DEFAULT_RATE, looks="squish" if fastest.looks == "presize" else "presize")
    return {
        "fastai, rate of `lr_find`": fastest,
        "fastai, default rate": replace(fastest, rate=DEFAULT_RATE),
        f"fastai, default rate, {other.looks}": other,
    }
