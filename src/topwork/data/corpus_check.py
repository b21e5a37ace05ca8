"""What is odd about texts to write like: each finding with what a fit does about it, or what a person might.

It knows no network; how many tokens a text has is told to it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from topwork.data.corpus import Corpus, Document
from topwork.data.corpus_lines import obstacle_to_lines
from topwork.data.player_words import MARK
from topwork.data.prompt_endings import end_alike, usual_ending
from topwork.inputs.text_mending import looks_misread, with_letters_mended

__all__ = ["CorpusFinding", "content_of", "examine_corpus", "is_told", "prompted", "with_and_without_blank"]

_MOST: Final = 0.9
"""Share of the prompts that have to end alike for the others to be odd ones out."""
_FEW_TOKENS: Final = 20_000
_REPEATED: Final = 0.3
_LEAST_LINES: Final = 20
_NO_LINES: Final = frozenset({"", MARK.strip()})
"""What is nothing, and what leaves an action to the player in each text of a story tree."""
# How readers tell of bytes that are no UTF-8.
_ENCODING: Final = re.compile("is not UTF-8|stand for no character")
_ONE_BLANK: Final = re.compile(r" \S")


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
    name
        Of the remedy in `topwork.data.corpus_mending`; empty where a person alone can mend it.
    mending
        ``done`` in the copy that was written, ``offered``, or ``none``.
    """

    kind: Literal["necessary", "recommended"]
    what: str
    remedy: str
    name: str = ""
    mending: Literal["none", "offered", "done"] = "none"


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
        *_leaks(corpus),
        *_doubles(corpus.documents),
        *_long(corpus.documents, n_tokens, length),
        *_separators(corpus),
        *_blanks(corpus),
        *_little(n_tokens),
        *_repetitive(corpus.documents),
    ]
    if not obstacle_to_lines(corpus):
        found = [replace(one, mending="offered") if one.name else one for one in found]
    return tuple(sorted(found, key=lambda one: one.kind != "necessary"))


def content_of(document: Document) -> tuple[tuple[str, str], ...]:
    """Return all that two texts share which are the same."""
    return tuple((piece.role, piece.text) for piece in document.pieces)


def is_told(document: Document) -> bool:
    """Tell whether what is to be learned stands word for word in what it is given."""
    if not document.is_prompted:
        return False
    given, answer = document.pieces
    return bool(answer.text.strip()) and answer.text.strip() in given.text


def with_and_without_blank(documents: Sequence[Document]) -> tuple[list[Document], list[Document]]:
    """Part prompts by whether their completions begin with one blank, or with none; what is indented is neither."""
    with_blank = [one for one in documents if _ONE_BLANK.match(one.pieces[1].text)]
    without = [one for one in documents if not one.pieces[1].text[:1].isspace()]
    return with_blank, without


def _left_out(corpus: Corpus) -> Iterator[CorpusFinding]:
    reasons = Counter(one.reason for one in corpus.rejected)
    for reason, n in reasons.most_common():
        yield CorpusFinding(
            "necessary",
            f"{_n(n, 'text', 'texts')} cannot be used: {reason}.",
            "They are left out.",
            "unusable",
        )


def _lost(corpus: Corpus) -> Iterator[CorpusFinding]:
    for note in corpus.notes:
        if _ENCODING.search(note):
            yield CorpusFinding("recommended", note, "Save the file as UTF-8.", "encoding")
        else:
            yield CorpusFinding("recommended", note, "See whether that is what was meant.")
    odd = [one for one in corpus.documents if any(looks_misread(piece.text) for piece in one.pieces)]
    lost = [one for one in odd if any(looks_misread(with_letters_mended(p.text)) for p in one.pieces)]
    whole = len(odd) - len(lost)
    if whole:
        yield CorpusFinding(
            "recommended",
            f"{_n(whole, 'text holds', 'texts hold')} letters such as “Ã©”: UTF-8 that was taken for another "
            "encoding and saved again.",
            "Mend them, or the model will write such letters, too.",
            "letters",
        )
    if lost:
        yield CorpusFinding(
            "recommended",
            f"{_n(len(lost), 'text holds', 'texts hold')} letters that look like “Ã©” and may be meant, or are "
            f"lost; see {lost[0].where}.",
            "Look at them, or the model will write such letters, too.",
        )


def _doubles(documents: Sequence[Document]) -> Iterator[CorpusFinding]:
    n = len(documents) - len({content_of(one) for one in documents})
    if n:
        yield CorpusFinding(
            "recommended",
            f"{_n(n, 'text was', 'texts were')} there before.",
            "Equal ones stand on one side; remove them, or the model learns them by heart.",
            "duplicates",
        )


def _leaks(corpus: Corpus) -> Iterator[CorpusFinding]:
    answers: defaultdict[str, set[str]] = defaultdict(set)
    for one in prompted(corpus):
        answers[one.pieces[0].text].add(one.pieces[1].text)
    if n := sum(len(each) > 1 for each in answers.values()):
        yield CorpusFinding(
            "recommended",
            f"{_n(n, 'prompt has', 'prompts have')} several completions, which may stand on different sides.",
            "Keep one of each, if there is only one that is right.",
            "several",
        )
    if n_told := sum(is_told(one) for one in corpus.documents):
        yield CorpusFinding(
            "recommended",
            f"{_n(n_told, 'completion stands', 'completions stand')} word for word in the prompt.",
            "See that the prompt does not give the answer away.",
            "told",
        )


def _long(documents: Sequence[Document], n_tokens: Sequence[int], length: int) -> Iterator[CorpusFinding]:
    long = [one for one, n in zip(documents, n_tokens, strict=True) if n > length and len(one.pieces) > 1]
    if long:
        yield CorpusFinding(
            "recommended",
            f"{_n(len(long), 'text has', 'texts have')} more than {length:,} tokens together with the prompt, such as "
            f"{long[0].where}.",
            "What lies beyond is learned without its prompt; shorten them, or give --set length=N.",
            "long",
        )


def _separators(corpus: Corpus) -> Iterator[CorpusFinding]:
    prompts = [one.pieces[0].text for one in prompted(corpus)]
    if end_alike(prompts):
        return
    common, n_alike = usual_ending(prompts, _MOST)
    if common:
        yield CorpusFinding(
            "recommended",
            f"{n_alike:,} of {len(prompts):,} prompts end in {common!r}, and the others do not.",
            "Let all of them end alike, so that the model sees where it is to begin.",
            "separators",
        )
    else:
        yield CorpusFinding(
            "recommended",
            "Prompts do not end alike, so that the model cannot see where it is to begin.",
            "End each with the same words, such as a line of ###.",
            "separators",
        )


def _blanks(corpus: Corpus) -> Iterator[CorpusFinding]:
    with_blank, without = with_and_without_blank(prompted(corpus))
    if with_blank and without:
        yield CorpusFinding(
            "recommended",
            f"{len(with_blank):,} of {len(prompted(corpus)):,} completions begin with a blank, and "
            f"{_n(len(without), 'does', 'do')} not.",
            "Let all of them begin alike, or the model has to guess its first token.",
            "blanks",
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


def prompted(corpus: Corpus) -> list[Document]:
    """Return prompts with their completions; what is written by several columns is none."""
    return [] if corpus.columns else [one for one in corpus.documents if one.is_prompted]


def _n(count: int, one: str, several: str) -> str:
    return f"{count:,} {one if count == 1 else several}"
