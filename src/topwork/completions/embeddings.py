"""``/v1/embeddings``: texts in, vectors out.

Source: https://platform.openai.com/docs/api-reference/embeddings. It knows no model.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from topwork.completions.fields import Fields, Wrong, count, one_of, text
from topwork.contracts import Answer, Json, Wire
from topwork.serving.http.bodies import Input, from_json, kind_of

__all__ = ["EMBEDDING", "EmbeddingAsk", "read_embedding", "vectors_told"]

EMBEDDING: Final = "embedding"
"""Key of an answer that is a vector."""
TOKENS: Final = "tokens"
"""Key under which it tells how many tokens the text had, where it does."""


@dataclass(frozen=True, slots=True)
class EmbeddingAsk:
    """What one request asks for; ``model`` as of `topwork.completions.asks.Ask`."""

    model: str | None
    texts: tuple[str, ...]
    is_packed: bool
    n_features: int | None

    def inputs(self, wire: Wire) -> tuple[Input, ...]:
        """Return the texts as a model takes them."""
        return tuple(from_json(one, wire) for one in self.texts)


def read_embedding(content: bytes, max_inputs: int) -> EmbeddingAsk:
    """Read the body of ``/v1/embeddings``.

    Raises
    ------
    Wrong
        It is none.
    """
    fields = Fields(content)

    def several(name: str, value: Any) -> tuple[str, ...]:
        found = [value] if isinstance(value, str) else value
        if not isinstance(found, list) or not 0 < len(found) <= max_inputs:
            raise Wrong(
                name, f"{name} is {kind_of(value)}; expected a string, or a list of 1 to {max_inputs}."
            )
        return tuple(text(f"{name}[{place}]", one) for place, one in enumerate(found))

    texts = fields.need("input", several)
    packing = fields.take("encoding_format", one_of("float", "base64"), "float")
    n_features = fields.take("dimensions", count(1, 1_000_000), None)
    model = fields.take("model", text, None)
    fields.ignore(("user",))
    fields.end()
    return EmbeddingAsk(model, texts, packing == "base64", n_features)


def vectors_told(answers: Sequence[Answer], ask: EmbeddingAsk, model: str) -> Json:
    """Return the vectors in the order of the texts; a model that does not count tokens had 0.

    Raises
    ------
    Wrong
        A text has none, or they have another length than was asked for.
    """
    data: list[Json] = []
    n_tokens = 0
    for answer in sorted(answers, key=lambda one: one.index):
        if answer.value is None:
            raise Wrong(f"input[{answer.index}]", " ".join((answer.problem or "").split()))
        vector: Any = answer.value[EMBEDDING]
        if ask.n_features not in (None, len(vector)):
            raise Wrong("dimensions", f"dimensions is {ask.n_features}; {model} gives {len(vector)}.")
        packed: Json = _packed(vector) if ask.is_packed else vector
        data.append({"object": "embedding", "index": answer.index, "embedding": packed})
        n_tokens += _count(answer.value.get(TOKENS))
    usage: Json = {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}


def _count(value: Json | None) -> int:
    return value if isinstance(value, int) else 0


def _packed(vector: Sequence[float]) -> str:
    """Return little-endian floats of 32 bits in base64."""
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode("ascii")
