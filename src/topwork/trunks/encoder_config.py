"""The files beside the weights of a text encoder, as transformers and sentence-transformers write them.

It knows ``config.json``, ``tokenizer.json`` and the two small files that say how a sentence encoder pools and how
long a text it takes. It reads no weights and runs no code that a file names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from topwork.contracts import TrunkCard
from topwork.errors import WeightsError
from topwork.inputs.text_preprocessing import TextPreprocessing
from topwork.trunks.encoder_trunk import EncoderTrunk
from topwork.trunks.encoders import Encoder, Pooling, measure
from topwork.trunks.origin import NO_LICENCE, Companion, Origin, is_commercial, read_object

__all__ = ["EncoderConfig", "assemble", "parse"]

TOKENIZER, LENGTH, POOLING = "tokenizer.json", "sentence_bert_config.json", "1_Pooling/config.json"
_LONGEST_WINDOW = 256
"""Tokens; attention costs the square of it, and most encoders were trained on no more."""


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """What the files say, checked; the licence is empty where they say nothing of one."""

    encoder: Encoder
    preprocessing: TextPreprocessing
    licence: str


def parse(config: Mapping[str, Any], companion: Companion, where: str) -> EncoderConfig:
    """Read the files beside ``config.json``; ``where`` names that in errors.

    Raises
    ------
    WeightsError
        There is no ``tokenizer.json``, or a file has a value that nothing here understands.
    """
    tokenizer = companion(TOKENIZER)
    if tokenizer is None:
        raise WeightsError(
            f"Beside {where} there is no {TOKENIZER}.",
            next_step="Write it once with transformers: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER).",
        )
    pooling: Pooling = "first" if _pools_first(companion, where) else "mean"
    window = _window(config, companion, where)
    encoder = Encoder(dict(config), pooling)
    return EncoderConfig(encoder, TextPreprocessing(tokenizer, window), str(config.get("license") or ""))


def assemble(config: EncoderConfig, origin: Origin) -> EncoderTrunk:
    """Make a trunk of a configuration and an origin; its network is measured without being allocated."""
    measured = measure(config.encoder)
    card = TrunkCard(
        name=origin.name,
        modality="text",
        summary=f"transformers' {config.encoder.kind}, {config.encoder.pooling} pooling",
        n_parameters=measured.n_parameters,
        n_features=measured.n_features,
        input_size=(config.preprocessing.window,),
        source=origin.description,
        licence=config.licence or NO_LICENCE,
        commercial=is_commercial(config.licence),
        offline=origin.offline,
        offers=frozenset({"pooled", "stages"} if measured.staged else {"pooled"}),
        weights_sha256=origin.weights_sha256,
    )
    return EncoderTrunk(card, origin.weights, "", lambda: config.preprocessing.tokenizer, config.encoder)


def _pools_first(companion: Companion, where: str) -> bool:
    """Tell whether a sentence encoder takes the first token's answer for that of the text."""
    text = companion(POOLING)
    return text is not None and bool(read_object(text, f"{where}: {POOLING}").get("pooling_mode_cls_token"))


def _window(config: Mapping[str, Any], companion: Companion, where: str) -> int:
    """Return how many tokens go together: what the network was trained on, and never more than it has places for."""
    text = companion(LENGTH)
    asked = read_object(text, f"{where}: {LENGTH}").get("max_seq_length") if text else None
    # RoBERTa counts places from the number of its padding token on, so two of its 514 are never used.
    places = int(config.get("max_position_embeddings") or _LONGEST_WINDOW)
    places -= 2 if places % 2 == 0 and places % 16 else 0
    try:
        return max(8, min(int(asked or _LONGEST_WINDOW), places))
    except (TypeError, ValueError) as error:
        raise WeightsError(
            f"{where}: max_seq_length is {asked!r}; expected a number of tokens.",
            next_step="Copy the file again from where it comes.",
        ) from error
