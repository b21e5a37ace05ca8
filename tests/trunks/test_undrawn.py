"""Networks that are to be filled are built without drawing weights; what no file holds is there all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tiny_text_trunk import write_tiny_text_trunk
from tiny_writers import GPT2, LLAMA, tiny_writer
from topwork.trunks.causal import build, fill
from topwork.trunks.folder import open_folder
from topwork.trunks.undrawn import Undrawn


@pytest.fixture
def no_memory_is_zero() -> Iterator[None]:
    """Let torch fill memory that nothing was written to with no numbers, as its deterministic mode does."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("no_memory_is_zero")
@pytest.mark.parametrize("config", [LLAMA, GPT2])
def test_what_a_file_does_not_hold_is_there(config: dict[str, Any], tmp_path: Path) -> None:
    network = tiny_writer(config)
    tensors = {
        name: value.clone() for name, value in network.state_dict().items() if name != "lm_head.weight"
    }
    save_file(tensors, tmp_path / "w.safetensors")
    with Undrawn():
        blank = build(config)
    assert any(p.isnan().any() for p in blank.parameters())
    tokens = torch.tensor([[1, 2, 3]])
    with torch.inference_mode():
        filled = fill(blank, tmp_path / "w.safetensors")
        assert torch.allclose(filled(tokens).logits, network(tokens).logits, atol=1e-5)


@pytest.mark.usefixtures("no_memory_is_zero")
def test_a_text_trunk_has_every_weight(tmp_path: Path) -> None:
    folder = write_tiny_text_trunk(tmp_path)
    features = open_folder(folder).load(folder / "model.safetensors")(torch.ones(2, 1, 16, dtype=torch.int32))
    assert features.isfinite().all()


@pytest.mark.usefixtures("no_memory_is_zero")
def test_another_thread_draws_as_ever() -> None:
    made: list[torch.nn.Module] = []
    with Undrawn():
        thread = Thread(target=lambda: made.append(build(LLAMA)))
        thread.start()
        thread.join()
    assert all(p.isfinite().all() for p in [*made[0].parameters(), *build(LLAMA).parameters()])
