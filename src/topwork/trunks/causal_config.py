"""The files beside the weights of a language model, as transformers writes them.

It knows ``config.json``, ``tokenizer.json``, and where the chat template and the tokens that end a text are told. It
reads no weights and runs no code that a file names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from topwork.contracts import Sampling, TrunkCard
from topwork.errors import WeightsError
from topwork.inputs.vocabulary import Vocabulary
from topwork.trunks import causal
from topwork.trunks.causal_trunk import CausalTrunk
from topwork.trunks.origin import NO_LICENCE, Companion, Origin, is_commercial, read_object

__all__ = ["open_writer"]

_TOKENIZER, _TOKENS, _TEMPLATE, _GENERATION = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "generation_config.json",
)
_WINDOWS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len")
"""What kinds of networks call the most tokens that they see."""
_USUAL_WINDOW = 2048
_HABITS = {
    "temperature": (0.0, 100.0),
    "top_k": (0, 1_000_000),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "repetition_penalty": (0.001, 1000.0),
}
"""What a file says of how tokens are chosen, and between which bounds that makes sense."""


def open_writer(text: str, where: str, companion: Companion, origin: Callable[[], Origin]) -> CausalTrunk:
    """Make a language model of a ``config.json``, the files beside it and an origin; ``where`` names it in errors.

    Raises
    ------
    WeightsError
        A file is missing or not what it should be.
    UsageError
        transformers has no such network.
    """
    config = read_object(text, where)
    if "model_type" not in config:
        raise WeightsError(
            f'{where} has no "model_type".',
            next_step="Give a language model as transformers' save_pretrained writes it.",
        )
    vocabulary = _vocabulary(config, companion, where)
    n_parameters = causal.count(config)
    found = origin()
    licence = str(config.get("license") or "")
    card = TrunkCard(
        name=found.name,
        modality="text",
        summary=f"transformers' {config['model_type']}, a language model",
        n_parameters=n_parameters,
        n_features=int(config.get("hidden_size") or config.get("n_embd") or 0),
        input_size=(vocabulary.window,),
        source=found.description,
        licence=licence or NO_LICENCE,
        commercial=is_commercial(licence),
        offline=found.offline,
        offers=frozenset({"writes"}),
        weights_sha256=found.weights_sha256,
    )
    return CausalTrunk(card, lambda: vocabulary, config, found.weights)


def _vocabulary(config: Mapping[str, Any], companion: Companion, where: str) -> Vocabulary:
    tokenizer = companion(_TOKENIZER)
    if tokenizer is None:
        raise WeightsError(
            f"Beside {where} there is no {_TOKENIZER}.",
            next_step="Write it once with transformers: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER).",
        )
    told = {name: _object(companion, name, where) for name in (_TOKENS, _GENERATION)}
    window = next((config[name] for name in _WINDOWS if isinstance(config.get(name), int)), _USUAL_WINDOW)
    adds = told[_TOKENS].get("add_bos_token") is True
    template = companion(_TEMPLATE) or told[_TOKENS].get("chat_template") or ""
    return Vocabulary(
        tokenizer,
        window,
        begin=_first(config.get("bos_token_id")) if adds else None,
        ends=tuple(
            dict.fromkeys(
                [*_numbers(config.get("eos_token_id")), *_numbers(told[_GENERATION].get("eos_token_id"))]
            )
        ),
        chat_template=template if isinstance(template, str) else "",
        sampling=_sampling(told[_GENERATION]),
        config=json.dumps(config, sort_keys=True),
    )


def _sampling(told: Mapping[str, Any]) -> Sampling:
    """Return how the library would choose tokens; what it says of a draw counts only where it draws at all."""
    if told.get("do_sample") is not True:
        return Sampling()
    found = {name: told.get(name) for name in _HABITS}
    given: dict[str, Any] = {
        name: one for name, one in found.items() if type(one) in (int, float) and _fits(name, one)
    }
    return Sampling(**given)


def _fits(name: str, value: Any) -> bool:
    low, high = _HABITS[name]
    return bool(low <= value <= high) and (name != "top_k" or isinstance(value, int))


def _object(companion: Companion, name: str, where: str) -> Mapping[str, Any]:
    text = companion(name)
    return {} if text is None else read_object(text, f"{name} beside {where}")


def _numbers(value: object) -> list[int]:
    several = value if isinstance(value, list) else [value]
    return [one for one in several if isinstance(one, int) and not isinstance(one, bool)]


def _first(value: object) -> int | None:
    return next(iter(_numbers(value)), None)
