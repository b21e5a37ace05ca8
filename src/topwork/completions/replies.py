"""What was written, as the OpenAI API tells of it: whole, or as a stream of events.

It is given answers as `topwork.steps.served_writing` makes them, and knows no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from topwork.completions.asks import Ask
from topwork.contracts import Answer, Json
from topwork.serving.http.messages import dumps

__all__ = ["DONE", "Told", "event", "told_error"]

DONE: Final = b"data: [DONE]\n\n"
_OBJECTS: Final = {
    "text": ("text_completion", "text_completion"),
    "chat": ("chat.completion", "chat.completion.chunk"),
}
_MARKS: Final = {"text": "cmpl", "chat": "chatcmpl"}


@dataclass(slots=True)
class _Choice:
    """One text on its way to a client."""

    text: str = ""
    tokens: list[Any] = field(default_factory=list)
    ending: str | None = None
    n_prompt_tokens: int = 0
    n_tokens: int = 0
    n_letters: int = 0
    """Of the text before the tokens that are yet to be told."""
    is_begun: bool = False


class Told:
    """The answer to one request as it comes.

    Parameters
    ----------
    model
        Name of whoever answers.
    key
        Of this answer, unlike all others.
    created_s
        Seconds since 1970.
    """

    def __init__(self, ask: Ask, model: str, key: str, created_s: float) -> None:
        self._ask = ask
        self._head: dict[str, Json] = {
            "id": f"{_MARKS[ask.form]}-{key}",
            "created": int(created_s),
            "model": model,
            "system_fingerprint": None,
        }
        self._choices = [_Choice() for _ in ask.orders]

    @property
    def n_tokens(self) -> tuple[int, int]:
        """How many tokens the prompts had, each counted once, and how many were written."""
        given = sum(one.n_prompt_tokens for one in self._choices[:: self._ask.n])
        return given, sum(one.n_tokens for one in self._choices)

    def take(self, answers: Sequence[Answer]) -> None:
        """Note answers, or pieces of them."""
        for answer in answers:
            self._take(answer)

    def whole(self) -> Json:
        """Return the whole answer."""
        choices: list[Json] = [self._whole(index, one) for index, one in enumerate(self._choices)]
        return {
            "object": _OBJECTS[self._ask.form][0],
            **self._head,
            "choices": choices,
            "usage": self._usage(),
        }

    def pieces(self, answers: Sequence[Answer]) -> Iterator[bytes]:
        """Note pieces of answers, and return the events that tell of them."""
        for answer in answers:
            choice = self._take(answer)
            if self._ask.form == "chat" and not choice.is_begun:
                yield self._event(answer.index, {"role": "assistant", "content": ""}, None, None)
            piece, choice.is_begun = choice.text, True
            if piece or choice.tokens:
                delta: Json = piece if self._ask.form == "text" else {"content": piece}
                yield self._event(answer.index, delta, self._log_probabilities(choice), None)
            if choice.ending is not None:
                empty: Json = "" if self._ask.form == "text" else {}
                yield self._event(answer.index, empty, None, choice.ending)
            choice.n_letters += len(piece)
            choice.text, choice.tokens = "", []

    def last(self) -> Iterator[bytes]:
        """Return the events that end the stream."""
        if self._ask.tells_usage:
            yield event(
                {"object": _OBJECTS[self._ask.form][1], **self._head, "choices": [], "usage": self._usage()}
            )
        yield DONE

    def _take(self, answer: Answer) -> _Choice:
        choice, value = self._choices[answer.index], answer.value
        assert value is not None
        found: dict[str, Any] = dict(value)
        choice.text += found["text"]
        choice.tokens += found["tokens"]
        choice.ending = found["ending"]
        choice.n_prompt_tokens, choice.n_tokens = found["n_prompt_tokens"], found["n_tokens"]
        return choice

    def _whole(self, index: int, choice: _Choice) -> Json:
        text, logs = choice.text, self._log_probabilities(choice)
        ended: dict[str, Json] = {"index": index, "logprobs": logs, "finish_reason": choice.ending}
        if self._ask.form == "text":
            return {"text": text, **ended}
        message: Json = {"role": "assistant", "content": text, "refusal": None}
        return {"message": message, **ended}

    def _event(self, index: int, delta: Json, logs: Json, ending: str | None) -> bytes:
        word = "text" if self._ask.form == "text" else "delta"
        choice: Json = {"index": index, word: delta, "logprobs": logs, "finish_reason": ending}
        usage: dict[str, Json] = {"usage": None} if self._ask.tells_usage else {}
        return event({"object": _OBJECTS[self._ask.form][1], **self._head, "choices": [choice], **usage})

    def _usage(self) -> Json:
        given, written = self.n_tokens
        return {"prompt_tokens": given, "completion_tokens": written, "total_tokens": given + written}

    def _log_probabilities(self, choice: _Choice) -> Json:
        if self._ask.orders[0].n_likeliest is None:
            return None
        return _of_chat(choice.tokens) if self._ask.form == "chat" else _of_text(choice)


def event(said: Json) -> bytes:
    """Return a server-sent event."""
    return b"data: " + dumps(said) + b"\n\n"


def told_error(message: str, *, kind: str, param: str | None, code: str | None) -> dict[str, Json]:
    """Return an error as the clients of this API read it."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _of_chat(tokens: Sequence[Any]) -> Json:
    found: list[Json] = [
        {**_one(token), "top_logprobs": [_one(other) for other in token["likeliest"]]} for token in tokens
    ]
    return {"content": found, "refusal": None}


def _one(token: Any) -> dict[str, Json]:
    text = token["token"]
    is_broken = "\N{REPLACEMENT CHARACTER}" in text  # part of a letter, of which the text says nothing
    spelled: list[Json] | None = None if is_broken else list(text.encode("utf-8"))
    return {"token": text, "logprob": token["log_probability"], "bytes": spelled}


def _of_text(choice: _Choice) -> Json:
    offsets, place = [], choice.n_letters
    for token in choice.tokens:
        offsets.append(place)
        place += len(token["token"])
    return {
        "tokens": [token["token"] for token in choice.tokens],
        "token_logprobs": [token["log_probability"] for token in choice.tokens],
        "top_logprobs": [_likeliest_of(token) for token in choice.tokens],
        "text_offset": offsets,
    }


def _likeliest_of(token: Any) -> Json:
    """Return probabilities by the texts of tokens; of several with the same text the likeliest counts.

    The first token of a text that is echoed has no probability, and neither has any other in its place.
    """
    if token["log_probability"] is None:
        return None
    return {one["token"]: one["log_probability"] for one in reversed(token["likeliest"])}
