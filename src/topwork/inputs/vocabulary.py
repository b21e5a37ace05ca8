"""How a language model's texts become tokens and tokens texts, and what else stands beside its weights.

The tokeniser is data: the content of a ``tokenizer.json``, executed by the package ``tokenizers``. It knows no network.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from topwork.contracts import Json, Sampling
from topwork.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["WRITING", "Spelling", "Vocabulary"]

WRITING: Final = "writing"
"""Kind of a bundle that holds a language model."""

_N_KEPT = 4
_MARK: Final = "\ufdd0"
"""Stands behind the first letter of a special token's word that is meant as it is spelled; no text has this letter."""
_BROKEN: Final = "\N{REPLACEMENT CHARACTER}"
"""What a tokeniser gives for the first bytes of a letter whose others are still to come."""
_MOST_BROKEN: Final = 4
"""Tokens that a letter may take; what is broken for longer stays so."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokens of a language model, and how it is used by itself.

    Attributes
    ----------
    tokenizer
        Content of a Hugging Face ``tokenizer.json``.
    window
        Tokens that the network sees at most.
    begin
        Token that stands before every text; None where none does.
    ends
        Tokens that end a text; the first is the one that is put there.
    chat_template
        Jinja template that makes a text of messages, as transformers has them; empty where there is none.
    sampling
        How a next token is chosen where nobody says otherwise.
    columns
        Names of what its texts were given when it was fitted, and last of the text itself; see
        `topwork.inputs.conditions`. Empty where they were given nothing.
    prompt_ending
        What all prompts ended in that it was fitted on; empty where they had nothing in common, or were none.
    config
        Content of its ``config.json``, by which transformers builds the network; empty where that is not known.
    """

    tokenizer: str = field(repr=False)
    window: int
    begin: int | None = None
    ends: tuple[int, ...] = ()
    chat_template: str = field(default="", repr=False)
    sampling: Sampling = field(default_factory=Sampling)
    columns: tuple[str, ...] = ()
    prompt_ending: str = ""
    config: str = field(default="", repr=False)

    @property
    def modality(self) -> str:
        """Return ``writing``: what takes a text and goes on with it."""
        return WRITING

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, without those of beginning and end; words for special tokens become these.

        Where `spelled` has marked such a word, it becomes the tokens of its letters.

        Raises
        ------
        MissingExtraError
            The package ``tokenizers`` is not installed.
        UsageError
            The tokeniser cannot be loaded.
        """
        tokenizer = _tokenizer(self.tokenizer)
        if _MARK not in text:
            return list(tokenizer.encode(text, add_special_tokens=False).ids)
        parts = _special(self.tokenizer).marked.split(text)  # every other one is a word that is marked
        found = [tokenizer.encode(part, add_special_tokens=False).ids for part in parts]
        letters = _tokenizer(self.tokenizer, spells=True)
        for place in range(1, len(parts), 2):
            word = parts[place].replace(_MARK, "")
            found[place] = letters.encode(word, add_special_tokens=False).ids
        return [token for own in found for token in own]

    def spelled(self, text: str) -> str:
        """Return a text in which words such as ``<|im_start|>`` are no tokens of that name, but mean their letters.

        What somebody says in a chat then cannot end their turn and begin another one's.
        """
        return _special(self.tokenizer).plain.sub(lambda found: f"{found[0][0]}{_MARK}{found[0][1:]}", text)

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of many texts, in which nothing is marked; they are cut in parallel."""
        found = _tokenizer(self.tokenizer).encode_batch(list(texts), add_special_tokens=False)
        return [list(one.ids) for one in found]

    def opening(self, text: str) -> list[int]:
        """Return the tokens that a text begins with: never none."""
        tokens = self.encode(text)
        before = self.begin if self.begin is not None else next(iter(self.ends), None)
        if self.begin is not None or not tokens:
            return [before, *tokens] if before is not None else tokens or [0]
        return tokens

    def decode(self, tokens: Sequence[int], *, plain: bool = True) -> str:
        """Return the text of tokens; ``plain`` leaves special ones out."""
        return _tokenizer(self.tokenizer).decode(list(tokens), skip_special_tokens=plain)

    def __len__(self) -> int:
        return _tokenizer(self.tokenizer).get_vocab_size(with_added_tokens=True)

    def asks_otherwise(self, prompt: str) -> bool:
        """Tell whether a prompt does not end as those did that it was fitted on."""
        return bool(prompt) and not prompt.endswith(self.prompt_ending)

    def to_json(self) -> Mapping[str, Json]:
        """Return the fields by name."""
        usual = {one.name: getattr(self.sampling, one.name) for one in fields(self.sampling)}
        return {**{one.name: getattr(self, one.name) for one in fields(self)}, "sampling": usual}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Vocabulary:
        """Read what `to_json` gave.

        Raises
        ------
        UsageError
            It is something else.
        """
        try:
            sampling = dict(stored.get("sampling", {}))
            bias = tuple((int(token), float(added)) for token, added in sampling.pop("bias", ()))
            told = {**stored, "ends": tuple(stored["ends"]), "sampling": Sampling(**sampling, bias=bias)}
            told["columns"] = tuple(stored.get("columns", ()))
            made = cls(**told)
        except (TypeError, KeyError, ValueError) as error:
            raise UsageError(f"This describes no vocabulary: {error}.") from error
        return made

    def describe(self) -> str:
        """Return the size of the window, and a hash that stands for the tokeniser."""
        digest = hashlib.sha256(self.tokenizer.encode("utf-8")).hexdigest()[:12]
        return f"tokenizer {digest}, window {self.window:,}"


