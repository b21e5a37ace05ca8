"""What a task contributes to a report: tables, matrices, galleries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from topwork.contracts.values import Estimate

__all__ = ["Gallery", "Matrix", "Picture", "Section", "Table"]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Counts of truth (rows) against prediction (columns)."""

    title: str
    row_labels: tuple[str, ...]
    column_labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of cells that are already text, or estimates that a report draws with their interval."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | Estimate, ...], ...]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """One item of a gallery; ``jpeg_base64`` is empty where pictures of the data are not to be kept."""

    key: str
    caption: str
    jpeg_base64: str = ""


@dataclass(frozen=True, slots=True)
class Gallery:
    """Examples worth looking at."""

    title: str
    pictures: tuple[Picture, ...]
    caption: str = ""


Section: TypeAlias = Matrix | Table | Gallery
"""What a task contributes to a report; a report renders each kind and knows no task."""
