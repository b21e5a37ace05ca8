"""Texts to write like as tokens, each with its side; what of a chat is said by whom stands in the model's template.

It knows no network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from topwork.contracts import Side
from topwork.data.corpus import Corpus, Document, Piece
from topwork.errors import DataError
from topwork.inputs.chat import rendered
from topwork.inputs.vocabulary import Vocabulary
from topwork.training.packing import Tokenised

__all__ = ["Sides", "split_texts", "tokenised"]

_ENOUGH = 20
"""Texts; fewer are cut into sections, of which the last are the test."""
_HELD_OUT = 0.1
"""Of all texts, or of the letters where there are few: once for the test, once for validation."""
_LEAST_TOKENS = 200
_SECTION = 2000
"""Letters of a section."""


@dataclass(frozen=True, slots=True)
class Sides:
    """Texts by side, and how that came about."""

    train: tuple[Document, ...]
    valid: tuple[Document, ...]
    test: tuple[Document, ...]
    method: str
    notes: tuple[str, ...] = ()

    def keys(self) -> dict[str, Side]:
        """Return the side of each text by a hash of it."""
        named: tuple[tuple[Side, tuple[Document, ...]], ...] = (
            ("test", self.test),
            ("valid", self.valid),
            ("train", self.train),
        )
        return {_digest(one): side for side, texts in named for one in texts}


def split_texts(corpus: Corpus, seed: int) -> Sides:
    """Give each text a side: a tenth is the test, a tenth validates. Equal texts stand on one side.

    Of few texts the last sections are held out, for neighbouring ones speak of the same.

    Raises
    ------
    DataError
        There is too little text to hold anything out.
    """
    groups: dict[str, list[Document]] = {}
    for document in corpus.documents:
        groups.setdefault(_digest(document), []).append(document)
    n_double = len(corpus.documents) - len(groups)
    notes = (
        (f"{n_double:,} texts are there more than once; equal ones stand on one side.",) if n_double else ()
    )
    if len(groups) >= _ENOUGH:
        units = [tuple(one) for one in groups.values()]
        order = np.random.default_rng(seed).permutation(len(units)).tolist()
        n = max(1, round(_HELD_OUT * len(units)))
        parts = (order[2 * n :], order[n : 2 * n], order[:n])
        train, valid, test = (tuple(d for i in part for d in units[i]) for part in parts)
        return Sides(train, valid, test, "random, by text", notes)
    sections = [section for document in corpus.documents for section in _sections(document)]
    n = max(1, round(_HELD_OUT * len(sections)))
    if len(sections) < 3:
        raise DataError(
            f"There is too little text: {sum(len(p.text) for d in corpus.documents for p in d.pieces):,} letters.",
            next_step=f"Give some {5 * _SECTION:,} letters or more, of which a part is held out to judge by.",
        )
    return Sides(
        tuple(sections[: len(sections) - 2 * n]),
        tuple(sections[len(sections) - 2 * n : len(sections) - n]),
        tuple(sections[len(sections) - n :]),
        "the last sections are held out",
        notes,
    )


def tokenised(documents: Sequence[Document], vocabulary: Vocabulary) -> list[Tokenised]:
    """Return texts as tokens: what stands before every text first, what ends one last.

    Raises
    ------
    DataError
        They are chats, and the model has no template for such.
    """
    plain = [
        (number, one) for number, one in enumerate(documents) if len(one.pieces) == 1 and not one.is_chat
    ]
    whole = dict(
        zip(
            (n for n, _ in plain),
            vocabulary.encode_all([one.pieces[0].text for _, one in plain]),
            strict=True,
        )
    )
    found = []
    for number, document in enumerate(documents):
        parts = (
            [(whole[number], True)]
            if number in whole
            else [
                (vocabulary.encode(piece.text), piece.is_learned) for piece in _pieces(document, vocabulary)
            ]
        )
        found.append(_joined(parts, vocabulary, number, is_closed=document.is_chat))
    return found


def _joined(
    parts: Sequence[tuple[list[int], bool]], vocabulary: Vocabulary, number: int, *, is_closed: bool
) -> Tokenised:
    begin = vocabulary.opening("")[:1]
    ends = [] if is_closed else list(vocabulary.ends[:1])
    tokens = [*begin, *(token for own, _ in parts for token in own), *ends]
    learned = [False, *(is_learned for own, is_learned in parts for _ in own), *(True for _ in ends)]
    return Tokenised(np.array(tokens, np.int64), np.array(learned, bool), number)


def _pieces(document: Document, vocabulary: Vocabulary) -> tuple[Piece, ...]:
    """Return the pieces of a text; of a chat as the model's template writes it, each message with what is around it."""
    if not document.is_chat:
        return document.pieces
    if not vocabulary.chat_template:
        raise DataError(
            "These are chats, and the model has no template for such.",
            next_step="Give a model that was trained on chats, or texts without roles.",
        )
    messages = [{"role": one.role, "content": vocabulary.spelled(one.text)} for one in document.pieces]
    found, before = [], ""
    for number, piece in enumerate(document.pieces, start=1):
        if piece.is_learned:  # what opens an answer is given, as it will be when an answer is asked for
            opened = rendered(vocabulary.chat_template, messages[: number - 1], opens_answer=True)
            found.append(Piece(opened[len(before) :], is_learned=False))
            before = opened
        now = rendered(vocabulary.chat_template, messages[:number])
        found.append(replace(piece, text=now[len(before) :], role=""))
        before = now
    return tuple(found)


def _sections(document: Document) -> list[Document]:
    """Cut a plain text at ends of paragraphs into sections of some size; what has several pieces stays whole."""
    if len(document.pieces) > 1:
        return [document]
    text, found, begin = document.pieces[0].text, [], 0
    while begin < len(text):
        end = text.find("\n", begin + _SECTION)
        end = len(text) if end < 0 or end - begin > 2 * _SECTION else end + 1
        if end == len(text) and end - begin > 2 * _SECTION:  # no line ends: cut at a blank
            blank = text.find(" ", begin + _SECTION)
            end = len(text) if blank < 0 else blank + 1
        found.append(
            Document(
                (replace(document.pieces[0], text=text[begin:end]),),
                f"{document.where}, letter {begin + 1:,}",
            )
        )
        begin = end
    return [one for one in found if one.pieces[0].text.strip()]


def _digest(document: Document) -> str:
    content = "\x00".join(f"{piece.role}\x01{piece.text}" for piece in document.pieces)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
