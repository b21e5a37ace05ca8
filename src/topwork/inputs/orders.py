"""What is asked of a language model: what to go on from, and how. It travels as bytes, as every encoded input does.

Plain text is an order too: to go on from it as the model does by itself. It knows no network and no protocol.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from topwork.contracts import Json, Sampling, Wire
from topwork.errors import DecodeError, UsageError
from topwork.inputs.chat import rendered
from topwork.inputs.vocabulary import Vocabulary

__all__ = ["USUAL_TOKENS", "WIRE", "Order", "opening_of", "read_order"]

WIRE: Final = Wire(
    in_json="text", media_types=("text/plain",), widget="textarea", max_bytes=4 * 2**20, noun="text"
)
USUAL_TOKENS: Final = 256
"""How long a text becomes at most that goes on from plain text."""
_MARK: Final = b"\x00"
"""What an order begins with that is not plain text."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for.

    Attributes
    ----------
    prompt
        Text that the answer goes on from.
    tokens
        Tokens in place of it.
    messages
        A chat in place of it, each with ``role`` and ``content``; the answer is the assistant's.
    n_most
        Tokens to be written at most, 0 or more; None for as many as there is room for, up to `USUAL_TOKENS`.
    unsaid
        Names of what of the sampling nobody chose, so that it is as the model has it.
    stops
        Texts that end it, and are no part of it.
    n_likeliest
        How many of the likeliest tokens are told with each; None where no token is told of.
    echoes
        Whether the answer begins with what it goes on from; its tokens are told of as the others are.
    schema
        JSON Schema that the answer keeps to; None where it may be anything.
    every_s
        It is answered piece by piece, at least so many seconds from one to the next; None for the whole at once.
    """

    prompt: str = ""
    tokens: tuple[int, ...] = ()
    messages: tuple[Mapping[str, str], ...] = ()
    n_most: int | None = None
    sampling: Sampling = field(default_factory=Sampling)
    unsaid: tuple[str, ...] = ()
    stops: tuple[str, ...] = ()
    n_likeliest: int | None = None
    echoes: bool = False
    schema: Mapping[str, Json] | None = None
    every_s: float | None = None

    def encoded(self) -> bytes:
        """Return it as an encoded input, which `read_order` reads."""
        stored = {one.name: getattr(self, one.name) for one in fields(self)}
        stored["sampling"] = {one.name: getattr(self.sampling, one.name) for one in fields(self.sampling)}
        return _MARK + json.dumps(stored).encode("utf-8")


def read_order(encoded: bytes) -> Order:
    """Read an order, or plain text in UTF-8.

    Raises
    ------
    DecodeError
        It is neither.
    """
    if not encoded.startswith(_MARK):
        return Order(_text(encoded), unsaid=tuple(one.name for one in fields(Sampling)))
    try:
        stored: dict[str, Any] = json.loads(encoded[1:])
        lists: dict[str, Any] = {
            name: tuple(stored.pop(name)) for name in ("tokens", "messages", "stops", "unsaid")
        }
        sampling = dict(stored.pop("sampling"))
        sampling["bias"] = tuple((int(token), float(added)) for token, added in sampling["bias"])
        return Order(**stored, **lists, sampling=Sampling(**sampling))
    except (ValueError, TypeError, KeyError) as error:
        raise DecodeError("This begins with a zero byte, and is no text.") from error


def opening_of(order: Order, vocabulary: Vocabulary, n_room: int) -> tuple[tuple[int, ...], int]:
    """Return the tokens that a text begins with, and how many may be written.

    Parameters
    ----------
    n_room
        Tokens that there is room for in all.

    Raises
    ------
    DecodeError
        They do not fit, are none of this vocabulary, or the chat is none that its template takes.
    """
    tokens = _tokens(order, vocabulary)
    n_left = n_room - len(tokens)
    n_most = order.n_most if order.n_most is not None else min(n_left, USUAL_TOKENS)
    if n_left < max(1, n_most):
        asked = f" and {n_most:,} are asked for" if order.n_most is not None else ""
        raise DecodeError(
            f"The text to go on from has {len(tokens):,} tokens{asked}; there is room for {n_room:,} in all.",
            next_step="Shorten it, or ask for less.",
        )
    return tokens, n_most


def _tokens(order: Order, vocabulary: Vocabulary) -> tuple[int, ...]:
    if order.messages:
        return tuple(vocabulary.opening(_chat(order, vocabulary)))
    if not order.tokens:
        return tuple(vocabulary.opening(order.prompt))
    if not all(0 <= token < len(vocabulary) for token in order.tokens):
        raise DecodeError(f"A token is none of this model's, which are 0 to {len(vocabulary) - 1:,}.")
    return order.tokens


def _chat(order: Order, vocabulary: Vocabulary) -> str:
    if not vocabulary.chat_template:
        raise DecodeError(
            "This model was not made for chats: it has no template.", next_step="Send it a plain text."
        )
    try:
        messages = [{name: vocabulary.spelled(said) for name, said in one.items()} for one in order.messages]
        return rendered(vocabulary.chat_template, messages, opens_answer=True)
    except UsageError as error:
        raise DecodeError(error.problem) from error


def _text(encoded: bytes) -> str:
    try:
        return encoded.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DecodeError("This is no text in UTF-8.", next_step="Send it as UTF-8.") from error
