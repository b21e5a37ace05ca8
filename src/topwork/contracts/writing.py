"""What writes on: language models, how a next token is chosen, and what is asked of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from topwork.contracts.networks import Pretrained
from topwork.contracts.values import Array

__all__ = ["Attention", "Ending", "Grammar", "LanguageModel", "Sampling", "Written"]

Ending: TypeAlias = Literal["stop", "length"]
"""Why a text ended: by a token or words that it was to stop at, or because it was as long as it might become."""


@dataclass(frozen=True, slots=True)
class Attention:
    """One layer's attention, as an engine needs it to compute it its own way.

    Attributes
    ----------
    n_heads, n_kv_heads
        Of the queries, and of keys and values, which several queries may share.
    head_size, value_size
        Of one head's keys, and of its values.
    scale
        What products of queries and keys are multiplied by.
    window
        How many tokens back it sees, itself counted; 0 for all.
    """

    n_heads: int
    n_kv_heads: int
    head_size: int
    value_size: int
    scale: float
    window: int = 0


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a next token is chosen out of the scores of all; `topwork.engines.sampling.require` tells what makes sense.

    They are changed in this order: ``bias``, ``repetition_penalty``, ``frequency_penalty`` and ``presence_penalty``,
    ``temperature``, ``top_k``, ``top_p``, ``min_p``.

    Attributes
    ----------
    temperature
        Scores are divided by it; 0 always takes the likeliest token.
    top_k
        Only so many likeliest tokens are in the draw; 0 for all.
    top_p
        Only the likeliest tokens that together have this probability (Holtzman et al., arXiv 1904.09751).
    min_p
        Only tokens at least this share as likely as the likeliest (Nguyen et al., arXiv 2407.01082).
    repetition_penalty
        Divides the scores of tokens that were there, or multiplies negative ones (Keskar et al., arXiv 1909.05858);
        1 for none.
    seed
        Of the draw; None for another one each time.
    frequency_penalty, presence_penalty
        Taken from the score of a token for each time that it was written, and once where it was; what a text begins
        with does not count (the OpenAI API's definition).
    bias
        Tokens and what is added to their scores.
    """

    temperature: float = 0.7
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    bias: tuple[tuple[int, float], ...] = ()


class Grammar(Protocol):
    """What a text must be, token by token; it belongs to one text."""

    def allowed(self) -> Array:
        """Return which tokens may come next, ``bool [v]``; at least one."""
        ...

    def take(self, token: int) -> None:
        """Note the token that came."""
        ...


@dataclass(frozen=True, slots=True)
class Written:
    """One more token of the text with this number.

    Attributes
    ----------
    number, token
        Of the text, and what comes next in it.
    log_probability
        That the network gave it, before anything was changed for the draw; in nats.
    ending
        None where more follows. Where it is ``stop``, the token is one to stop at and no part of the text.
    likeliest
        The likeliest tokens, each with its log probability, as many as were asked for.
    is_given
        Whether it is one of those that the text begins with.
    """

    number: int
    token: int
    log_probability: float
    ending: Ending | None = None
    likeliest: tuple[tuple[int, float], ...] = ()
    is_given: bool = False


class LanguageModel(Pretrained, Protocol):
    """A pretrained network that writes texts on; its `graph` is one that `topwork.engines.paged` runs."""

    def vocabulary(self) -> Any:
        """Return its `topwork.inputs.vocabulary.Vocabulary`."""
        ...

    def load(self, weights: Path, *, attention: str = "sdpa") -> Any:
        """Build the network of transformers in evaluation mode, its weights filled in."""
        ...
