"""Language models so small that any test may use one, with seeded random weights that make them sure of themselves."""

from __future__ import annotations

from typing import Any

import torch

from topwork.trunks.causal import build

N_TOKENS = 300
LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "vocab_size": N_TOKENS,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
GPT2: dict[str, Any] = {
    "model_type": "gpt2",
    "n_embd": 64,
    "n_head": 4,
    "n_layer": 2,
    "n_positions": 512,
    "vocab_size": N_TOKENS,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
QWEN2_NEAR: dict[str, Any] = {
    **LLAMA,
    "model_type": "qwen2",
    "tie_word_embeddings": False,
    "use_sliding_window": True,
    "sliding_window": 4,
    "max_window_layers": 0,
}
"""It sees four tokens back."""


def tiny_writer(config: dict[str, Any], seed: int = 0, *, attention: str = "eager") -> Any:
    """Build one of these."""
    network = build(config, attention=attention)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in network.parameters():
            p.normal_(0, 0.3, generator=draw)
    network.tie_weights()
    return network


def continued(network: Any, tokens: tuple[int, ...], n: int) -> list[int]:
    """Return the ``n`` likeliest next tokens, each computed from the whole text before it."""
    text = torch.tensor([tokens])
    with torch.inference_mode():
        for _ in range(n):
            text = torch.cat([text, network(text).logits[:, -1].argmax(-1, keepdim=True)], dim=1)
    return [int(one) for one in text[0, len(tokens) :]]
