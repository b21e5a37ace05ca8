"""How OpenAPI describes the API. It knows no model but by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from topwork.completions.asks import IGNORED, IGNORED_OF_CHATS
from topwork.serving.dialects import Described
from topwork.serving.protocols.schemas import MEANINGS, RETRY_AFTER, TIMEOUT, Object, closed, ref, response

__all__ = ["described"]

_STATUSES: Final = (400, 404, 408, 413, 429, 500, 503)
_TEXT: Final[Object] = {"type": "string"}
_WHOLE: Final[Object] = {"type": "integer"}
_REAL: Final[Object] = {"type": "number"}
_SWITCH: Final[Object] = {"type": "boolean"}
_TOKENS: Final[Object] = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 1_000_000}}
_LOGS: Final[Object] = {"anyOf": [{"type": "object"}, {"const": None}]}
_ENDING: Final[Object] = {"enum": ["stop", "length", None]}


def described(writing: Sequence[str], embedding: Sequence[str], *, max_inputs: int) -> Described:
    """Describe the routes of models that write, and of those that embed."""
    paths: Object = {}
    schemas: Object = {}
    if writing:
        paths["/v1/completions"] = _operation(
            "createCompletion", "Write texts on.", _completion(writing, max_inputs), "Completion"
        )
        paths["/v1/chat/completions"] = _operation(
            "createChatCompletion", "Answer a chat.", _chat(writing, max_inputs), "ChatCompletion"
        )
        schemas |= _written()
    if embedding:
        paths["/v1/embeddings"] = _operation(
            "createEmbedding", "Turn texts into vectors.", _embedding(embedding, max_inputs), "Embeddings"
        )
        schemas["Embeddings"] = _vectors()
    if paths:
        schemas["OpenAIError"] = _error()
    return Described(paths, schemas)


def _operation(name: str, summary: str, body: Object, answer: str) -> Object:
    content: Object = {"application/json": {"schema": ref(answer)}}
    if answer != "Embeddings":
        content["text/event-stream"] = {"schema": True}
    failures: Object = {str(status): response(MEANINGS[status], ref("OpenAIError")) for status in _STATUSES}
    for status in ("429", "503"):
        failures[status] = {**response(MEANINGS[int(status)], ref("OpenAIError")), "headers": RETRY_AFTER}
    return {
        "post": {
            "operationId": name,
            "summary": summary,
            "description": "As the OpenAI API has it; its clients work with this server's address.",
            "parameters": [TIMEOUT],
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
            "responses": {"200": {"description": "What was asked for.", "content": content}, **failures},
        }
    }


# --- requests ---------------------------------------------------------------------------------------------


def _between(low: float, high: float) -> Object:
    return {**_REAL, "minimum": low, "maximum": high}


def _count(low: int, high: int) -> Object:
    return {**_WHOLE, "minimum": low, "maximum": high}


def _body(fields: Object, needed: str) -> Object:
    """Return the schema of a body of which one field must be there; the others may be null as well."""
    others = [name for name in fields if name != needed]
    nullable: Object = {name: {"anyOf": [fields[name], {"const": None}]} for name in others}
    return closed({needed: fields[needed], **nullable}, others)


def _common(models: Sequence[str], max_inputs: int) -> Object:
    stop: Object = {"type": "string", "minLength": 1}
    return {
        "model": {"type": "string", "enum": list(models)},
        "n": _count(1, max_inputs),
        "stream": _SWITCH,
        "stream_options": {
            "type": "object",
            "properties": {"include_usage": {"anyOf": [_SWITCH, {"const": None}]}},
        },
        "stop": {"anyOf": [stop, {"type": "array", "items": stop, "maxItems": 16}]},
        "seed": _count(-(2**63), 2**63 - 1),
        "temperature": _between(0, 2),
        "top_p": _between(0, 1),
        "frequency_penalty": _between(-2, 2),
        "presence_penalty": _between(-2, 2),
        "logit_bias": {
            "type": "object",
            "propertyNames": {"pattern": "^[0-9]{1,7}$"},
            "additionalProperties": _between(-100, 100),
        },
        "top_k": {
            **_count(-1, 1_000_000),
            "description": "Not OpenAI's: as many likeliest tokens are in the draw.",
        },
        "min_p": {
            **_between(0, 1),
            "description": "Not OpenAI's: the least probability, as a share of the highest.",
        },
        "repetition_penalty": {
            **_between(0.01, 100),
            "description": "Not OpenAI's: divides scores of tokens so far.",
        },
        "max_tokens": _count(1, 1_000_000),
    }


def _completion(models: Sequence[str], max_inputs: int) -> Object:
    tokens: Object = {**_TOKENS, "minItems": 1}
    prompts: list[Object] = [
        _TEXT,
        {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": max_inputs},
        tokens,
        {"type": "array", "items": tokens, "minItems": 1, "maxItems": max_inputs},
    ]
    fields: Object = {
        "prompt": {"anyOf": list(prompts)},
        **_common(models, max_inputs),
        "max_tokens": {**_count(0, 1_000_000), "description": "0 with echo alone: nothing is written."},
        "echo": _SWITCH,
        "logprobs": _count(0, 20),
        **dict.fromkeys(IGNORED, True),
    }
    return _body(fields, "prompt")


def _chat(models: Sequence[str], max_inputs: int) -> Object:
    part = closed({"type": {"const": "text"}, "text": _TEXT})
    content: Object = {"anyOf": [_TEXT, {"type": "array", "items": part}]}
    role: Object = {"enum": ["system", "developer", "user", "assistant"]}
    message = closed({"role": role, "content": content, "name": _TEXT}, ["name"])
    schema: Object = {"type": "object", "properties": {"schema": {"type": "object"}}, "required": ["schema"]}
    formats: list[Object] = [
        closed({"type": {"enum": ["text", "json_object"]}}),
        closed({"type": {"const": "json_schema"}, "json_schema": schema}),
    ]
    fields: Object = {
        "messages": {"type": "array", "items": message, "minItems": 1},
        **_common(models, max_inputs),
        "max_completion_tokens": _count(1, 1_000_000),
        "logprobs": _SWITCH,
        "top_logprobs": _count(0, 20),
        "response_format": {"anyOf": list(formats)},
        **dict.fromkeys(IGNORED_OF_CHATS, True),
    }
    return _body(fields, "messages")


def _embedding(models: Sequence[str], max_inputs: int) -> Object:
    several: Object = {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": max_inputs}
    fields: Object = {
        "input": {"anyOf": [_TEXT, several]},
        "model": {"type": "string", "enum": list(models)},
        "encoding_format": {"enum": ["float", "base64"]},
        "dimensions": _count(1, 1_000_000),
        "user": True,
    }
    return _body(fields, "input")


# --- answers ----------------------------------------------------------------------------------------------


def _written() -> Object:
    text = closed({"text": _TEXT, "index": _WHOLE, "logprobs": _LOGS, "finish_reason": _ENDING})
    message = closed({"role": {"const": "assistant"}, "content": _TEXT, "refusal": {"const": None}})
    chat = closed({"message": message, "index": _WHOLE, "logprobs": _LOGS, "finish_reason": _ENDING})
    return {
        "Completion": _answer("text_completion", text),
        "ChatCompletion": _answer("chat.completion", chat),
    }


def _answer(kind: str, choice: Object) -> Object:
    usage = closed(dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), _WHOLE))
    return closed(
        {
            "object": {"const": kind},
            "id": _TEXT,
            "created": _WHOLE,
            "model": _TEXT,
            "system_fingerprint": {"const": None},
            "choices": {"type": "array", "items": choice, "minItems": 1},
            "usage": usage,
        }
    )


def _vectors() -> Object:
    vector: Object = {"anyOf": [{"type": "array", "items": _REAL}, _TEXT]}
    one = closed({"object": {"const": "embedding"}, "index": _WHOLE, "embedding": vector})
    usage = closed(dict.fromkeys(("prompt_tokens", "total_tokens"), _WHOLE))
    return closed(
        {"object": {"const": "list"}, "data": {"type": "array", "items": one}, "model": _TEXT, "usage": usage}
    )


def _error() -> Object:
    maybe: Object = {"anyOf": [_TEXT, {"const": None}]}
    return closed({"error": closed({"message": _TEXT, "type": _TEXT, "param": maybe, "code": maybe})})
