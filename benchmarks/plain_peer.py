"""A fine-tuning script in plain PyTorch, the peer that people write themselves.

It says which settings are tried; `plain_side` is what runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from benchmarks.place import Place
from benchmarks.splits import PhotoSplit
from benchmarks.training_peers import Peer, Timed
from benchmarks.training_sides import Fitting
from topwork.engines.machine import survey

__all__ = ["LIMIT_S", "N_EPOCHS", "choices", "peer", "speeds"]

N_EPOCHS = 25
LIMIT_S = 75.0
"""No epoch begins later than this after the start of the process."""

_TUTORIAL_BATCH = 4
_FAST = partial(Fitting, is_bf16=True, is_channels_last=True)


def peer(place: Place, network: dict[str, object]) -> Peer:
    """Return the script in topwork's own environment."""
    return Peer("plain_side", network, place)


def speeds(plain: Peer, split: PhotoSplit) -> list[Timed]:
    """Measure the training speed of settings, best first."""
    kinds = [_FAST("random", rests=plain.place.is_quick)]
    if not plain.place.is_quick:
        kinds += [Fitting("random"), Fitting("random", is_channels_last=True)]
    return plain.fastest(split, Fitting("random"), kinds, survey().n_cores)


def choices(timed: Sequence[Timed]) -> dict[str, Fitting]:
    """Return what is fitted in the first round, by name: the fastest settings with the tutorials' optimisers."""
    fastest = timed[0].settings
    return {
        "plain PyTorch, Adam 1e-3": replace(fastest, optimiser="adam", rate=1e-3),
        "plain PyTorch, Adam 1e-3, centre": replace(fastest, optimiser="adam", rate=1e-3, looks="centre"),
        "plain PyTorch, SGD 1e-3 in batches of 4": replace(
            fastest, optimiser="sgd", rate=1e-3, batch=_TUTORIAL_BATCH
        ),
    }
