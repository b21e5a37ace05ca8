"""A text on its way from tokens, and what it came to. It knows no network and no batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from topwork.contracts import Ending, Written
from topwork.inputs.vocabulary import Spelling

__all__ = ["DELIMITER", "Draft", "Passage"]

DELIMITER: Final = "=" * 20
"""A line that stands between texts."""


@dataclass(frozen=True, slots=True)
class Passage:
    """What a model wrote.

    Attributes
    ----------
    text
        Without what it goes on from.
    tokens
        Numbers of its tokens, with those that spell words to stop at, and without one that ends texts.
    log_probabilities
        Of each, in nats.
    ending
        Why it ended.
    """

    text: str
    tokens: tuple[int, ...]
    log_probabilities: tuple[float, ...]
    ending: Ending


@dataclass(slots=True)
class Draft:
    """A passage on its way; ``written`` are its tokens, without one that ends texts."""

    spelling: Spelling
    written: list[Written] = field(default_factory=list)
    ending: Ending | None = None
    _pieces: list[str] = field(default_factory=list)

    def take(self, one: Written) -> str:
        """Take a token; return what of the text is certain now."""
        piece = ""
        if one.ending != "stop":
            self.written.append(one)
            piece = self.spelling.add(one.token)
        if one.ending is not None and not self.spelling.is_ended:
            piece += self.spelling.finish()
        self.ending = "stop" if self.spelling.is_ended else one.ending
        self._pieces.append(piece)
        return piece

    @property
    def text(self) -> str:
        """All that is certain of the text."""
        return "".join(self._pieces)

    def passage(self) -> Passage:
        """Return what it came to, once it has ended."""
        assert self.ending is not None
        tokens = tuple(one.token for one in self.written)
        return Passage(self.text, tokens, tuple(one.log_probability for one in self.written), self.ending)
