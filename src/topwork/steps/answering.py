"""Rows answered by an opened bundle, in their order; and what every way of answering gives. It knows no file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from topwork.bundle.model import BundleModel
from topwork.contracts import Json, Modality
from topwork.data.streams import Row

__all__ = ["Answerer", "LocalAnswerer", "Outcome"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a row: an answer, or a problem."""

    row: Row
    answer: Mapping[str, Json] | None
    problem: str = ""


class Answerer(Protocol):
    """Answers rows, however many there are."""

    @property
    def mark(self) -> Mapping[str, Json]:
        """What tells its answers from those of another one."""
        ...

    @property
    def modality(self) -> Modality:
        """What the inputs are."""
        ...

    def answers(self, rows: Iterator[Row]) -> Iterator[Outcome]:
        """Yield what comes of each row, in their order; as much is under way as keeps it busy, and no more.

        Raises
        ------
        TopworkError
            It cannot go on. What was yielded is good.
        """
        ...


@dataclass(frozen=True, slots=True)
class LocalAnswerer:
    """A bundle that is open in this process; ``digest`` is that of its file."""

    model: BundleModel
    digest: str

    @property
    def mark(self) -> Mapping[str, Json]:
        """The bundle's file, and the targets that it answers for."""
        return {"bundle": self.digest, "targets": list(self.model.targets)}

    @property
    def modality(self) -> Modality:
        """What the inputs are."""
        return self.model.modality

    def answers(self, rows: Iterator[Row]) -> Iterator[Outcome]:
        """Yield what comes of each row, in their order."""
        waiting: dict[int, Row] = {}

        def numbers() -> Iterator[int]:
            for row in rows:
                waiting[row.number] = row
                yield row.number

        for scored in self.model.score_rows(numbers(), lambda number: waiting[number].content()):
            row = waiting.pop(scored.row)
            if scored.scores is None:
                yield Outcome(row, None, scored.problem or "")
            else:
                yield Outcome(row, self.model.answer(scored.scores))
