"""A text encoder so small that any test may use one: a folder trunk with seeded random weights and a toy tokeniser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from toy_texts import toy_tokenizer

N_FEATURES = 64
WINDOW = 16
CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "hidden_size": N_FEATURES,
    "intermediate_size": 48,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "max_position_embeddings": 32,
    "vocab_size": 300,
    "license": "apache-2.0",
}


def write_tiny_text_trunk(folder: Path, seed: int = 0) -> Path:
    """Write the files that transformers and sentence-transformers write into ``folder`` and return it.

    The network is a BERT of two layers that takes windows of 16 tokens and gives 64 features.
    """
    import torch
    from safetensors.torch import save_file

    from topwork.trunks.encoders import Encoder, build

    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(Encoder(CONFIG))
        with torch.no_grad():
            for name, p in network.named_parameters():
                if "word_embeddings" in name:
                    p.normal_(0, 1.0)  # what comes out is about the mean of what the words are
    save_file(
        {f"bert.{name}": value for name, value in network.state_dict().items()}, folder / "model.safetensors"
    )
    (folder / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    (folder / "tokenizer.json").write_text(toy_tokenizer(), encoding="utf-8")
    length = json.dumps({"max_seq_length": WINDOW, "do_lower_case": False})
    (folder / "sentence_bert_config.json").write_text(length, encoding="utf-8")
    return folder
