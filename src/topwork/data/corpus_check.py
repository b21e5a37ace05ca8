"""What is odd about texts to write like: each finding with what a fit does about it, or what a person might.

It knows no network; how many tokens a text has is told to it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from topwork.data.corpus import Corpus, Document
from topwork.data.player_words import MARK

__all__ = ["CorpusFinding", "examine_corpus"]

_MOST: Final = 0.9
"""Share of the prompts that have to end alike for the others to be odd ones out."""
_END: Final = 4
"""Letters at the end of a prompt."""
_FEW_TOKENS: Final = 20_000
_REPEATED: Final = 0.3
_LEAST_LINES: Final = 20
_NO_LINES: Final = frozenset({"", MARK.strip()})
"""What is nothing, and what leaves an action to the player in each text of a story tree."""
# What UTF-8 looks like where somebody took it for Windows-1252 and saved it again.
_MOJIBAKE: Final = re.compile("[ÃÂ][\u0080-¿]|â€[\u0080-™œž\u0153\u017e]?")


@dataclass(frozen=True, slots=True)
class CorpusFinding:
    """One thing about the texts.

    Attributes
    ----------
    kind
        ``necessary`` where a fit does not go on without it, or does it by itself; ``recommended`` where it is the
        person's to decide.
    what
        What was found, as a sentence.
    remedy
        What is done about it, or could be.
    """

    kind: Literal["necessary", "recommended"]
    what: str
    remedy: str


def examine_corpus(corpus: Corpus, n_tokens: Sequence[int], length: int) -> tuple[CorpusFinding, ...]:
    """Look for what would spoil a fit, the gravest first.

    Parameters
    ----------
    n_tokens
        Of each text.
    length
        Tokens of a row in training: what a longer text says at its end is learned without its beginning.
    """
    found = [
        *_left_out(corpus),
        *_lost(corpus),
        *_leaks(corpus.documents),
        *_doubles(corpus.documents),
        *_long(corpus.documents, n_tokens, length),
        *_separators(corpus.documents),
        *_little(n_tokens),
        *_repetitive(corpus.documents),
    ]
    return tuple(sorted(found, key=lambda one: one.kind != "necessary"))


def _left_out(corpus: Corpus) -> Iterator[CorpusFinding]:
    reasons = Counter(one.reason for one in corpus.rejected)
    for reason, n in reasons.most_common():
        yield CorpusFinding("necessary", f"{n:,} texts cannot be used: {reason}.", "They are left out.")


def _lost(corpus: Corpus) -> Iterator[CorpusFinding]:
    for note in corpus.notes:
        yield CorpusFinding("recommended", note, "Save the file as UTF-8.")
    n = sum(any(_MOJIBAKE.search(piece.text) for piece in one.pieces) for one in corpus.documents)
    if n:
        yield CorpusFinding(
            "recommended",
            f"{n:,} texts hold letters such as “Ã©”: UTF-8 that was taken for another encoding and saved again.",
            "Mend them, or the model will write such letters, too.",
        )


def _doubles(documents: Sequence[Document]) -> Iterator[CorpusFinding]:
    n = len(documents) - len({_content(one) for one in documents})
    if n:
        yield CorpusFinding(
            "recommended",
            f"{n:,} texts are there more than once.",
            "Equal ones stand on one side; remove them, or the model learns them by heart.",
        )


def _leaks(documents: Sequence[Document]) -> Iterator[CorpusFinding]:
    answers: defaultdict[str, set[str]] = defaultdict(set)
    n_told = 0
    for given, answer in _prompted(documents):
        answers[given].add(answer)
        n_told += bool(answer.strip()) and answer.strip() in given
    if n := sum(len(each) > 1 for each in answers.values()):
        yield CorpusFinding(
            "recommended",
            f"{n:,} prompts have several completions, which may stand on different sides.",
            "Keep one of each, if there is only one that is right.",
        )
    if n_told:
        yield CorpusFinding(
            "recommended",
            f"{n_told:,} completions stand word for word in their prompts.",
            "See that the prompt does not give the answer away.",
        )


def _long(documents: Sequence[Document], n_tokens: Sequence[int], length: int) -> Iterator[CorpusFinding]:
    long = [one for one, n in zip(documents, n_tokens, strict=True) if n > length and len(one.pieces) > 1]
    if long:
        yield CorpusFinding(
            "recommended",
            f"{len(long):,} prompts and completions have more than {length:,} tokens together, such as "
            f"{long[0].where}.",
            "What lies beyond is learned without its prompt; shorten them, or give --set length=N.",
        )


def _separators(documents: Sequence[Document]) -> Iterator[CorpusFinding]:
    prompts = [given for given, _ in _prompted(documents)]
    if len(prompts) < 2:
        return
    if any(
        len({given[-n:] for given in prompts}) == 1 and prompts[0][-n:].strip() for n in range(1, _END + 1)
    ):
        return
    common, n_alike = Counter(given[-_END:] for given in prompts).most_common(1)[0]
    if n_alike >= _MOST * len(prompts):
        yield CorpusFinding(
            "recommended",
            f"{n_alike:,} of {len(prompts):,} prompts end in {common!r}, and the others do not.",
            "Let all of them end alike, so that the model sees where it is to begin.",
        )
    else:
        yield CorpusFinding(
            "recommended",
            "Prompts do not end alike, so that the model cannot see where it is to begin.",
            "End each with the same words, such as a line of ###.",
        )


def _little(n_tokens: Sequence[int]) -> Iterator[CorpusFinding]:
    if sum(n_tokens) < _FEW_TOKENS:
        yield CorpusFinding(
            "recommended",
            f"There are {sum(n_tokens):,} tokens, which is little.",
            f"From some {_FEW_TOKENS:,} on a style is learned; of fewer a model rather repeats what it has read.",
        )


def _repetitive(documents: Sequence[Document]) -> Iterator[CorpusFinding]:
    lines = Counter(
        line.strip()
        for one in documents
        for piece in one.pieces
        if piece.is_learned
        for line in piece.text.split("\n")
        if line.strip() not in _NO_LINES
    )
    n_lines = sum(lines.values())
    share = 1 - len(lines) / n_lines if n_lines else 0.0
    if n_lines >= _LEAST_LINES and share > _REPEATED:
        line, n = lines.most_common(1)[0]
        yield CorpusFinding(
            "recommended",
            f"{share:.0%} of the lines were there before; {line[:60]!r} is there {n:,} times.",
            "The model will write such lines over and over; remove what is not text.",
        )


def _prompted(documents: Sequence[Document]) -> Iterator[tuple[str, str]]:
    for one in documents:
        if not one.is_chat and len(one.pieces) == 2:
            yield one.pieces[0].text, one.pieces[1].text


def _content(document: Document) -> tuple[tuple[str, str], ...]:
    return tuple((piece.role, piece.text) for piece in document.pieces)
