"""Fine-tuning with Hugging Face's ``Trainer``, as its course teaches it: the whole network, a linear head, AdamW.

Run as ``python -m benchmarks.trainer_side JSON``; it prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.text_sides import TrainerSettings
from topwork.trunks.torchvision_guard import import_torchvision

import_torchvision()  # transformers imports it, and only behind this guard does it always load

import transformers  # noqa: E402


class Texts(torch.utils.data.Dataset[dict[str, Any]]):
    """Texts cut to one window of tokens, with label numbers."""

    def __init__(self, rows: Sequence[tuple[str, str]], labels: Sequence[str], tokenizer: Any) -> None:
        self._ids = tokenizer([text for text, _ in rows], truncation=True)["input_ids"]
        self._truth = [labels.index(label) for _, label in rows]

    def __len__(self) -> int:
        return len(self._truth)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {
            "input_ids": self._ids[row],
            "attention_mask": [1] * len(self._ids[row]),
            "labels": self._truth[row],
        }


class Watch(transformers.TrainerCallback):
    """Notes accuracy and time of every look, and ends training when its time is up."""

    def __init__(self, began_s: float, limit_s: float) -> None:
        self.moments: list[tuple[float, float]] = []
        self._began_s, self._limit_s = began_s, limit_s

    def on_evaluate(self, args: Any, state: Any, control: Any, **found: Any) -> None:
        """Note what a look showed."""
        del args, state, control
        self.moments.append((time.time() - self._began_s, float(found["metrics"]["eval_accuracy"])))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """End where the time is up."""
        del args, state
        if time.time() - self._began_s > self._limit_s:
            control.should_training_stop = True


def main() -> None:
    """Fit as asked; seconds count from when the process was started."""
    asked = json.loads(sys.argv[1])
    print(json.dumps(_fit(json.loads(Path(asked["split"]).read_text(encoding="utf-8")), asked)))


def _fit(split: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    torch.manual_seed(asked["seed"])
    labels = split["labels"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(asked["network"])
    network = transformers.AutoModelForSequenceClassification.from_pretrained(
        asked["network"], num_labels=len(labels)
    )
    rows = np.random.default_rng(asked["seed"]).permutation(len(split["valid"]))[: asked["n_looked"]]
    watch = Watch(asked["began_s"], asked["limit_s"])
    trainer = transformers.Trainer(
        network,
        _arguments(asked, TrainerSettings(**asked["settings"])),
        train_dataset=Texts(split["train"], labels, tokenizer),
        eval_dataset=Texts([split["valid"][row] for row in rows], labels, tokenizer),
        processing_class=tokenizer,
        compute_metrics=_accuracy,
        callbacks=[watch],
    )
    before_s = time.time() - asked["began_s"]
    trainer.train()
    trainer.evaluate()
    # Where training takes rows of like length together, answers to a test would come in such an order, too.
    trainer.args.train_sampling_strategy = "random"
    answers = np.argmax(trainer.predict(Texts(split["test"], labels, tokenizer)).predictions, axis=1)
    return {
        "moments": watch.moments,
        "answers": {str(number): labels[int(answer)] for number, answer in enumerate(answers)},
        "before_s": before_s,
    }


def _arguments(asked: Mapping[str, Any], settings: TrainerSettings) -> Any:
    return transformers.TrainingArguments(
        output_dir=asked["folder"],
        learning_rate=settings.rate,
        per_device_train_batch_size=settings.batch,
        per_device_eval_batch_size=32,
        num_train_epochs=settings.n_epochs,
        warmup_steps=settings.warmup,
        train_sampling_strategy="group_by_length" if settings.is_grouped else "random",
        bf16=asked["is_bf16"],
        use_cpu=True,
        seed=asked["seed"],
        eval_strategy="steps",
        eval_steps=asked["look_every"] // settings.batch,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def _accuracy(found: Any) -> dict[str, float]:
    return {"accuracy": float((found.predictions.argmax(axis=1) == found.label_ids).mean())}


if __name__ == "__main__":
    main()
