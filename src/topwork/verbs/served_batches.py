"""A batch that a server was asked for: read and written as `batching` does, answered by the model that is served.

It knows no HTTP and no gate: how the model is asked comes as a function.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from topwork.contracts import Answer, Json, Modality, Servable
from topwork.data.streams import Row, Stream
from topwork.errors import DecodeError, UsageError
from topwork.inputs import modalities
from topwork.progress import Quiet
from topwork.serving.jobs.batches import BatchOrder, Means
from topwork.serving.jobs.progress import Progress
from topwork.steps.answering import Outcome
from topwork.steps.options import Surroundings
from topwork.verbs.batching import BatchOptions, Oversight, batch_with

__all__ = ["run_served"]

TOGETHER = 16


def run_served(order: BatchOrder, servable: Servable, means: Means, *, again: bool) -> Mapping[str, Json]:
    """Carry a batch out; as of `topwork.serving.jobs.batches.RunBatch`."""
    found = batch_with(
        ServedAnswerer(servable, means),
        order.input,
        order.output,
        options=BatchOptions(column=order.column, resume=True),
        around=Surroundings(progress=Quiet()),
        oversight=Oversight(
            within=lambda stream: _guarded(stream, means.allows),
            told=lambda found: means.tell(Progress(found.n_rows, found.n_done, found.n_failed)),
        ),
    )
    if found.was_done and not again:
        raise UsageError(f"{order.output} is there already.", next_step="Choose another output.")
    return {
        "output": str(found.out),
        "failed": None if found.failed is None else str(found.failed),
        "n_rows": None if found.was_done else found.n_rows,
        "n_failed": None if found.was_done else found.n_failed,
    }


@dataclass(frozen=True, slots=True)
class _Asked:
    """Some rows: what came of those that could not be read, and the answers to come to the others."""

    rows: list[Row]
    found: dict[int, Outcome]
    readable: list[Row]
    answers: Future[Sequence[Answer]] | None

    def outcomes(self) -> Iterator[Outcome]:
        """Wait for the answers, and yield what comes of each row."""
        found = dict(self.found)
        for answer in self.answers.result() if self.answers is not None else ():
            row = self.readable[answer.index]
            found[row.number] = Outcome(row, answer.value, answer.problem or "")
        yield from (found[row.number] for row in self.rows)


@dataclass(frozen=True, slots=True)
class ServedAnswerer:
    """A model that is served in this process."""

    servable: Servable
    means: Means

    @property
    def mark(self) -> Mapping[str, Json]:
        """The model, and when it was fitted."""
        return {"model": self.servable.name, "created": self.servable.about.get("created")}

    @property
    def modality(self) -> Modality:
        """What the inputs are: what the model calls them, else what travels as they do."""
        wire = self.servable.wire
        alike = [one for one in modalities() if one.wire.in_json == wire.in_json]
        return next((one for one in alike if one.wire.noun == wire.noun), alike[0])

    def answers(self, rows: Iterator[Row]) -> Iterator[Outcome]:
        """Yield what comes of each row, in their order; the model is asked for the next ones meanwhile."""
        waiting: deque[_Asked] = deque()
        try:
            while several := list(islice(rows, TOGETHER)):
                waiting.append(self._asked(several))
                while len(waiting) >= max(1, self.means.n_ahead()):
                    yield from waiting.popleft().outcomes()
            while waiting:
                yield from waiting.popleft().outcomes()
        finally:
            for one in waiting:
                if one.answers is not None:
                    one.answers.cancel()

    def _asked(self, rows: list[Row]) -> _Asked:
        """Ask for some rows; those that cannot be read are not asked for."""
        contents: list[bytes] = []
        readable: list[Row] = []
        found: dict[int, Outcome] = {}
        for row in rows:
            try:
                contents.append(row.content())
                readable.append(row)
            except DecodeError as error:
                found[row.number] = Outcome(row, None, str(error))
        return _Asked(rows, found, readable, self.means.ask(contents) if contents else None)


def _guarded(stream: Stream, allows: Callable[[Path], bool]) -> Stream:
    """Return the same inputs, without those whose files lie where a client may not read."""

    def every() -> Iterator[Row]:
        for row in stream.every():
            if isinstance(row.source, Path) and not allows(row.source):
                yield replace(
                    row, source=None, problem="Its file does not lie below a folder of this server's batches."
                )
            else:
                yield row

    return replace(stream, every=every)
