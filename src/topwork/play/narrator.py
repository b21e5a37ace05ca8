"""What the game asks of a language model. It knows none."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Protocol

from topwork.contracts import Sampling

__all__ = ["Narrator"]


class Narrator(Protocol):
    """Who goes on with a story."""

    @property
    def name(self) -> str:
        """What the model is called."""
        ...

    @property
    def window(self) -> int:
        """Tokens that it sees at most, those that it writes counted."""
        ...

    def n_tokens(self, text: str) -> int:
        """Return how many tokens a text has."""
        ...

    def tell(self, prompt: str, *, n_tokens: int, sampling: Sampling, stops: Sequence[str]) -> Generator[str]:
        """Go on with a text, piece by piece; closed before its end, it writes no further."""
        ...
