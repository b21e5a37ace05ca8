"""Texts to write like: plain files, a column of texts, prompts with their completions, chats, story trees.

Nothing of a text is changed but its line ends. It knows no tokens and no language model.
"""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from topwork.contracts import Rejected
from topwork.data.story_trees import FIRST, read_story_tree, ways_through
from topwork.data.tables import TABLE_SUFFIXES, json_rows, parse_table
from topwork.data.trees import MAX_FILE_BYTES, read_path
from topwork.errors import DataError
from topwork.inputs.conditions import beginning_of
from topwork.inputs.text_mending import as_utf8
from topwork.inputs.text_opening import characters_of

__all__ = ["TREE_LAYOUT", "Corpus", "Document", "Piece", "looks_like_corpus", "read_corpus"]

TREE_LAYOUT: Final = "A story tree"
"""How the layout of such data begins."""

_TEXT_SUFFIXES: Final = frozenset({".txt", ".text", ".md"})
_BOUNDARY: Final = "<|endoftext|>"
"""What separates texts in one file, as in those that GPT-2 was trained on."""
_START: Final = "<|startoftext|>"
_ROLES: Final = ("system", "user", "assistant", "tool")
_JSON_LINES: Final = frozenset({".jsonl", ".ndjson"})
_LINED: Final = _JSON_LINES | {".csv", ".tsv", ".tab"}
_TREE_SUFFIX: Final = ".json"
_BINARY_SUFFIX: Final = ".parquet"
_HALF: Final = re.compile("[\ud800-\udfff]")
_LOOKED_AT: Final = 1 << 16
_TEXT_COLUMNS: Final = ("text", "story", "content", "document")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text; ``is_learned`` where the model is to write it. ``role`` is who says it in a chat."""

    text: str
    is_learned: bool = True
    role: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """One text, and where it stands, for a person who looks it up."""

    pieces: tuple[Piece, ...]
    where: str

    @property
    def is_chat(self) -> bool:
        """Whether it is a chat, whose template belongs to the model."""
        return bool(self.pieces[0].role)

    @property
    def is_prompted(self) -> bool:
        """Whether it is a prompt, or what a text is given, and what is to follow."""
        return not self.is_chat and len(self.pieces) == 2


@dataclass(frozen=True, slots=True)
class Corpus:
    """Texts to write like.

    Attributes
    ----------
    layout
        What the data were taken for, as a sentence.
    notes
        What a reader should know, such as an encoding that was guessed.
    rejected
        What has no text, with the reason.
    columns
        Names of what each text is given, and last of the text itself; empty where they are given nothing.
    """

    documents: tuple[Document, ...]
    layout: str
    notes: tuple[str, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    columns: tuple[str, ...] = ()


def looks_like_corpus(data: str | Path) -> bool:
    """Tell whether data are texts beside which no label stands, by names and by the first line of a table.

    A text file, a glob or a folder of nothing else; a table of one column; prompts with completions; chats; a story
    tree.
    """
    path = Path(data)
    if path.is_dir():
        with os.scandir(path) as entries:
            shown = [one for one in entries if not one.name.startswith(".")]
        return bool(shown) and all(one.is_file() and _is_text(one.name) for one in shown)
    if not path.is_file():
        return not path.exists() and glob.has_magic(str(data))
    if path.suffix.lower() == _TREE_SUFFIX:
        return _begins_like_tree(path)
    return _is_text(path.name) or (path.suffix.lower() in _LINED and _begins_like_corpus(path))


def _is_text(name: str) -> bool:
    return Path(name).suffix.lower() in _TEXT_SUFFIXES


def _begins_like_tree(path: Path) -> bool:
    with path.open("rb") as stream:
        return f'"{FIRST}"'.encode() in stream.read(_LOOKED_AT)


def _begins_like_corpus(path: Path) -> bool:
    is_json = path.suffix.lower() in _JSON_LINES
    with path.open("rb") as stream:
        line = stream.readline(MAX_FILE_BYTES if is_json else _LOOKED_AT)
    try:
        first = json.loads(as_utf8(line)) if is_json else json.loads(line)
        columns = set(first) if isinstance(first, dict) else set()
    except (ValueError, RecursionError):
        header = characters_of(line)[0].strip()
        columns = {cell.strip().strip('"') for cell in re.split("[,;\t]", header)} if header else set()
        if (
            path.suffix.lower() in (".csv", ".tsv", ".tab")
            and len(columns) == 1
            and not header.startswith('"')
        ):
            return columns <= set(_TEXT_COLUMNS)
    if is_json and len(columns) == 1 and columns <= set(_TEXT_COLUMNS):
        return True
    return "messages" in columns or {"prompt", "completion"} <= columns


def read_corpus(data: str | Path, column: str | None = None, *, is_mended: bool = False) -> Corpus:
    """Read texts to write like.

    Parameters
    ----------
    data
        A text file, a folder or a glob of such; a table with a column of texts (CSV, TSV, Parquet), JSON lines with
        ``text``, with ``prompt`` and ``completion``, or with ``messages``; a story tree.
    column
        Of a table that has several: the one with the texts, or what they are given and the text, ``title,genre,text``.
    is_mended
        Take each byte that is no UTF-8 for Windows-1252, in place of the whole file or of no character.

    Raises
    ------
    DataError
        There are no texts, or nothing says which column holds them.
    """
    paths = _paths(data)
    parts = [_encodable(_read_one(path, column, is_mended=is_mended)) for path in paths]
    documents = tuple(document for part in parts for document in part.documents)
    rejected = tuple(one for part in parts for one in part.rejected)
    if not documents:
        raise DataError(
            f"There is no text in {data}" + (f": {rejected[0].reason}." if rejected else "."),
            next_step="Give a text file, a folder of such, or a table with a column of texts.",
        )
    notes = tuple(note for part in parts for note in part.notes)
    return Corpus(documents, _layout(parts), notes, rejected, parts[0].columns)


def _layout(parts: Sequence[Corpus]) -> str:
    if len(parts) == 1:
        return parts[0].layout
    if all(part.layout.startswith(TREE_LAYOUT) for part in parts):
        return f"{TREE_LAYOUT} in each of {len(parts):,} files, of which each way is a text."
    return f"{len(parts):,} text files, each a text."


def _paths(data: str | Path) -> list[Path]:
    path = Path(data)
    if path.is_dir():
        found = sorted(
            one for one in path.rglob("*") if one.suffix.lower() in _TEXT_SUFFIXES and one.is_file()
        )
        if not found:
            raise DataError(
                f"The folder {path} holds no text file.", next_step="Expected files that end in .txt."
            )
        return found
    if path.exists():
        return [path]
    if glob.has_magic(str(data)):
        found = sorted(Path(one) for one in glob.glob(str(data), recursive=True) if os.path.isfile(one))  # noqa: PTH113, PTH207
        if found:
            return found
        raise DataError(
            f"No file is called like {data}.", next_step="Quote the pattern, and look whether it matches."
        )
    raise DataError(f"There is no file or folder {path}.", next_step="Check the path.")


def _encodable(corpus: Corpus) -> Corpus:
    """Leave out what holds half a letter, as JSON can: no encoding writes it, and no vocabulary takes it."""
    halves = {one.where for one in corpus.documents if any(_HALF.search(piece.text) for piece in one.pieces)}
    if not halves:
        return corpus
    kept = tuple(one for one in corpus.documents if one.where not in halves)
    found = tuple(Rejected(where, "it holds half of a letter (a lone surrogate)") for where in sorted(halves))
    return replace(corpus, documents=kept, rejected=(*corpus.rejected, *found))


def _read_one(path: Path, column: str | None, *, is_mended: bool) -> Corpus:
    suffix, content = path.suffix.lower(), read_path(path)
    if is_mended and suffix != _BINARY_SUFFIX:
        content = as_utf8(content)
    if suffix in _JSON_LINES:
        return _json_lines(path.name, content, column)
    if suffix == _TREE_SUFFIX:
        return _tree(path.name, content)
    if suffix in TABLE_SUFFIXES:
        return _table(path.name, content, column)
    return _plain(path.name, content)


def _plain(name: str, content: bytes) -> Corpus:
    text, n_lost = characters_of(content)
    notes = (f"{n_lost:,} bytes of {name} stand for no character.",) if n_lost else ()
    parts = text.replace("\r\n", "\n").replace("\r", "\n").split(_BOUNDARY)
    found = [part.removeprefix(_START) for part in parts if part.strip()]
    if not found:
        return Corpus((), "A text file.", notes, (Rejected(name, "it holds no text"),))
    if len(found) == 1:
        return Corpus((Document((Piece(found[0]),), name),), "A text file.", notes)
    return Corpus(
        tuple(Document((Piece(one),), f"{name}, text {i}") for i, one in enumerate(found, 1)),
        f"A text file of {len(found):,} texts with {_BOUNDARY} between them.",
        notes,
    )


def _tree(name: str, content: bytes) -> Corpus:
    tree = read_story_tree(name, content)
    documents = tuple(
        Document(tuple(Piece(text, is_learned=is_new) for text, is_new in way.pieces), way.where)
        for way in ways_through(tree, name)
    )
    return Corpus(documents, f"{TREE_LAYOUT}, of which each way is a text.")


def _table(name: str, content: bytes, column: str | None) -> Corpus:
    table = parse_table(name, content)
    if column is None and len(table.columns) == 1 and table.columns[0].lower() not in _TEXT_COLUMNS:
        table = table.with_header_as_row()  # as gpt-2-simple's files are, which have no header
        column = table.columns[0]
    if (several := _several(name, table.columns, column)) is not None:
        cells = zip(*(table.column(one) for one in several), strict=True)
        listed = [
            (number, dict(zip(several, row, strict=True)))
            for number, row in zip(table.numbers, cells, strict=True)
        ]
        found = _conditioned(name, listed, several)
        return replace(found, notes=table.notes, rejected=(*table.rejected, *found.rejected))
    if column is None and {"prompt", "completion"} <= set(table.columns):
        pairs = zip(table.numbers, table.column("prompt"), table.column("completion"), strict=True)
        return _prompted(name, ((number, {"prompt": a, "completion": b}) for number, a, b in pairs))
    chosen = _column(name, table.columns, column)
    rows = list(zip(table.numbers, table.column(chosen), strict=True))
    documents = tuple(
        Document((Piece(text),), f"{name}, {table.unit} {number}") for number, text in rows if text.strip()
    )
    empty = tuple(
        Rejected(f"{name}, {table.unit} {number}", "it is empty") for number, text in rows if not text.strip()
    )
    return Corpus(
        documents, f"A table with a text in each row of {chosen!r}.", table.notes, (*table.rejected, *empty)
    )


def _column(name: str, columns: Sequence[str], asked: str | None) -> str:
    if asked in columns:
        assert asked is not None
        return asked
    if asked is not None:
        raise DataError(
            f"{name} has no column {asked!r}; it has {', '.join(columns)}.", next_step="Name one of these."
        )
    found = next(
        (c for c in columns if c.lower() in _TEXT_COLUMNS), columns[0] if len(columns) == 1 else None
    )
    if found is None:
        raise DataError(
            f"{name} has the columns {', '.join(columns)}; which of them holds the texts to write like is not clear.",
            next_step="Name it with --input, or call two of them prompt and completion.",
        )
    return found


def _json_lines(name: str, content: bytes, column: str | None) -> Corpus:
    rows, notes = json_rows(name, content)
    keys = dict.fromkeys(key for _, row in rows for key in row)
    if (several := _several(name, tuple(keys), column)) is not None:
        found = _conditioned(name, rows, several)
    elif column is None and "messages" in keys:
        found = _chats(name, rows)
    elif column is None and {"prompt", "completion"} <= set(keys):
        found = _prompted(name, iter(rows))
    else:
        chosen = _column(name, tuple(keys), column)
        documents, rejected = [], []
        for number, row in rows:
            text, where = row.get(chosen), f"{name}, line {number}"
            if isinstance(text, str) and text.strip():
                documents.append(Document((Piece(text),), where))
            else:
                rejected.append(Rejected(where, f"its {chosen!r} is no text"))
        found = Corpus(tuple(documents), f"JSON lines with a text in {chosen!r}.", (), tuple(rejected))
    return replace(found, notes=tuple(notes))


def _prompted(name: str, rows: Iterator[tuple[int, Mapping[str, Any]]]) -> Corpus:
    documents, rejected = [], []
    for number, row in rows:
        prompt, completion, where = row.get("prompt"), row.get("completion"), f"{name}, line {number}"
        if isinstance(prompt, str) and isinstance(completion, str) and completion.strip():
            documents.append(Document((Piece(prompt, is_learned=False), Piece(completion)), where))
        else:
            rejected.append(Rejected(where, "it has no completion to learn"))
    return Corpus(tuple(documents), "Prompts with the completions to learn.", (), tuple(rejected))


def _several(name: str, columns: Sequence[str], asked: str | None) -> tuple[str, ...] | None:
    """Return the columns that are asked for where these are several, of which the last holds the texts."""
    if asked is None or asked in columns or "," not in asked:
        return None
    found = tuple(one.strip() for one in asked.split(","))
    missing = [one for one in found if one not in columns]
    if missing or len(set(found)) < len(found):
        what = f"has no column {missing[0]!r}" if missing else "is to give a column twice"
        raise DataError(
            f"{name} {what}; it has {', '.join(columns)}.",
            next_step="Name what the texts are given, and last the column of the texts, with commas between.",
        )
    return found


def _conditioned(
    name: str, rows: Sequence[tuple[int, Mapping[str, Any]]], columns: tuple[str, ...]
) -> Corpus:
    documents, rejected = [], []
    *given, written = columns
    for number, row in rows:
        text, where = row.get(written), f"{name}, line {number}"
        if not isinstance(text, str) or not text.strip():
            rejected.append(Rejected(where, f"its {written!r} is no text"))
            continue
        values = {one: str(row[one]) for one in given if row.get(one) is not None}
        before = Piece(beginning_of(values, columns), is_learned=False)
        documents.append(Document((before, Piece(text)), where))
    layout = f"Texts in {written!r}, each with what it is given in {', '.join(given)}."
    return Corpus(tuple(documents), layout, (), tuple(rejected), columns)


def _chats(name: str, rows: Sequence[tuple[int, Mapping[str, Any]]]) -> Corpus:
    documents, rejected = [], []
    for number, row in rows:
        where, messages = f"{name}, line {number}", row.get("messages")
        problem = _problem_of(messages)
        if problem:
            rejected.append(Rejected(where, problem))
            continue
        assert isinstance(messages, list)
        pieces = [Piece(one["content"], one["role"] == "assistant", one["role"]) for one in messages]
        documents.append(Document(tuple(pieces), where))
    return Corpus(
        tuple(documents), "Chats, of which the assistant's messages are to be learned.", (), tuple(rejected)
    )


def _problem_of(messages: object) -> str:
    """Return what is wrong with the messages of a chat; empty where nothing is."""
    if not isinstance(messages, list) or not messages:
        return "its messages are no list of such"
    for one in messages:
        if not (
            isinstance(one, dict) and isinstance(one.get("content"), str) and isinstance(one.get("role"), str)
        ):
            return "a message has no role and content"
        if one["role"] not in _ROLES:
            return f"a message has the role {one['role']!r:.40}; expected one of {', '.join(_ROLES)}"
    if not any(one["role"] == "assistant" for one in messages):
        return "no message is the assistant's, so that there is nothing to learn"
    return ""
