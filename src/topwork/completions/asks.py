"""Bodies of the OpenAI API become orders: what is asked of a language model, and how it is to be told.

Sources: https://platform.openai.com/docs/api-reference/completions and .../chat. What other servers of this API take
besides is taken too: ``top_k``, ``min_p`` and ``repetition_penalty``. It knows no model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from topwork.completions.fields import Fields, Wrong, count, one_of, real, switch, text, texts
from topwork.contracts import Json, Sampling
from topwork.engines.sampling import drawn
from topwork.inputs.orders import Order
from topwork.serving.http.bodies import kind_of

__all__ = ["IGNORED", "IGNORED_OF_CHATS", "Ask", "Form", "read_chat", "read_completion"]

Form = Literal["text", "chat"]

_MOST_TOKENS: Final = 1_000_000
_MOST_STOPS: Final = 16
_MOST_LIKELIEST: Final = 20
_USUAL_COMPLETION: Final = 16
"""Tokens of a completion that says nothing of it, as the API has it."""
IGNORED: Final = ("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key")
IGNORED_OF_CHATS: Final = (*IGNORED, "parallel_tool_calls", "reasoning_effort", "verbosity", "prediction")
"""Fields that change nothing here, whatever they hold."""
_ROLES: Final = ("system", "developer", "user", "assistant")
_ALIVE_S: Final = 1.0
"""How often a text that does not stream is told of, so that it is seen to go on: deadlines hold from piece to piece."""
_NO_TOOLS: Final = "models here call no tools."


@dataclass(frozen=True, slots=True)
class Ask:
    """What one request asks for.

    Attributes
    ----------
    model
        Whom it asks; None for the first model that writes.
    orders
        An order for each choice, ``n`` for each prompt.
    n
        Choices for a prompt.
    streams, tells_usage
        Whether it is answered piece by piece, and whether the last piece tells of the tokens.
    """

    form: Form
    model: str | None
    orders: tuple[Order, ...]
    n: int
    streams: bool
    tells_usage: bool


def read_completion(content: bytes, max_inputs: int) -> Ask:
    """Read the body of ``/v1/completions``.

    Raises
    ------
    Wrong
        It is none, or asks for what cannot be granted.
    """
    fields = Fields(content)
    prompts = fields.need("prompt", _prompts)
    n_likeliest = fields.take("logprobs", count(0, _MOST_LIKELIEST), None)
    n_most = fields.take("max_tokens", count(0, _MOST_TOKENS), _USUAL_COMPLETION)
    echoes = fields.take("echo", switch, default=False)
    if not n_most and not echoes:
        raise Wrong("max_tokens", "max_tokens is 0, so that there is nothing to tell.", "Add echo: true.")
    n = fields.take("n", count(1, max_inputs), 1)
    fields.refuse("suffix", "models here write on, and do not fill in.", but=[""])
    fields.refuse("best_of", "all that is written is returned.", but=[n, 1])
    fields.ignore(IGNORED)
    base = Order(n_most=n_most, n_likeliest=n_likeliest, echoes=echoes)
    orders = [
        replace(base, **({"prompt": one} if isinstance(one, str) else {"tokens": one})) for one in prompts
    ]
    return _ask(fields, "text", orders, n=n, max_inputs=max_inputs)


def read_chat(content: bytes, max_inputs: int) -> Ask:
    """Read the body of ``/v1/chat/completions``.

    Raises
    ------
    Wrong
        It is none, or asks for what cannot be granted.
    """
    fields = Fields(content)
    messages = fields.need("messages", _messages)
    limits = [
        fields.take(name, count(1, _MOST_TOKENS), None) for name in ("max_completion_tokens", "max_tokens")
    ]
    tells = fields.take("logprobs", switch, default=False)
    n_likeliest = fields.take("top_logprobs", count(0, _MOST_LIKELIEST), None)
    if n_likeliest is not None and not tells:
        raise Wrong("top_logprobs", "top_logprobs is given without logprobs.", "Add logprobs: true.")
    schema = fields.take("response_format", _schema, None)
    n = fields.take("n", count(1, max_inputs), 1)
    fields.refuse("tools", _NO_TOOLS, but=[[]])
    fields.refuse("functions", _NO_TOOLS, but=[[]])
    fields.refuse("tool_choice", _NO_TOOLS, but=["none", "auto"])
    fields.refuse("modalities", "models here write texts.", but=[["text"]])
    fields.ignore(IGNORED_OF_CHATS)
    order = Order(
        messages=messages,
        n_most=next((one for one in limits if one is not None), None),
        n_likeliest=(n_likeliest or 0) if tells else None,
        schema=schema,
    )
    return _ask(fields, "chat", [order], n=n, max_inputs=max_inputs)


def _ask(fields: Fields, form: Form, orders: Sequence[Order], *, n: int, max_inputs: int) -> Ask:
    """Take what both forms have in common."""
    sampling, unsaid = _sampling(fields)
    nothing: tuple[str, ...] = ()
    stops = fields.take("stop", texts(_MOST_STOPS), nothing)
    streams = fields.take("stream", switch, default=False)
    tells_usage = fields.take("stream_options", _tells_usage, default=False)
    model = fields.take("model", text, None)
    fields.end()
    if len(orders) * n > max_inputs:
        raise Wrong(
            "n", f"{len(orders) * n} texts are asked for; at most {max_inputs} are written for a request."
        )
    if any(not stop for stop in stops):
        raise Wrong("stop", "A text to stop at is empty.")
    every = [
        replace(
            order,
            sampling=drawn(sampling, number),
            unsaid=unsaid,
            stops=stops,
            every_s=0.0 if streams else _ALIVE_S,
        )
        for order in orders
        for number in range(n)
    ]
    return Ask(form, model, tuple(every), n, streams, tells_usage and streams)


def _sampling(fields: Fields) -> tuple[Sampling, tuple[str, ...]]:
    """Return what is said of the sampling, and names of what is not."""
    given: dict[str, Any] = {
        "temperature": fields.take("temperature", real(0, 2), None),
        "top_k": fields.take("top_k", _top_k, None),
        "top_p": fields.take("top_p", real(0, 1), None),
        "min_p": fields.take("min_p", real(0, 1), None),
        "repetition_penalty": fields.take("repetition_penalty", real(0.01, 100), None),
        "seed": fields.take("seed", _seed, None),
        "frequency_penalty": fields.take("frequency_penalty", real(-2, 2), None),
        "presence_penalty": fields.take("presence_penalty", real(-2, 2), None),
        "bias": fields.take("logit_bias", _bias, None),
    }
    unsaid = tuple(name for name, value in given.items() if value is None)
    return Sampling(**{name: value for name, value in given.items() if value is not None}), unsaid


# --- single fields ----------------------------------------------------------------------------------------


def _prompts(name: str, value: Any) -> tuple[str | tuple[int, ...], ...]:
    """Read a text, a list of texts, a list of tokens, or a list of such lists."""
    if isinstance(value, str):
        return (text(name, value),)
    if isinstance(value, list) and value:
        if all(type(one) is int for one in value):
            return (_tokens(name, value),)
        if all(isinstance(one, str) for one in value):
            return tuple(text(f"{name}[{place}]", one) for place, one in enumerate(value))
        if all(isinstance(one, list) and one for one in value):
            return tuple(_tokens(f"{name}[{place}]", one) for place, one in enumerate(value))
    raise Wrong(
        name,
        f"{name} is {kind_of(value)}; expected a string, a list of strings, or lists of tokens, not empty.",
    )


def _tokens(name: str, value: list[Any]) -> tuple[int, ...]:
    if not all(type(one) is int and 0 <= one <= _MOST_TOKENS for one in value):
        raise Wrong(
            name, f"{name} is a list with something else than tokens, which are whole numbers from 0."
        )
    return tuple(value)


def _messages(name: str, value: Any) -> tuple[Mapping[str, str], ...]:
    if not isinstance(value, list) or not value:
        raise Wrong(name, f"{name} is {kind_of(value)}; expected a list of messages that is not empty.")
    return tuple(_message(f"{name}[{place}]", one) for place, one in enumerate(value))


def _message(name: str, value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict) or "role" not in value or "content" not in value:
        raise Wrong(name, f"{name} is {kind_of(value)}; expected an object with role and content.")
    if value.get("tool_calls") or value.get("function_call"):
        raise Wrong(name, f"{name} holds calls of tools; {_NO_TOOLS}")
    role = one_of(*_ROLES)(f"{name}.role", value["role"])
    return {
        "role": "system" if role == "developer" else role,
        "content": _content(f"{name}.content", value["content"]),
    }


def _content(name: str, value: Any) -> str:
    """Read a text, or a list of parts that are text."""
    if not isinstance(value, list):
        return text(name, value)
    for place, part in enumerate(value):
        if not isinstance(part, dict) or part.get("type") != "text":
            got = f"of the type {str(part.get('type'))[:40]!r}" if isinstance(part, dict) else kind_of(part)
            raise Wrong(f"{name}[{place}]", f"{name}[{place}] is {got}; models here read text alone.")
    return "".join(text(f"{name}[{place}].text", part.get("text")) for place, part in enumerate(value))


def _schema(name: str, value: Any) -> Mapping[str, Json] | None:
    """Read how an answer is to look; an empty schema is that of any object."""
    kind = value.get("type") if isinstance(value, dict) else None
    kind = one_of("text", "json_object", "json_schema")(f"{name}.type", kind)
    if kind != "json_schema":
        return None if kind == "text" else {}
    told = value.get("json_schema")
    schema = told.get("schema") if isinstance(told, dict) else None
    if not isinstance(schema, dict):
        where = f"{name}.json_schema.schema"
        raise Wrong(where, f"{where} is {kind_of(schema)}; expected a JSON Schema.")
    return schema


def _top_k(name: str, value: Any) -> int:
    """Read how many tokens are in the draw; -1 stands for all, as 0 does."""
    return max(0, count(-1, _MOST_TOKENS)(name, value))


def _seed(name: str, value: Any) -> int:
    return count(-(2**63), 2**63 - 1)(name, value) % 2**63


def _bias(name: str, value: Any) -> tuple[tuple[int, float], ...]:
    if not isinstance(value, dict) or not all(re.fullmatch("[0-9]{1,7}", key) for key in value):
        raise Wrong(name, f"{name} is {kind_of(value)}; expected an object of tokens and numbers.")
    return tuple((int(key), real(-100, 100)(f"{name}.{key}", added)) for key, added in value.items())


def _tells_usage(name: str, value: Any) -> bool:
    if not isinstance(value, dict):
        raise Wrong(name, f"{name} is {kind_of(value)}; expected an object.")
    told = value.get("include_usage")
    return False if told is None else switch(f"{name}.include_usage", told)
