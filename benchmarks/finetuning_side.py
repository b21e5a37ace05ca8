"""One side of the benchmark ``finetuning``: steps of training adapters on a language model.

Run as a process of its own: ``python -m benchmarks.finetuning_side JSON`` prints tokens per second.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.decoding_side import WRITER
from topwork import plugins
from topwork.progress import Quiet

BATCH, LENGTH = 4, 512
N_EARLY, N_LATE = 2, 6
RANK, ALPHA, RATE = 16, 32.0, 1e-3


def main() -> None:
    """Measure one side once."""
    asked = json.loads(sys.argv[1])
    model: Any = plugins.writers()[WRITER]
    texts = [path.read_text("utf-8") for path in sorted(Path(asked["folder"]).iterdir())]
    tokens = [token for text in texts for token in model.vocabulary().encode(text)]
    rows = np.array(tokens[: (N_EARLY + N_LATE) * BATCH * LENGTH], np.int64).reshape(-1, LENGTH)
    library, manner = asked["side"]
    train = _topwork if library == "topwork" else _trainer
    seconds = train(model, rows, Path(asked["cache"]), manner)
    print(json.dumps({"tokens_per_s": N_LATE * BATCH * LENGTH / seconds}))


def _topwork(model: Any, rows: Any, cache: Path, manner: str) -> float:
    """Return the seconds of the late steps: those of all of them minus those of the early ones, of two runs."""
    assert manner == "bf16"
    runs = [_rewritten(model, rows, cache, n) for n in (N_EARLY, N_EARLY + N_LATE)]
    return runs[1] - runs[0]


def _rewritten(model: Any, rows: Any, cache: Path, n_steps: int) -> float:
    import torch

    from topwork.contracts import Budget, FitJob
    from topwork.recipes.writing import WritingSettings, goals_of, rewrite
    from topwork.training.packing import Tokenised, pack
    from topwork.trunks.causal_attention import TRAINED

    torch.set_num_threads(torch.get_num_threads())
    network = model.load(model.fetch(cache, Quiet()), attention=TRAINED)
    texts = [Tokenised(row, np.ones(LENGTH, bool), number) for number, row in enumerate(rows)]
    train, valid = pack(texts, LENGTH), pack([Tokenised(rows[0][:8], np.ones(8, bool), 0)], 8)
    goals, fold = goals_of(train, valid)
    features = np.zeros((len(train) + len(valid), 1), np.float32)
    job = FitJob(features, goals, (fold,), 0, Budget(time.perf_counter), Quiet(), n_steps=n_steps)
    settings = WritingSettings(rank=RANK, alpha=ALPHA, rate=RATE, length=LENGTH, batch=BATCH, epochs=1)
    began_s = time.perf_counter()
    found = rewrite(job, network, (train, valid), settings, bf16=True)
    assert found.rungs[-1].n_steps == n_steps
    return time.perf_counter() - began_s


def _trainer(model: Any, rows: Any, cache: Path, manner: str) -> float:
    """Return the seconds between the end of the early steps and that of the late ones."""
    import torch

    network = model.load(model.fetch(cache, Quiet()))  # behind whose guard transformers imports torchvision
    from peft import LoraConfig, get_peft_model
    from transformers import Trainer, TrainerCallback, TrainingArguments

    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM")
    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=BATCH,
            max_steps=N_EARLY + N_LATE,
            learning_rate=RATE,
            bf16=manner == "tuned",
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        data = [{"input_ids": torch.from_numpy(row), "labels": torch.from_numpy(row)} for row in rows]
        peft_model = get_peft_model(network, config)
        Trainer(model=peft_model, args=arguments, train_dataset=data, callbacks=[Clock()]).train()
    return times[-1] - times[N_EARLY - 1]


if __name__ == "__main__":
    main()
