"""Writes topwork's text trunk as a folder of transformers and sentence-transformers, for peers that train it too.

Run as a process of its own: ``python -m benchmarks.encoder_side JSON`` prints how many tokens a window has.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from benchmarks.text_sides import TRUNK
from topwork import plugins
from topwork.progress import Quiet


def main() -> None:
    """Write configuration, tokeniser, weights, and how a sentence encoder pools."""
    asked = json.loads(sys.argv[1])
    trunk: Any = plugins.trunks()[TRUNK]
    folder, window = Path(asked["out"]), trunk.card.input_size[0]
    files: dict[str, object] = {
        "config.json": {**trunk.encoder.config, "architectures": ["BertModel"]},
        "tokenizer_config.json": {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": True,
            "model_max_length": window,
        },
        "sentence_bert_config.json": {"max_seq_length": window, "do_lower_case": False},
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": trunk.card.n_features,
            "pooling_mode_mean_tokens": True,
        },
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    (folder / "tokenizer.json").write_text(trunk.tokenizer(), encoding="utf-8")
    tensors = load_file(trunk.fetch(Path(asked["cache"]), Quiet()))
    save_file(
        tensors, folder / "model.safetensors", {"format": "pt"}
    )  # transformers reads no file without it
    print(json.dumps({"window": window}))


if __name__ == "__main__":
    main()
