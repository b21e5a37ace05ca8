"""Folders as labels: one sub-folder per class, perhaps below one folder per side.

The label of a file is the name of the folder that it lies in or below. It knows no disk (see `trees`)
and no table; which kind of inputs a folder holds is found in `kinds`.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from topwork.contracts import Dataset, Modality, Rejected, Side
from topwork.data.trees import Tree
from topwork.errors import DataError
from topwork.inputs import modalities

__all__ = [
    "LABEL",
    "SIDES",
    "class_folders",
    "is_candidate",
    "looks_split",
    "side_of",
    "split_folders",
    "unwrap",
]

LABEL = "label"
"""Name of the target where folders are the labels."""

SIDES: dict[str, Side] = {
    "train": "train", "training": "train",
    "valid": "valid", "val": "valid", "validation": "valid", "dev": "valid",
    "test": "test", "testing": "test",
}  # fmt: skip
"""Names of sides, lower case, and what they mean."""

# Companions of a data set that nobody meant as an example.
_HARMLESS = frozenset(
    [
        ".txt",
        ".md",
        ".rst",
        ".json",
        ".jsonl",
        ".ndjson",
        ".csv",
        ".tsv",
        ".parquet",
        ".xml",
        ".yaml",
        ".yml",
        ".toml",
        ".html",
        ".htm",
        ".ini",
        ".cfg",
        ".log",
        ".db",
        ".py",
        ".ipynb",
        ".pdf",
        ".pkl",
        ".npy",
        ".npz",
        ".pt",
        ".pth",
        ".lnk",
        ".url",
        ".sha256",
        ".md5",
    ]
)
_NOTES = frozenset({"readme", "license", "licence", "makefile"})
# Files that certainly are something else; whatever is in neither list is judged by its content.
_FOREIGN = frozenset(
    [
        ".mp4",
        ".mov",
        ".avi",
        ".mkv",
        ".webm",
        ".mp3",
        ".wav",
        ".flac",
        ".ogg",
        ".zip",
        ".tar",
        ".gz",
        ".7z",
        ".rar",
        ".exe",
        ".dll",
        ".so",
        ".doc",
        ".docx",
        ".xls",
        ".xlsx",
        ".ppt",
        ".pptx",
        ".psd",
        ".ai",
        ".eps",
        ".svg",
        ".heic",
        ".heif",
    ]
)


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    label: str
    side: Side | None


@dataclass(frozen=True, slots=True)
class _RowReader:
    names: tuple[str, ...]
    read: Callable[[str], bytes]

    def __call__(self, row: int) -> bytes:
        return self.read(self.names[row])


def side_of(name: str) -> Side | None:
    """Return the side that a folder's or a cell's text names, in any case; None where it names none."""
    return SIDES.get(name.strip().lower())


def unwrap(tree: Tree, modality: Modality) -> str:
    """Return the prefix (empty, or ending in ``/``) below which the data set really begins.

    A single folder around everything (``Chess/`` in an archive ``chess.zip``) is looked through, as long
    as there is another folder below it.
    """
    names = [name for name in tree.names if is_candidate(name, modality)]
    prefix = ""
    while names and _is_wrapper(names, prefix):
        prefix += names[0][len(prefix) :].split("/")[0] + "/"
    return prefix


def looks_split(tree: Tree, prefix: str, modality: Modality) -> bool:
    """Return whether there are folders for sides, each with folders in it."""
    paths = [_parts(name, prefix) for name in tree.names if is_candidate(name, modality)]
    deep = {side_of(parts[0]) for parts in paths if len(parts) > 2}
    flat = {parts[0] for parts in paths if len(parts) == 2}
    return "train" in deep and len(deep - {None}) > 1 and not any(side_of(part) == "train" for part in flat)


def class_folders(tree: Tree, prefix: str, modality: Modality) -> Dataset:
    """Take each folder below ``prefix`` for a class.

    Raises
    ------
    DataError
        There are fewer than two folders with candidates in them.
    """
    rows, rejected = _listed(tree, prefix, modality, n_parts=2)
    labelled = [_Row(name, _label(_parts(name, prefix)[0]), None) for name in rows]
    labels = {row.label for row in labelled}
    _require_classes(tree, labels, modality)
    layout = f"Class folders: {len(labels)} classes, {len(labelled):,} files in {tree.title}."
    dataset = _dataset(labelled, tree, modality, layout, rejected)
    return replace(dataset, understood=(*dataset.understood, *_nested(rows, prefix)))


def split_folders(tree: Tree, prefix: str, modality: Modality) -> Dataset:
    """Take the folders below ``prefix`` for sides, and the folders in those for classes.

    Raises
    ------
    DataError
        There is no folder for training, or fewer than two classes.
    """
    names, rejected = _listed(tree, prefix, modality, n_parts=3)
    rows: list[_Row] = []
    for name in names:
        parts = _parts(name, prefix)
        if side := side_of(parts[0]):
            rows.append(_Row(name, _label(parts[1]), side))
        else:
            rejected.append(Rejected(name, f"the folder {parts[0]} is none of train, valid and test"))
    sizes = Counter(row.side for row in rows)
    if not sizes["train"]:
        raise DataError(
            f"There is no folder `train` with class folders in {tree.title}; found: {_some(_tops(tree, prefix))}.",
            next_step="Expected train, valid and test folders (any of the last two), each with a folder per label.",
        )
    labels = {row.label for row in rows}
    _require_classes(tree, labels, modality)
    sides = ", ".join(f"{side} {sizes[side]:,}" for side in ("train", "valid", "test") if sizes[side])
    layout = f"Split folders: {len(labels)} classes in {tree.title}; {sides}."
    return _dataset(rows, tree, modality, layout, rejected)


def _dataset(
    rows: list[_Row], tree: Tree, modality: Modality, layout: str, rejected: list[Rejected]
) -> Dataset:
    is_split = any(row.side for row in rows)
    names = tuple(row.name for row in rows)
    what = "the folder below the side" if is_split else "the folder that it lies in"
    how = "class folders or a table" if is_split else "split folders or a table"
    return Dataset(
        modality=modality.name,
        keys=names,
        read=_RowReader(names, tree.read),
        targets={LABEL: tuple(row.label for row in rows)},
        given=tuple(row.side for row in rows) if is_split else None,
        layout=layout,
        understood=(
            f"The label of a {modality.wire.noun} is {what}; `--layout` takes it for {how} instead.",
        ),
        rejected=(*tree.rejected, *rejected),
    )


def _listed(tree: Tree, prefix: str, modality: Modality, *, n_parts: int) -> tuple[list[str], list[Rejected]]:
    """Return the names that lie deep enough to have a label, and those that were left out."""
    names: list[str] = []
    rejected: list[Rejected] = []
    for name in tree.names:
        suffix = PurePosixPath(name).suffix.lower()
        if _is_foreign(suffix, modality) and suffix not in _HARMLESS:
            rejected.append(Rejected(name, f"a {suffix} file is no {modality.wire.noun} that can be read"))
        elif not is_candidate(name, modality):
            continue
        elif not name.startswith(prefix) or len(_parts(name, prefix)) < n_parts:
            rejected.append(Rejected(name, "it lies in no class folder"))
        else:
            names.append(name)
    return names, rejected


def _nested(names: list[str], prefix: str) -> Iterator[str]:
    """Say which class folders hold several folders themselves: perhaps those were meant as the classes."""
    inner: dict[str, set[str]] = {}
    for parts in (_parts(name, prefix) for name in names):
        if len(parts) > 2:
            inner.setdefault(parts[0], set()).add(parts[1])
    for folder in sorted(folder for folder, below in inner.items() if len(below) > 1):
        yield (
            f"Class {folder!r} has {len(inner[folder])} sub-folders ({_some(sorted(inner[folder]))}); if these are the "
            f"labels, give the folder {prefix}{folder}."
        )


def is_candidate(name: str, modality: Modality) -> bool:
    """Return whether a file may be an example: a fitting suffix, or an unknown one that its content decides."""
    path = PurePosixPath(name)
    suffix = path.suffix.lower()
    if suffix in modality.suffixes:
        return not (suffix in _HARMLESS and path.stem.lower() in _NOTES)
    is_note = not suffix and path.name.lower() in _NOTES
    return suffix not in _HARMLESS and not _is_foreign(suffix, modality) and not is_note


def _is_foreign(suffix: str, modality: Modality) -> bool:
    """Return whether a suffix says that a file certainly is something else, such as an input of another kind."""
    others = frozenset[str]().union(*(one.suffixes for one in modalities()))
    return suffix in _FOREIGN | others and suffix not in modality.suffixes


def _is_wrapper(names: list[str], prefix: str) -> bool:
    parts = [_parts(name, prefix) for name in names]
    return len({part[0] for part in parts}) == 1 and all(len(part) > 2 for part in parts)


def _require_classes(tree: Tree, labels: set[str], modality: Modality) -> None:
    if len(labels) >= 2:
        return
    noun = modality.wire.noun
    if labels:
        raise DataError(
            f"There is only one class, {next(iter(labels))!r}, in {tree.title}; expected two or more.",
            next_step=f"Put the {noun}s of each label into a sub-folder of their own, side by side.",
        )
    loose = sum(PurePosixPath(name).suffix.lower() in modality.suffixes for name in tree.names)
    if loose:
        raise DataError(
            f"{loose:,} {noun}{'s lie' if loose > 1 else ' lies'} directly in {tree.title}, with no sub-folders; "
            "expected one sub-folder per label.",
            next_step="Move them into folders named after their labels, or give a table with file names and labels.",
        )
    found = f"only {_some(tree.names)}" if tree.names else "no files"
    raise DataError(
        f"There are no {noun}s in {tree.title}: {found}.",
        next_step=f"Expected one sub-folder of {noun}s per label, or a table with file names and labels.",
    )


def _parts(name: str, prefix: str) -> tuple[str, ...]:
    return tuple(name.removeprefix(prefix).split("/"))


def _label(folder: str) -> str:
    # macOS writes "é" as two characters; the same label must not become two classes.
    return unicodedata.normalize("NFC", folder)


def _tops(tree: Tree, prefix: str) -> list[str]:
    return sorted({_parts(name, prefix)[0] for name in tree.names if name.startswith(prefix)})


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5:,} more" if len(listed) > 5 else "")
