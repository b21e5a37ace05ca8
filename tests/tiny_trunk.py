"""A pretrained network so small that any test may use one: a folder trunk with seeded random weights."""

from __future__ import annotations

import json
from pathlib import Path

INPUT_PX = 32
N_FEATURES = 32
MODEL_ARGS = {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, N_FEATURES]}


def write_tiny_trunk(folder: Path, seed: int = 0) -> Path:
    """Write ``config.json`` and ``model.safetensors`` (120 kB) into ``folder`` and return it.

    The network is a ResNet with four narrow blocks that takes 32 × 32 pixels and gives 32 features.
    """
    import torch
    from safetensors.torch import save_file

    from topwork.trunks.torchvision_guard import import_timm

    timm = import_timm()
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = timm.create_model("resnet18", pretrained=False, num_classes=0, **MODEL_ARGS)
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
    save_file(network.state_dict(), folder / "model.safetensors")
    config = {
        "architecture": "resnet18",
        "num_features": N_FEATURES,
        "model_args": MODEL_ARGS,
        "pretrained_cfg": {
            "input_size": [3, INPUT_PX, INPUT_PX],
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "crop_pct": 1.0,
            "interpolation": "bilinear",
            "license": "apache-2.0",
        },
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder
