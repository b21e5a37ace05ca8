"""An operator with a folder of models that are nothing but a text: what such a model is called in its answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from doors import made
from fake_servable import FakeServable, client
from topwork.contracts import Answer, Json
from topwork.errors import BundleError, ProofError
from topwork.serving.hosting import Hosted
from topwork.serving.limits import Limits
from topwork.serving.settings.declared import ModelSettings, ServerSettings
from topwork.serving.succession import Changes, Succession

__all__ = ["Keeper", "Told", "answered", "used"]


@dataclass
class Told(FakeServable):
    """Answers with the text that its file held, so that a test can tell which file answered."""

    text: str = ""

    @property
    def answer_schema(self) -> Mapping[str, Json]:
        return {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}

    def prove(self) -> None:
        super().prove()
        if self.text.startswith("bad"):
            raise ProofError("Output 3 differs by 0.2.", next_step="Fit it anew.")

    def _answers(self, index: int, given: bytes) -> Iterator[Answer]:
        if given.startswith(b"fail") and self.text.startswith("fails"):
            raise ValueError("this version is no good")
        yield Answer(index, {"text": self.text})


@dataclass
class Keeper:
    """Keeps the settings; opens what a test made under a text, else a model that answers with it."""

    folder: Path
    settings: ServerSettings = field(default_factory=ServerSettings)
    key: str = ""
    made: dict[str, FakeServable] = field(default_factory=dict)
    opened: list[str] = field(default_factory=list)
    hosted: list[Hosted] = field(default_factory=list)
    changed: list[Changes] = field(default_factory=list)

    @classmethod
    def at(cls, folder: Path) -> Keeper:
        keys = folder / "keys.json"
        return cls(folder, ServerSettings(keys=keys), made(keys, "operator", "predict", "admin", "metrics"))

    def wants(self, *models: ModelSettings, **others: Any) -> None:
        self.settings = replace(self.settings, models=models, **others)

    def put(self, name: str, text: str) -> Path:
        """Lay a file there as a fit does, whole or not at all."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (self.folder / "new").write_text(text)
        (self.folder / "new").replace(path)
        return path

    def open(self, settings: ModelSettings, limits: Limits) -> Hosted:
        [path] = settings.paths
        try:
            with path.open("rb") as stream:
                text = stream.read(100).rstrip(b"\0").decode()
        except OSError as error:
            raise BundleError(f"There is no {path.name}.", next_step="Fit it.") from error
        self.opened.append(text)
        if text.startswith("half"):
            raise BundleError("The file is damaged.", next_step="Fit it anew.")
        if text.startswith("odd"):
            raise ValueError("nobody thought of this")
        name = settings.name or path.stem
        self.hosted.append(Hosted(self.made.get(text) or Told(name, text=text), limits, 2))
        return self.hosted[-1]

    def begin(self) -> Succession:
        return Succession(lambda: self.settings, self.open, on_change=self.changed.append)


def used(keeper: Keeper, use: Callable[[Succession, httpx.AsyncClient], Awaitable[None]]) -> None:
    """Begin to serve in this process, let a test use it, and end."""

    async def main() -> None:
        succession = keeper.begin()
        async with succession.app.running(), client(succession.app) as one:
            one.headers["x-api-key"] = keeper.key
            await succession.app.proven()
            succession.watch()
            await use(succession, one)
            succession.end()

    asyncio.run(main())


async def answered(
    one: httpx.AsyncClient, name: str, content: bytes = b"x", key: str = ""
) -> tuple[str, str]:
    """Ask a model, and return the text of its answer and the version that the response names."""
    headers = {"x-route-key": key} if key else {}
    response = await one.post(f"/v1/models/{name}/predict", content=content, headers=headers)
    assert response.status_code == 200, response.text
    return response.json()["predictions"][0]["text"], response.headers.get("x-topwork-version", "")
