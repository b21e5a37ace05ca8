"""Texts that must be JSON, token by token, by the package llguidance.

It knows no network: it is told the tokens, and says which may come next.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from topwork.contracts import Array, Json
from topwork.errors import MissingExtraError, UsageError
from topwork.inputs.vocabulary import Vocabulary

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

__all__ = ["JsonGrammar", "require_schema"]


class JsonGrammar:
    """JSON of a schema, as one text becomes it; see `topwork.contracts.Grammar`.

    Parameters
    ----------
    schema
        JSON Schema; an empty one is that of any object.
    """

    def __init__(self, schema: Mapping[str, Json], vocabulary: Vocabulary) -> None:
        self._n_tokens = len(vocabulary)
        self._matcher = _matcher(schema, vocabulary)

    def allowed(self) -> Array:
        """Return which tokens may come next, ``bool [v]``: where the JSON is complete those that end a text."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        return np.unpackbits(bits, bitorder="little")[: self._n_tokens].astype(bool)

    def take(self, token: int) -> None:
        """Note the token that came."""
        self._matcher.consume_token(token)


def require_schema(schema: Mapping[str, Json], vocabulary: Vocabulary) -> None:
    """Find out whether texts can be held to a schema.

    Raises
    ------
    UsageError
        They cannot; the reason is in the message.
    MissingExtraError
        llguidance is not installed.
    """
    _matcher(schema, vocabulary)


def _matcher(schema: Mapping[str, Json], vocabulary: Vocabulary) -> LLMatcher:
    tokenizer = _tokenizer(vocabulary)
    from llguidance import LLMatcher

    try:
        grammar = LLMatcher.grammar_from_json_schema(
            json.dumps(schema or {"type": "object"}), overrides={"whitespace_flexible": False}
        )
        matcher = LLMatcher(tokenizer, grammar)
    except ValueError as error:
        raise UsageError(f"Texts cannot be held to this JSON Schema: {error}.") from error
    if matcher.is_error():
        raise UsageError(f"Texts cannot be held to this JSON Schema: {matcher.get_error()[:500]}.")
    return matcher


@lru_cache(maxsize=4)
def _tokenizer(vocabulary: Vocabulary) -> LLTokenizer:
    try:
        from llguidance import LLTokenizer
    except ImportError as error:
        raise MissingExtraError(
            "Texts that keep to a JSON Schema need the package llguidance, which is not installed.",
            next_step="Install topwork with its extra generate.",
        ) from error
    return LLTokenizer(vocabulary.tokenizer, n_vocab=len(vocabulary), eos_token=list(vocabulary.ends) or None)
