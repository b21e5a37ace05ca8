"""A servable out of nothing, for the seams of the serving room."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from topwork.contracts import Answer, Json, Servable, Wire
from topwork.serving.app import Application, application
from topwork.serving.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

__all__ = ["PICTURE", "TEXT", "FakeServable", "Gated", "client", "with_client"]

T = TypeVar("T")
PICTURE = Wire("base64", ("image/jpeg", "image/png"), "file", 1 << 20, "photo")
TEXT = Wire("text", ("text/plain",), "textarea", 1000, "sentence")

LABELS = ("Bishop", "King", "Knight", "Pawn", "Queen", "Rook")
ABOUT: Mapping[str, Json] = {
    "name": "chess",
    "created": "2025-03-01T10:00:00+00:00",
    "trunk": {"name": "efficientnet-lite0", "licence": "Apache-2.0"},
    "targets": {
        "label": {
            "task": "classification",
            "labels": LABELS,
            "main_metric": "accuracy",
            "test": {"accuracy": {"value": 0.811, "low": 0.735, "high": 0.869}},
            "baselines": {"majority class": {"accuracy": {"value": 0.19, "low": 0.13, "high": 0.26}}},
        }
    },
    "n_train": 441,
    "n_test": 110,
    "engine": {"name": "openvino", "precision": "bf16", "version": "2026.4"},
}


def describe(given: bytes) -> Mapping[str, Json]:
    """Answer by the length of the input, so that a test can tell whose answer it holds."""
    favourite = len(given) % len(LABELS)
    shares = {label: 0.7 if i == favourite else 0.06 for i, label in enumerate(LABELS)}
    return {"label": LABELS[favourite], "probabilities": shares, "n_bytes": len(given)}


@dataclass
class FakeServable:
    """Answers by length; ``bad…`` is a broken input, ``boom…`` a bug, ``pieces…`` a stream of three."""

    name: str = "chess"
    wire: Wire = PICTURE
    proof: Callable[[], None] = lambda: None
    delay_s: float = 0.0
    seen: list[bytes] = field(default_factory=list)

    @property
    def about(self) -> Mapping[str, Json]:
        return ABOUT

    @property
    def answer_schema(self) -> Mapping[str, Json]:
        shares: dict[str, Json] = {"type": "object", "additionalProperties": {"type": "number"}}
        properties: dict[str, Json] = {
            "label": {"type": "string"},
            "probabilities": shares,
            "n_bytes": {"type": "integer"},
        }
        return {"type": "object", "properties": properties, "required": ["label"]}

    @property
    def explanation_schema(self) -> Mapping[str, Json] | None:
        if self.wire.in_json != "text":
            return None
        return {"type": "object", "properties": {"pieces": {"type": "array"}}, "required": ["pieces"]}

    def explain(self, inputs: Sequence[bytes]) -> Iterator[Answer]:
        for index, given in enumerate(inputs):
            if given.startswith(b"bad"):
                yield Answer(index, None, "It is no text.\nSend a text.")
            else:
                words: list[Json] = [
                    {"text": word, "heat": 0.5} for word in given.decode(errors="replace").split()
                ]
                yield Answer(index, {"pieces": words})

    def prove(self) -> None:
        self.proof()

    def submit(self, inputs: Sequence[bytes]) -> Iterator[Answer]:
        for index, given in enumerate(inputs):
            time.sleep(self.delay_s)
            self.seen.append(given)
            yield from self._answers(index, given)

    def _answers(self, index: int, given: bytes) -> Iterator[Answer]:
        if given.startswith(b"boom"):
            raise ValueError("secret detail of the server")
        if given.startswith(b"silent"):
            return
        if given.startswith(b"bad"):
            yield Answer(index, None, "It is no photo: it begins with 'bad'.\nSend a photo.")
        elif given.startswith(b"pieces"):
            yield Answer(index, {"text": "a"}, last=False)
            yield Answer(index, {"text": "b"}, last=False)
            yield Answer(index, {"text": "c"})
        else:
            yield Answer(index, describe(given))


@dataclass
class Gated(FakeServable):
    """Works on each input until the test opens the gate; counts how many are inside."""

    opened: threading.Event = field(default_factory=threading.Event)
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def _answers(self, index: int, given: bytes) -> Iterator[Answer]:
        self.entered.release()
        assert self.opened.wait(20), "the test never opened the gate"
        yield from super()._answers(index, given)


def client(app: Application, address: str = "127.0.0.1") -> httpx.AsyncClient:
    """Return a client that calls the application in this process, as if from an address."""
    transport = httpx.ASGITransport(app, client=(address, 50_000))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


def with_client(servable: Servable, use: Callable[[httpx.AsyncClient], Awaitable[T]], **limits: Any) -> T:
    """Run ``use`` with a client of a started, proven application."""

    async def main() -> T:
        app = application(servable, Limits(**limits))
        async with app.running(), client(app) as one:
            await app.proven()
            return await use(one)

    return asyncio.run(main())
