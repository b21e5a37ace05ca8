"""fastai as its tutorials use it: the same network and weights, `lr_find`, then `fine_tune`.

Run in a virtual environment that has fastai, as ``python -m benchmarks.fastai_side JSON``; it prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from benchmarks.training_sides import BATCH, SIDE_PX, Fitting
from topwork.trunks.torchvision_guard import import_timm

_PRESIZED_PX = 460
_N_WARM = 2


def main() -> None:
    """Fit once, or measure the speed of one epoch for each of several settings."""
    asked = json.loads(sys.argv[1])
    import_timm()
    vision = import_module("fastai.vision.all")
    split = json.loads(Path(asked["split"]).read_text(encoding="utf-8"))
    print(json.dumps(_fit(vision, split, asked) if asked["does"] == "fit" else _speeds(vision, split, asked)))


def _fit(vision: Any, split: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Fit as asked; seconds count from when the process was started, less those of `lr_find`."""
    settings = Fitting(**asked["settings"])
    learn = _learner(vision, split, asked, settings)
    before_s = time.time()
    with learn.no_bar(), learn.no_logging():
        rate = settings.rate or float(learn.lr_find(num_it=asked["n_search"], show_plot=False).valley)
        search_s = time.time() - before_s
        moments: list[tuple[float, float]] = []
        teller = _after_epochs(vision, lambda accuracy: moments.append((time.time(), accuracy)))
        learn.add_cb(teller)
        learn.fine_tune(asked["n_epochs"], rate)
        learn.remove_cb(teller)
        answers = _answers(learn, split)
    began_s = asked["began_s"]
    return {
        "moments": [(at_s - began_s - search_s, accuracy) for at_s, accuracy in moments],
        "answers": answers,
        "before_s": before_s - began_s,
        "search_s": search_s if not settings.rate else 0.0,
        "rate": rate,
    }


def _speeds(vision: Any, split: Mapping[str, Any], asked: Mapping[str, Any]) -> list[float]:
    """Return images per second of training all layers, decoding included, for each of the settings."""
    return [_speed(vision, split, asked, Fitting(**given)) for given in asked["settings"]]


def _speed(vision: Any, split: Mapping[str, Any], asked: Mapping[str, Any], settings: Fitting) -> float:
    learn = _learner(vision, split, asked, settings)
    learn.unfreeze()
    ends_s: list[float] = []
    began_s = time.perf_counter()

    def stop() -> bool:
        ends_s.append(time.perf_counter())
        return ends_s[-1] - began_s > asked["limit_s"] and len(ends_s) > _N_WARM + 1

    learn.add_cb(_after_batches(vision, stop))
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 1e-5)
    return BATCH * (len(ends_s) - _N_WARM) / (ends_s[-1] - ends_s[_N_WARM - 1])


# --- building blocks ------------------------------------------------------------------------------------


def _learner(vision: Any, split: Mapping[str, Any], asked: Mapping[str, Any], settings: Fitting) -> Any:
    """Make what `vision_learner` makes of a pretrained network of timm, on the split that is given."""
    if settings.n_threads:
        torch.set_num_threads(settings.n_threads)
    vision.set_seed(asked["seed"])
    weights = {"file": asked["weights"], "mean": asked["mean"], "std": asked["std"]}
    learn = vision.vision_learner(
        _photos(vision, split, settings),
        asked["architecture"],
        metrics=vision.accuracy,
        pretrained_cfg_overlay=weights,
        path=Path(asked["folder"]),
    )
    if settings.is_channels_last:
        learn.add_cb(import_module("fastai.callback.channelslast").ChannelsLast())
    if settings.is_bf16:
        learn.add_cb(_in_bf16(vision))
    return learn


def _photos(vision: Any, split: Mapping[str, Any], settings: Fitting) -> Any:
    labels = {path: label for side in ("train", "valid") for path, label in split[side]}
    held_out = {path for path, _ in split["valid"]}
    block = vision.DataBlock(
        blocks=(vision.ImageBlock, vision.CategoryBlock(vocab=split["labels"])),
        get_y=lambda path: labels[path],
        splitter=vision.FuncSplitter(lambda path: path in held_out),
        **_transforms(vision, settings),
    )
    return block.dataloaders(list(labels), bs=BATCH, num_workers=settings.n_workers)


def _transforms(vision: Any, settings: Fitting) -> dict[str, Any]:
    """Return `item_tfms` and `batch_tfms` as the book and the tutorials write them."""
    if settings.looks == "presize":
        return {
            "item_tfms": vision.Resize(_PRESIZED_PX),
            "batch_tfms": vision.aug_transforms(size=SIDE_PX, min_scale=0.75),
        }
    return {
        "item_tfms": vision.Resize(SIDE_PX, method=vision.ResizeMethod.Squish),
        "batch_tfms": vision.aug_transforms(),
    }


def _answers(learn: Any, split: Mapping[str, Any]) -> dict[str, str]:
    """Return the label that the model gives to each photo of the test."""
    paths = [path for path, _ in split["test"]]
    scores, _ = learn.get_preds(dl=learn.dls.test_dl(paths))
    return dict(zip(paths, _labels(scores, split["labels"]), strict=True))


def _labels(scores: torch.Tensor, labels: Sequence[str]) -> list[str]:
    return [labels[int(number)] for number in scores.argmax(dim=1)]


# --- callbacks ------------------------------------------------------------------------------------------


def _after_epochs(vision: Any, tell: Callable[[float], None]) -> Any:
    class Teller(vision.Callback):  # type: ignore[misc]
        """Tells the validation accuracy; runs after fastai's recorder."""

        order = 60

        def after_epoch(self) -> None:
            tell(float(self.learn.recorder.values[-1][-1]))

    return Teller()


def _after_batches(vision: Any, stop: Callable[[], bool]) -> Any:
    class Stopper(vision.Callback):  # type: ignore[misc]
        """Ends the fit when it is told to."""

        def after_batch(self) -> None:
            if stop():
                raise vision.CancelFitException

    return Stopper()


def _in_bf16(vision: Any) -> Any:
    """Return what fastai's own `MixedPrecision` for bf16 does, which knows GPUs alone, for a CPU."""

    class InBf16(vision.Callback):  # type: ignore[misc]
        order = 10

        def before_batch(self) -> None:
            self.around = ExitStack()
            self.around.enter_context(torch.autocast("cpu", torch.bfloat16))

        def after_pred(self) -> None:
            self.around.close()
            self.learn.pred = self.learn.pred.float()

    return InBf16()


if __name__ == "__main__":
    main()
