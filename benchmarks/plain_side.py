"""A fine-tuning script in plain PyTorch, as the tutorials for transfer learning write it.

Random part and mirror for training, the centre for validation; every layer is trained, with batch statistics; the
weights of the best epoch are kept. Run as ``python -m benchmarks.plain_side JSON``; it prints one JSON object.
"""

from __future__ import annotations

import copy
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from benchmarks.training_sides import SIDE_PX, Fitting
from topwork.trunks.torchvision_guard import import_timm, import_torchvision

_LARGER_PX = 256
_SGD_RATE, _ADAM_RATE = 1e-3, 1e-3
_STEP_EPOCHS, _STEP_FACTOR = 7, 0.1
_N_WARM = 2


class Photos(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """Files and label numbers through a transform."""

    def __init__(
        self, rows: Sequence[tuple[str, str]], labels: Sequence[str], transform: Callable[[Any], torch.Tensor]
    ) -> None:
        self._rows, self._labels, self._transform = rows, labels, transform

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        from PIL import Image

        path, label = self._rows[row]
        with Image.open(path) as image:
            return self._transform(image.convert("RGB")), self._labels.index(label)


def main() -> None:
    """Fit once, or measure the speed of one epoch for each of several settings."""
    asked = json.loads(sys.argv[1])
    split = json.loads(Path(asked["split"]).read_text(encoding="utf-8"))
    print(json.dumps(_fit(split, asked) if asked["does"] == "fit" else _speeds(split, asked)))


def _fit(split: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Fit as asked; seconds count from when the process was started."""
    script = _Script(split, asked, Fitting(**asked["settings"]))
    before_s = time.time() - asked["began_s"]
    moments: list[tuple[float, float]] = []
    best, weights = -1.0, script.network.state_dict()
    for _ in range(asked["n_epochs"]):
        for photos, truth in script.training:
            script.step(photos, truth)
        script.schedule.step()
        accuracy = script.accuracy()
        moments.append((time.time() - asked["began_s"], accuracy))
        if accuracy > best:
            best, weights = accuracy, copy.deepcopy(script.network.state_dict())
        if moments[-1][0] > asked["limit_s"]:
            break
    script.network.load_state_dict(weights)
    return {
        "moments": moments,
        "answers": script.answers(),
        "before_s": before_s,
        "search_s": 0.0,
        "rate": script.rate,
    }


def _speeds(split: Mapping[str, Any], asked: Mapping[str, Any]) -> list[float]:
    """Return images per second of training, decoding included, for each of the settings."""
    return [_speed(_Script(split, asked, Fitting(**given)), asked["limit_s"]) for given in asked["settings"]]


def _speed(script: _Script, limit_s: float) -> float:
    ends_s: list[float] = []
    began_s = time.perf_counter()
    for photos, truth in script.training:
        script.step(photos, truth)
        ends_s.append(time.perf_counter())
        if ends_s[-1] - began_s > limit_s and len(ends_s) > _N_WARM + 1:
            break
    return script.batch * (len(ends_s) - _N_WARM) / (ends_s[-1] - ends_s[_N_WARM - 1])


class _Script:
    """What such a script sets up before its loop."""

    def __init__(self, split: Mapping[str, Any], asked: Mapping[str, Any], settings: Fitting) -> None:
        if settings.n_threads:
            torch.set_num_threads(settings.n_threads)
        torch.manual_seed(asked["seed"])
        timm = import_timm()
        labels = split["labels"]
        self.network = timm.create_model(asked["architecture"], num_classes=len(labels))
        self.network.load_state_dict(torch.load(asked["weights"], weights_only=True), strict=False)
        self.format = torch.channels_last if settings.is_channels_last else torch.contiguous_format
        self.network.to(memory_format=self.format)
        self.is_bf16, self.labels, self.batch = settings.is_bf16, labels, settings.batch
        self.rate = settings.rate or (_SGD_RATE if settings.optimiser == "sgd" else _ADAM_RATE)
        self.optimiser = self._optimiser(settings)
        self.schedule = self._schedule(settings)
        looks = _transforms(settings, asked)
        self.training = self._loader(split["train"], looks[0], settings, shuffled=True)
        self.validation = self._loader(split["valid"], looks[1], settings)
        self.test_paths = [path for path, _ in split["test"]]
        self.test = self._loader(split["test"], looks[1], settings)

    def _optimiser(self, settings: Fitting) -> torch.optim.Optimizer:
        parameters = self.network.parameters()
        if settings.optimiser == "sgd":
            return torch.optim.SGD(parameters, self.rate, momentum=0.9)
        return torch.optim.Adam(parameters, self.rate)

    def _schedule(self, settings: Fitting) -> torch.optim.lr_scheduler.LRScheduler:
        """SGD has the steps of the tutorial, Adam a constant rate."""
        factor = _STEP_FACTOR if settings.optimiser == "sgd" else 1.0
        return torch.optim.lr_scheduler.StepLR(self.optimiser, _STEP_EPOCHS, factor)

    def _loader(
        self,
        rows: Sequence[tuple[str, str]],
        look: Callable[[Any], torch.Tensor],
        settings: Fitting,
        *,
        shuffled: bool = False,
    ) -> torch.utils.data.DataLoader[tuple[torch.Tensor, int]]:
        return torch.utils.data.DataLoader(
            Photos(rows, self.labels, look), settings.batch, shuffle=shuffled, num_workers=settings.n_workers
        )

    def step(self, photos: torch.Tensor, truth: torch.Tensor) -> None:
        """Take one step."""
        self.network.train()
        self.optimiser.zero_grad()
        with self._precision():
            scores = self.network(photos.to(memory_format=self.format))
        loss = torch.nn.functional.cross_entropy(scores.float(), truth)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()

    def _precision(self) -> AbstractContextManager[None]:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.is_bf16)

    def numbers(self, loader: torch.utils.data.DataLoader[tuple[torch.Tensor, int]]) -> torch.Tensor:
        """Return truth and answer of each row of a loader, ``int64 [2, n]``."""
        self.network.eval()
        with torch.no_grad(), self._precision():
            parts = [
                torch.stack([truth, self.network(photos.to(memory_format=self.format)).argmax(dim=1)])
                for photos, truth in loader
            ]
        return torch.cat(parts, dim=1)

    def accuracy(self) -> float:
        """Return the share of validation rows that are right."""
        truth, answers = self.numbers(self.validation)
        return float((truth == answers).double().mean())

    def answers(self) -> dict[str, str]:
        """Return the label that the model gives to each photo of the test."""
        _, answers = self.numbers(self.test)
        return dict(zip(self.test_paths, (self.labels[int(one)] for one in answers), strict=True))


def _transforms(settings: Fitting, asked: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return what training and what validation do to a photo."""
    transforms = import_torchvision().transforms
    to_tensor = [transforms.ToTensor(), transforms.Normalize(asked["mean"], asked["std"])]
    centre = [transforms.Resize(_LARGER_PX), transforms.CenterCrop(SIDE_PX)]
    first = [transforms.RandomResizedCrop(SIDE_PX)] if settings.looks == "random" else centre
    training = transforms.Compose([*first, transforms.RandomHorizontalFlip(), *to_tensor])
    return training, transforms.Compose([*centre, *to_tensor])


if __name__ == "__main__":
    main()
