"""`check_texts`: what a fit would see of texts to write like; nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from topwork import plugins
from topwork.data.corpus import Corpus, read_corpus
from topwork.data.corpus_check import CorpusFinding, examine_corpus
from topwork.errors import DataError
from topwork.recipes.writing import WritingSettings
from topwork.steps.options import FitOptions, Surroundings
from topwork.steps.writing_rows import Sides, split_texts, tokenised
from topwork.trunks import DEFAULT_WRITER, resolve_writer

__all__ = ["TextCheck", "check_texts"]


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
    vocabulary = resolve_writer(trunk or DEFAULT_WRITER, plugins.writers()).vocabulary()
    around.progress.say(f"Counting the tokens of {len(corpus.documents):,} texts")
    counts = [len(one.tokens) for one in tokenised(corpus.documents, vocabulary)]
    length = min(WritingSettings().length, vocabulary.window)
    findings = examine_corpus(corpus, counts, length)
    try:
        return TextCheck(corpus, findings, sum(counts), split_texts(corpus, seed), None)
    except DataError as error:
        return TextCheck(corpus, findings, sum(counts), None, error.problem)
