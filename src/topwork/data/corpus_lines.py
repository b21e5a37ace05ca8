"""Texts to write like as JSON lines, which `read_corpus` reads to the same texts; it knows no disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from topwork.data.corpus import Corpus, Document
from topwork.errors import DataError
from topwork.inputs.conditions import values_of

__all__ = ["LINES_SUFFIXES", "lines_of", "obstacle_to_lines", "require_lines"]

LINES_SUFFIXES: Final = (".jsonl", ".ndjson")
"""Of files that hold such lines."""

_TREE: Final = "story trees"


def obstacle_to_lines(corpus: Corpus) -> str:
    """Return why texts cannot stand in one file of lines, as a sentence; empty where they can."""
    kinds = sorted({_kind(one) for one in corpus.documents})
    if _TREE in kinds:
        return "Ways through a story tree are no lines of texts: what several have in common is learned once."
    if len(kinds) > 1:
        return f"The data hold {' and '.join(kinds)}, which do not stand in one file of lines."
    return ""


def require_lines(corpus: Corpus) -> None:
    """Refuse what cannot be written as lines.

    Raises
    ------
    DataError
        The texts are of several kinds, or ways through a story tree.
    """
    if obstacle := obstacle_to_lines(corpus):
        raise DataError(
            obstacle, next_step="Give data of one kind at a time; what is odd about a story tree, mend in it."
        )


def lines_of(corpus: Corpus) -> bytes:
    """Return a line of JSON for each text, in UTF-8.

    Plain texts are ``text``; prompts ``prompt`` and ``completion``; chats ``messages``; what texts are given stands
    under the names of its columns.

    Raises
    ------
    DataError
        They are of several kinds, or ways through a story tree.
    """
    require_lines(corpus)
    row = _row_of(corpus.columns)
    lines = (json.dumps(row(one), ensure_ascii=False) for one in corpus.documents)
    return "".join(f"{line}\n" for line in lines).encode("utf-8")


def _kind(document: Document) -> str:
    if document.is_chat:
        return "chats"
    learned = [piece.is_learned for piece in document.pieces]
    return {(True,): "plain texts", (False, True): "prompts with completions"}.get(tuple(learned), _TREE)


def _row_of(columns: Sequence[str]) -> Callable[[Document], dict[str, Any]]:
    def row(document: Document) -> dict[str, Any]:
        pieces = document.pieces
        if document.is_chat:
            return {"messages": [{"role": one.role, "content": one.text} for one in pieces]}
        if len(pieces) == 1:
            return {"text": pieces[0].text}
        if not columns:
            return {"prompt": pieces[0].text, "completion": pieces[1].text}
        given = values_of(pieces[0].text, columns)
        return {**{name: given.get(name, "") for name in columns}, columns[-1]: pieces[1].text}

    return row
