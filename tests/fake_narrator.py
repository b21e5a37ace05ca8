"""A narrator that says what a test has written for it, token by token, and remembers what it was asked."""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from threading import Event

from topwork.contracts import Sampling

__all__ = ["Asked", "FakeNarrator"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What it was asked."""

    prompt: str
    n_tokens: int
    sampling: Sampling
    stops: tuple[str, ...]


@dataclass
class FakeNarrator:
    """Words and blanks are its tokens; when the script is over it says something new each time."""

    script: list[str] = field(default_factory=list)
    window: int = 2048
    name: str = "a fake"
    asked: list[Asked] = field(default_factory=list)
    n_given: int = 0
    n_closed: int = 0
    go_on: Event | None = None
    """Waited for before each token but the first few."""
    pace_s: float = 0.0
    """Slept for before each token."""

    def n_tokens(self, text: str) -> int:
        return len(re.findall(r"\s*\S+|\s+$", text))

    def tell(self, prompt: str, *, n_tokens: int, sampling: Sampling, stops: Sequence[str]) -> Generator[str]:
        self.asked.append(Asked(prompt, n_tokens, sampling, tuple(stops)))
        number = len(self.asked)
        text = (
            self.script.pop(0) if self.script else f" Something new happens, the number {number}. It is good."
        )
        try:
            for i, piece in enumerate(re.findall(r"\s*\S+|\s+$", text)[:n_tokens]):
                if self.go_on is not None and i > 5:
                    self.go_on.wait(20)
                time.sleep(self.pace_s)
                self.n_given += 1
                yield piece
        except GeneratorExit:
            self.n_closed += 1
            raise
