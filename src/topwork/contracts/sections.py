"""What a task contributes to a report: tables, matrices, galleries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from topwork.contracts.values import Estimate

__all__ = ["Chart", "Gallery", "Matrix", "Picture", "Piece", "Point", "Section", "Series", "Table"]


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
class Piece:
    """A piece of a text, and how much it spoke for the answer, -1 to 1; 0 where that is not known."""

    text: str
    heat: float = 0.0


@dataclass(frozen=True, slots=True)
class Picture:
    """One item of a gallery.

    Attributes
    ----------
    jpeg_base64
        A thumbnail; empty where pictures of the data are not to be kept.
    heat_base64
        The same thumbnail with what drove the answer made visible; empty where that is not known.
    pieces
        Of a text: what it says, piece by piece.
    truth, predicted
        Label given by the data, and by the model; empty where there is none.
    probability
        Of ``predicted``, 0 to 1.
    """

    key: str
    caption: str
    jpeg_base64: str = ""
    heat_base64: str = ""
    truth: str = ""
    predicted: str = ""
    probability: float | None = None
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True)
class Gallery:
    """Examples worth looking at."""

    title: str
    pictures: tuple[Picture, ...]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a chart; ``low`` and ``high`` are its 95 % interval, where it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one kind, in the order of x. A ``line`` with intervals has a band, ``dots`` have whiskers."""

    name: str
    points: tuple[Point, ...]
    style: Literal["line", "dashed", "dots", "bars"] = "line"


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture with two axes; a ``share`` runs from 0 to 1 and is shown in percent."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    caption: str = ""
    x_kind: Literal["number", "share", "seconds"] = "number"
    y_kind: Literal["number", "share", "seconds"] = "number"
    x_log: bool = False


Section: TypeAlias = Matrix | Table | Gallery | Chart
"""What a task contributes to a report; a report renders each kind and knows no task."""
