"""Language models so small that any test may use one, with seeded random weights that make them sure of themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
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


def byte_tokenizer() -> str:
    """Return a ``tokenizer.json``: tokens are the 256 bytes, three pieces of words, and one that ends a text, 0."""
    from tokenizers import pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the")]
    words = ["<|end|>", *letters, *("".join(one) for one in merges)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [
                {
                    "id": 0,
                    "content": "<|end|>",
                    "special": True,
                    **dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False),
                }
            ],
            "normalizer": None,
            "pre_tokenizer": byte_level,
            "post_processor": None,
            "decoder": byte_level,
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": "",
                "end_of_word_suffix": "",
                "fuse_unk": False,
                "byte_fallback": False,
                "vocab": {word: number for number, word in enumerate(words)},
                "merges": [list(one) for one in merges],
            },
        }
    )


def write_tiny_writer(folder: Path, config: Mapping[str, Any] = LLAMA, **further: str) -> Path:
    """Write the files that transformers' ``save_pretrained`` writes, and further ones; return the folder."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    network = tiny_writer(dict(config))
    state, config = network.state_dict(), {"architectures": [type(network).__name__], **config}
    tied = {"lm_head.weight"} if config.get("tie_word_embeddings", True) else set()
    save_file(
        {name: value.clone() for name, value in state.items() if name not in tied},
        folder / "model.safetensors",
    )
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "tokenizer.json").write_text(byte_tokenizer(), encoding="utf-8")
    for name, content in further.items():
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def cut_in_shards(folder: Path, n: int = 2) -> Path:
    """Put the weights in a folder into several files with an index, as transformers does with large ones."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = {name: f"model-{i % n + 1:05}-of-{n:05}.safetensors" for i, name in enumerate(sorted(tensors))}
    for shard in set(names.values()):
        save_file({name: tensors[name] for name in names if names[name] == shard}, folder / shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    return folder