class Spelling:
    """A text as its tokens come: no half letter is shown, and nothing of words that it is to stop at.

    Parameters
    ----------
    stops
        Texts that end it.
    """

    def __init__(self, vocabulary: Vocabulary, stops: Sequence[str] = ()) -> None:
        self._vocabulary, self._stops = vocabulary, tuple(one for one in stops if one)
        self._tokens: list[int] = []
        self._begin = self._shown = 0
        self._kept = ""
        """What is spelled, and may turn out to be the beginning of a stop."""
        self.is_ended = False

    def add(self, token: int) -> str:
        """Take a token; return what of the text is certain now, and was not shown before."""
        if self.is_ended:
            return ""
        self._tokens.append(token)
        return self._shown_of(self._fresh(is_last=False))

    def finish(self) -> str:
        """Return what is left, now that no token follows."""
        if self.is_ended:
            return ""
        text = self._shown_of(self._fresh(is_last=True))
        rest, self._kept = self._kept, ""
        return text if self.is_ended else text + rest

    def _fresh(self, *, is_last: bool) -> str:
        """Return what the last tokens add to the text, as soon as they make whole letters.

        A token is spelled together with the one before it, for spaces may belong to either.
        """
        before = self._vocabulary.decode(self._tokens[self._begin : self._shown])
        text = self._vocabulary.decode(self._tokens[self._begin :])
        n_waiting = len(self._tokens) - self._shown
        if not is_last and text.endswith(_BROKEN) and n_waiting < _MOST_BROKEN:
            return ""
        self._begin, self._shown = self._shown, len(self._tokens)
        return text[len(before) :]

    def _shown_of(self, fresh: str) -> str:
        """Return what can be shown of the text, and keep what may be the beginning of a stop."""
        text = self._kept + fresh
        at = min((place for stop in self._stops if (place := text.find(stop)) >= 0), default=-1)
        if at >= 0:
            self.is_ended, self._kept = True, ""
            return text[:at]
        n_kept = max((_n_begun(text, stop) for stop in self._stops), default=0)
        self._kept = text[len(text) - n_kept :]
        return text[: len(text) - n_kept]


def _n_begun(text: str, stop: str) -> int:
    """Return with how many letters of a stop the text ends, but for the whole of it."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)


@dataclass(frozen=True, slots=True)
class _Special:
    """Finds the words for special tokens in a text, as they are and marked; the latter as a group."""

    plain: re.Pattern[str]
    marked: re.Pattern[str]


@lru_cache(maxsize=_N_KEPT)
def _special(content: str) -> _Special:
    added = _tokenizer(content).get_added_tokens_decoder().values()
    words = sorted((one.content for one in added if one.special and one.content), key=len, reverse=True)
    plain = "|".join(re.escape(word) for word in words)
    marked = "|".join(f"{re.escape(word[0])}{_MARK}{re.escape(word[1:])}" for word in words)
    never = "(?!)"
    return _Special(re.compile(plain or never), re.compile(f"({marked or never})"))


@lru_cache(maxsize=2 * _N_KEPT)
def _tokenizer(content: str, *, spells: bool = False) -> Tokenizer:
    """Return the tokeniser; one that ``spells`` takes words for special tokens as their letters."""
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtraError(
            "Writing texts needs the package tokenizers, which is not installed.",
            next_step="Install topwork with its extra generate.",
        ) from error
    try:
        tokenizer = Tokenizer.from_str(content)
    except Exception as error:  # the package raises bare exceptions
        raise UsageError(f"The tokeniser cannot be loaded: {error}.") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = spells
    return tokenizer
