"""A turn as it is written: sentence by sentence, each looked at before anybody reads it. It knows no file."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from topwork.contracts import Sampling
from topwork.play.events import Draft, Piece
from topwork.play.loops import circles, repeats
from topwork.play.narrator import Narrator
from topwork.play.sentences import first_end, is_whole
from topwork.play.words import NO_WORDS, Words

__all__ = ["Fate", "Telling", "Wish"]

Fate: TypeAlias = Literal["told", "nothing", "circles", "words"]
"""How an attempt went: there is a result, or why there is none."""

_NO_STORY: Final = re.compile(
    r"^\s*(?:[#>|]|\*\s|[-•]\s|\d+[.)](?:\s|$)|(?-i:[A-Z][A-Za-z]*(?: [A-Z][a-z]*)?):(?:\s|$)|<\|)|"
    r"^\W*what (?:do|will|would|should) you (?:do|say|want to do)\b|^\W*(?:your choices|choices|options)\b",
    re.IGNORECASE,
)
"""What language models write where they fall out of a story: headings, lists, parts of a play, questions."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be told.

    Attributes
    ----------
    prompt
        What is gone on from.
    before
        Sentences that are not to come again.
    words
        Words that are not to be read; ``retells`` where a sentence with one is not taken at all.
    """

    prompt: str
    n_tokens: int
    sampling: Sampling
    stops: Sequence[str] = ()
    before: tuple[str, ...] = ()
    words: Words = NO_WORDS
    retells: bool = False


@dataclass(slots=True)
class Telling:
    """One attempt at a result; what of it stays is in ``sentences``, at any time."""

    wish: Wish
    sentences: list[str] = field(default_factory=list)

    @property
    def result(self) -> str:
        """What there is so far."""
        text = "".join(self.sentences).strip()
        return text + _unclosed(text)

    def run(self, narrator: Narrator) -> Generator[Draft | Piece, None, Fate]:
        """Let a narrator write; give what is written as it comes, and return how it went."""
        fate = yield from self._written(narrator)
        if closing := _unclosed("".join(self.sentences)):
            self.sentences.append(closing)
            yield Piece(closing)
        return fate

    def _written(self, narrator: Narrator) -> Generator[Draft | Piece, None, Fate]:
        wish, draft = self.wish, ""
        told = narrator.tell(wish.prompt, n_tokens=wish.n_tokens, sampling=wish.sampling, stops=wish.stops)
        with closing(told):
            for piece in told:
                draft += piece
                while end := first_end(draft):
                    sentence, draft = draft[:end], draft[end:]
                    if (fate := self._judged(sentence)) is not None:
                        return fate
                    yield self._kept(sentence)
                if circles(draft):
                    return "told" if self.sentences else "circles"
                if not (wish.words.listed or _NO_STORY.search(draft)):
                    yield Draft(_tidy(draft, is_first=not self.sentences))
        return (yield from self._end(draft))

    def _end(self, draft: str) -> Generator[Piece, None, Fate]:
        """Take what was left when the narrator ended: a whole sentence, or the only one, which then trails off."""
        if not draft.strip():
            return "told" if self.sentences else "nothing"
        whole = is_whole(draft)
        if not whole and self.sentences:
            return "told"
        if (fate := self._judged(draft)) is not None:
            return fate
        yield self._kept(draft if whole else draft.rstrip(" ,;:-–—") + "…")
        return "told"

    def _judged(self, sentence: str) -> Fate | None:
        """Return how the attempt ends by this sentence, which is then not taken; None where it goes on."""
        text = sentence.strip()
        if _NO_STORY.search(text) or not re.search(r"\w", text):
            return "told" if self.sentences else "nothing"
        if repeats(text, (*self.wish.before, *self.sentences)) or circles(text):
            return "told" if self.sentences else "circles"
        if self.wish.retells and self.wish.words.are_in(text):
            return "told" if self.sentences else "words"
        return None

    def _kept(self, sentence: str) -> Piece:
        text = self.wish.words.masked(_tidy(sentence, is_first=not self.sentences))
        self.sentences.append(text)
        return Piece(text)


def _unclosed(text: str) -> str:
    """Return the quotation mark that a text has left open, if any."""
    if text.count("“") > text.count("”"):
        return "”"
    return '"' if text.count('"') % 2 else ""


def _tidy(text: str, *, is_first: bool) -> str:
    """Return a text with its blanks as prose has them, and without marks of emphasis."""
    text = re.sub(r"\*+", "", text)
    text = re.sub(r"[ \t]+", " ", text)
    text = re.sub(r"\s*\n\s*\n\s*", "\n\n", text)
    text = re.sub(r"(?<!\n) ?\n ?(?!\n)", " ", text)
    return text.lstrip() if is_first else text
