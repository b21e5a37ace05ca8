"""Writes a language model of the catalogue as transformers' files, for peers that export it.

Run as a process of its own: ``python -m benchmarks.writer_side JSON`` prints the version of transformers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from topwork import plugins
from topwork.progress import Quiet


def main() -> None:
    """Write the folder, and print the version of transformers."""
    import transformers

    asked = json.loads(sys.argv[1])
    model: Any = plugins.writers()[asked["writer"]]
    folder, vocabulary = Path(asked["out"]), model.vocabulary()
    model.load(model.fetch(Path(asked["cache"]), Quiet())).save_pretrained(folder)
    (folder / "tokenizer.json").write_text(vocabulary.tokenizer, encoding="utf-8")
    (end,) = vocabulary.decode(vocabulary.ends[:1], plain=False).split() or ("<|endoftext|>",)
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": end, "pad_token": end}
    (folder / "tokenizer_config.json").write_text(json.dumps(told), encoding="utf-8")
    print(json.dumps({"transformers": transformers.__version__}))


if __name__ == "__main__":
    main()
