"""Few-shot learning with SetFit: the sentence encoder is tuned on pairs of texts, then a logistic head is fitted.

Run in SetFit's own environment as ``python -m benchmarks.setfit_side JSON``; it prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

setfit: Any = import_module("setfit")
datasets: Any = import_module("datasets")


def main() -> None:
    """Fit each draw as asked, with SetFit's own settings; seconds are those of `Trainer.train`.

    What a draw came to is kept in its file, and a draw whose file is there is not learned again.
    """
    asked = json.loads(sys.argv[1])
    draws = zip(asked["splits"], asked["kept"], strict=True)
    print(json.dumps([_learned(Path(split), Path(kept), asked) for split, kept in draws]))


def _learned(split: Path, kept: Path, asked: Mapping[str, Any]) -> Any:
    if not kept.exists():
        found = json.dumps(_fit(json.loads(split.read_text(encoding="utf-8")), asked))
        half = kept.with_suffix(".half")
        half.write_text(found, encoding="utf-8")
        half.replace(kept)
    return json.loads(kept.read_text(encoding="utf-8"))


def _fit(split: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    model = setfit.SetFitModel.from_pretrained(asked["network"], labels=split["labels"])
    model.model_body.max_seq_length = asked["window"]
    arguments = setfit.TrainingArguments(
        output_dir=asked["folder"],
        seed=split["seed"],
        report_to="none",
        save_strategy="no",
        **asked["settings"],
    )
    trainer = setfit.Trainer(
        model=model, args=arguments, train_dataset=_table(split["train"], split["labels"])
    )
    began_s = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - began_s
    answers = np.asarray(model.predict([text for text, _ in split["test"]])).tolist()
    return {"seconds": seconds, "answers": [str(answer) for answer in answers]}


def _table(rows: Sequence[tuple[str, str]], labels: Sequence[str]) -> Any:
    truth = [labels.index(label) for _, label in rows]
    return datasets.Dataset.from_dict({"text": [text for text, _ in rows], "label": truth})


if __name__ == "__main__":
    main()
