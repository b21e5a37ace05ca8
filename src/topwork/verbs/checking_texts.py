"""`check_texts`: what a fit would see of texts to write like; nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from topwork import plugins
from topwork.contracts import Progress
from topwork.data.corpus import Corpus, read_corpus
from topwork.data.corpus_check import CorpusFinding, examine_corpus
from topwork.errors import DataError
from topwork.inputs.vocabulary import Vocabulary
from topwork.recipes.writing import WritingSettings
from topwork.steps.options import FitOptions, Surroundings
from topwork.steps.writing_rows import Sides, split_texts, tokenised
from topwork.trunks import DEFAULT_WRITER, resolve_writer

__all__ = ["TextCheck", "TextCounter", "check_texts", "checked"]


@dataclass(frozen=True, slots=True, eq=False)
class TextCheck:
    """What a fit would see.

    Attributes
    ----------
    n_tokens
        Of all texts, by the vocabulary of the model.
    sides
        The split that a fit would make; None where it would refuse the texts, and ``obstacle`` says why.
    """

    corpus: Corpus
    findings: tuple[CorpusFinding, ...]
    n_tokens: int
    sides: Sides | None
    obstacle: str | None


@dataclass(frozen=True, slots=True)
class TextCounter:
    """Counts tokens by the vocabulary of a model."""

    vocabulary: Vocabulary
    progress: Progress

    @classmethod
    def of(cls, trunk: str | None, around: Surroundings) -> TextCounter:
        """Count as this model does; none is the default.

        Raises
        ------
        UsageError
            There is no such model.
        """
        return cls(resolve_writer(trunk or DEFAULT_WRITER, plugins.writers()).vocabulary(), around.progress)

    @property
    def length(self) -> int:
        """Tokens of a row in training."""
        return min(WritingSettings().length, self.vocabulary.window)

    def __call__(self, corpus: Corpus) -> list[int]:
        """Return how many tokens each text has."""
        self.progress.say(f"Counting the tokens of {len(corpus.documents):,} texts")
        return [len(one.tokens) for one in tokenised(corpus.documents, self.vocabulary)]


def check_texts(
    data: str | Path,
    *,
    trunk: str | None = None,
    seed: int = 0,
    options: FitOptions | None = None,
    around: Surroundings | None = None,
) -> TextCheck:
    """Read texts to write like, count their tokens, look for what is odd, and try the split.

    Raises
    ------
    DataError
        There are no texts.
    UsageError
        There is no such model.
    """
    options, around = options or FitOptions(), around or Surroundings()
    corpus = read_corpus(data, options.input)
    count = TextCounter.of(trunk, around)
    return checked(corpus, count(corpus), count.length, seed)


def checked(corpus: Corpus, n_tokens: Sequence[int], length: int, seed: int) -> TextCheck:
    """Look for what is odd about texts of so many tokens each, and try the split."""
    findings = examine_corpus(corpus, n_tokens, length)
    try:
        return TextCheck(corpus, findings, sum(n_tokens), split_texts(corpus, seed), None)
    except DataError as error:
        return TextCheck(corpus, findings, sum(n_tokens), None, error.problem)
