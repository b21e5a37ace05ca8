"""The peer of the extraction benchmark: the same network in timm, eager torch behind a DataLoader.

It decodes and transforms as timm's own examples do, with the weights that topwork has. Run as a process of its
own: ``python -m benchmarks.timm_side JSON`` measures each of the settings and prints their rates as JSON.
"""

from __future__ import annotations

import copy
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.sides import TRUNK, Settings
from topwork import plugins
from topwork.progress import Quiet
from topwork.trunks.torchvision_guard import import_timm


class Photos(torch.utils.data.Dataset[torch.Tensor]):
    """Files through timm's transform."""

    def __init__(
        self, paths: Sequence[Path], transform: Callable[[Any], Any], *, reduces_early: bool
    ) -> None:
        self._paths, self._transform, self._reduces_early = paths, transform, reduces_early

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, row: int) -> torch.Tensor:
        from PIL import Image

        with Image.open(self._paths[row]) as image:
            if self._reduces_early:
                image.draft("RGB", (256, 256))
            tensor: torch.Tensor = self._transform(image.convert("RGB"))
            return tensor


def main() -> None:
    """Measure every one of the settings."""
    asked = json.loads(sys.argv[1])
    timm = import_timm()
    paths = [Path(path) for path in asked["paths"]]
    trunk = plugins.trunks()[TRUNK]
    loaded: Any = trunk.load(trunk.fetch(Path(asked["cache"]), Quiet()))
    network = loaded.trunk  # the module of timm, without topwork's normalisation
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network))
    n_threads = torch.get_num_threads()
    found = []
    for given in asked["settings"]:
        settings = Settings(**given)
        torch.set_num_threads(settings.n_threads or n_threads)
        rate = _measure(
            network,
            Photos(paths, transform, reduces_early=settings.reduces_early),
            settings,
            asked["limit_s"],
        )
        found.append({"settings": asdict(settings), "per_s": rate})
    print(json.dumps(found))


def _measure(network: torch.nn.Module, photos: Photos, settings: Settings, limit_s: float) -> float:
    """Return images per second from files to features, the network warm; stop after a batch beyond ``limit_s``."""
    cast = _caster(settings)
    network = copy.deepcopy(network).to(torch.bfloat16 if settings.is_bf16 else torch.float32)
    network = network.to(memory_format=_format(settings))  # type: ignore[call-overload]
    loader = torch.utils.data.DataLoader(photos, settings.batch_size, num_workers=settings.n_workers)
    with torch.inference_mode():
        network(cast(torch.zeros(settings.batch_size, 3, 224, 224)))
        began_s, n_done = time.perf_counter(), 0
        for batch in loader:
            network(cast(batch)).float()
            n_done += len(batch)
            if time.perf_counter() - began_s > limit_s:
                break
        return n_done / (time.perf_counter() - began_s)


def _format(settings: Settings) -> torch.memory_format:
    return torch.channels_last if settings.is_channels_last else torch.contiguous_format


def _caster(settings: Settings) -> Callable[[torch.Tensor], torch.Tensor]:
    dtype = torch.bfloat16 if settings.is_bf16 else torch.float32
    return lambda batch: batch.to(dtype=dtype, memory_format=_format(settings))


if __name__ == "__main__":
    main()
