"""Texts to write like with what is odd about them mended, as far as that takes no judgement; each change is counted.

It knows no tokens: `keep_short` is told how many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from topwork.data.corpus import Corpus, Document, Piece
from topwork.data.corpus_check import (
    CorpusFinding,
    content_of,
    is_told,
    prompted,
    with_and_without_blank,
)
from topwork.data.prompt_endings import end_alike, ended, ending_for
from topwork.errors import UsageError
from topwork.inputs.conditions import beginning_of, values_of
from topwork.inputs.text_mending import with_letters_mended

__all__ = ["BY_ITSELF", "ON_REQUEST", "Mended", "chosen", "keep_short", "mend_corpus", "told_mended"]

BY_ITSELF: Final = ("encoding", "letters", "separators", "blanks", "duplicates")
"""Remedies that take nothing away that a text says."""
ON_REQUEST: Final = ("several", "told", "long")
"""Remedies that leave out texts which may be meant."""

_CAME_UP: Final = "More came up once the texts were mended."
_DONE: Final = {
    "unusable": "They are left out.",
    "encoding": "Bytes that are no UTF-8 were read as Windows text (cp1252), one by one; the copy is UTF-8.",
    "letters": "They are mended.",
    "separators": "All end in {ending!r} now; prompts that were changed: {n:,}.",
    "blanks": "All begin as most of them did; completions that were changed: {n:,}.",
    "duplicates": "Each is kept once; left out: {n:,}.",
    "several": "Of each prompt the first completion is kept; left out: {n:,}.",
    "told": "They are left out: {n:,}.",
    "long": "They are left out: {n:,}.",
}


@dataclass(frozen=True, slots=True)
class Mended:
    """Texts that were mended.

    Attributes
    ----------
    counts
        Texts that each remedy changed or left out.
    ending
        What all prompts end in now, where that was mended.
    """

    corpus: Corpus
    counts: Mapping[str, int]
    ending: str | None = None


def chosen(also: Collection[str], leave: Collection[str]) -> frozenset[str]:
    """Return the names of the remedies to apply: those by themselves, and ``also`` some, but for what to ``leave``.

    Raises
    ------
    UsageError
        There is no such remedy, or it stands on both sides.
    """
    known = (*BY_ITSELF, *ON_REQUEST)
    if unknown := sorted({*also, *leave} - set(known)):
        raise UsageError(
            f"There is no remedy {unknown[0]!r}; there are {', '.join(known)}.",
            next_step="Use the names that `topwork data check` tells.",
        )
    if both := sorted({*also} & {*leave}):
        raise UsageError(
            f"{both[0]!r} is to be mended and to be left.", next_step="Give it once: --also or --leave."
        )
    return frozenset({*BY_ITSELF, *also} - {*leave})


def mend_corpus(corpus: Corpus, remedies: Collection[str]) -> Mended:
    """Apply remedies, those first that make texts equal: what is the same after them is there twice."""
    counts: dict[str, int] = {}
    ending = None
    for name, remedy in _CHANGES.items():
        if name in remedies:
            found = remedy(corpus)
            counts[name] = sum(new is not old for new, old in zip(found, corpus.documents, strict=True))
            if name == "separators" and counts[name]:
                ending = ending_for([one.pieces[0].text for one in prompted(corpus)])
            corpus = replace(corpus, documents=found)
    corpus = replace(corpus, documents=tuple(one for one in corpus.documents if _says_something(one)))
    for name, remedy in _LEAVING_OUT.items():
        if name in remedies:
            found = remedy(corpus)
            counts[name] = len(corpus.documents) - len(found)
            corpus = replace(corpus, documents=found)
    return Mended(corpus, counts, ending)


def _says_something(document: Document) -> bool:
    """Tell whether there is more than blanks to learn: “Â ” was one."""
    return document.is_chat or not document.pieces[-1].text.isspace()


def keep_short(mended: Mended, n_tokens: Sequence[int], length: int) -> tuple[Mended, list[int]]:
    """Leave out prompts, chats and the like that have more tokens than a row; return the tokens of the others, too."""
    pairs = list(zip(mended.corpus.documents, n_tokens, strict=True))
    kept = [(one, n) for one, n in pairs if n <= length or len(one.pieces) == 1]
    corpus = replace(mended.corpus, documents=tuple(one for one, _ in kept))
    counts = {**mended.counts, "long": len(pairs) - len(kept)}
    return replace(mended, corpus=corpus, counts=counts), [n for _, n in kept]


def told_mended(
    findings: Sequence[CorpusFinding], mended: Mended, remedies: Collection[str]
) -> tuple[CorpusFinding, ...]:
    """Return findings of the texts as they were, each that was mended with what was done about it.

    What came up only once others were mended, such as texts that are equal now, stands at the end.
    """
    found = [_told(one, mended) if one.name in {"unusable", *remedies} else one for one in findings]
    fresh = mended.counts.keys() - {one.name for one in findings}
    late = [CorpusFinding("recommended", _CAME_UP, "", name) for name in mended.counts if name in fresh]
    return (*found, *(_told(one, mended) for one in late if mended.counts[one.name]))


def _told(finding: CorpusFinding, mended: Mended) -> CorpusFinding:
    done = _DONE[finding.name].format(n=mended.counts.get(finding.name, 0), ending=mended.ending)
    return replace(finding, remedy=done, mending="done")


# --- what changes texts -------------------------------------------------------------------------------------


def _letters(corpus: Corpus) -> tuple[Document, ...]:
    return tuple(_with_letters(one, corpus.columns) for one in corpus.documents)


def _with_letters(document: Document, columns: Sequence[str]) -> Document:
    new = [replace(piece, text=with_letters_mended(piece.text)) for piece in document.pieces]
    if columns and len(new) == 2:  # the names of columns are no texts
        values = values_of(document.pieces[0].text, columns)
        given = beginning_of({name: with_letters_mended(one) for name, one in values.items()}, columns)
        new[0] = replace(new[0], text=given)
    return _changed(document, new)


def _separators(corpus: Corpus) -> tuple[Document, ...]:
    prompts = [one.pieces[0].text for one in prompted(corpus)]
    if end_alike(prompts):
        return corpus.documents
    ending = ending_for(prompts)
    return tuple(
        _changed(one, (replace(one.pieces[0], text=ended(one.pieces[0].text, ending)), one.pieces[1]))
        if one.is_prompted
        else one
        for one in corpus.documents
    )


def _blanks(corpus: Corpus) -> tuple[Document, ...]:
    with_blank, without = with_and_without_blank(prompted(corpus))
    if not with_blank or not without:
        return corpus.documents
    is_usual = len(with_blank) >= len(without)
    odd = {id(one) for one in (without if is_usual else with_blank)}
    return tuple(_with_blank(one, is_there=is_usual) if id(one) in odd else one for one in corpus.documents)


def _with_blank(document: Document, *, is_there: bool) -> Document:
    prompt, completion = document.pieces
    text = f" {completion.text}" if is_there else completion.text.removeprefix(" ")
    return replace(document, pieces=(prompt, replace(completion, text=text)))


def _changed(document: Document, pieces: Sequence[Piece]) -> Document:
    new = tuple(pieces)
    return document if new == document.pieces else replace(document, pieces=new)


# --- what leaves texts out ----------------------------------------------------------------------------------


def _duplicates(corpus: Corpus) -> tuple[Document, ...]:
    first: dict[object, Document] = {}
    for one in corpus.documents:
        first.setdefault(content_of(one), one)
    return tuple(first.values())


def _several(corpus: Corpus) -> tuple[Document, ...]:
    answers: dict[str, str] = {}
    kept = []
    for one in corpus.documents:
        if one.is_prompted and not corpus.columns:
            prompt, completion = one.pieces
            if answers.setdefault(prompt.text, completion.text) != completion.text:
                continue  # another completion of it came first
        kept.append(one)
    return tuple(kept)


def _told_in_prompts(corpus: Corpus) -> tuple[Document, ...]:
    return tuple(one for one in corpus.documents if not is_told(one))


_Remedy = Callable[[Corpus], tuple[Document, ...]]
_CHANGES: Final[Mapping[str, _Remedy]] = {
    "letters": _letters,
    "separators": _separators,
    "blanks": _blanks,
}
_LEAVING_OUT: Final[Mapping[str, _Remedy]] = {
    "duplicates": _duplicates,
    "several": _several,
    "told": _told_in_prompts,
}
