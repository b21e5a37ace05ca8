"""A batch that a server was asked for: read and written as `batching` does, answered by the model that is served.

It knows no HTTP and no gate: how the model is asked comes as a function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from topwork.contracts import Json, Modality, Servable
from topwork.data.streams import Row, Stream
from topwork.errors import DecodeError, UsageError
from topwork.inputs import modalities
from topwork.progress import Quiet
from topwork.serving.batches import Ask, BatchOrder
from topwork.steps.answering import Outcome
from topwork.steps.options import Surroundings
from topwork.verbs.batching import BatchOptions, batch_with

__all__ = ["run_served"]

TOGETHER = 16


def run_served(
    order: BatchOrder, servable: Servable, *, ask: Ask, allows: Callable[[Path], bool], again: bool
) -> Mapping[str, Json]:
    """Carry a batch out; as of `topwork.serving.batches.RunBatch`."""
    found = batch_with(
        ServedAnswerer(servable, ask),
        order.input,
        order.output,
        options=BatchOptions(column=order.column, resume=True),
        around=Surroundings(progress=Quiet()),
        within=lambda stream: _guarded(stream, allows),
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
class ServedAnswerer:
    """A model that is served in this process."""

    servable: Servable
    ask: Ask

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
        """Yield what comes of each row, in their order."""
        while several := list(islice(rows, TOGETHER)):
            yield from self._answered(several)

    def _answered(self, rows: list[Row]) -> Iterator[Outcome]:
        readable: list[tuple[Row, bytes]] = []
        found: dict[int, Outcome] = {}
        for row in rows:
            try:
                readable.append((row, row.content()))
            except DecodeError as error:
                found[row.number] = Outcome(row, None, str(error))
        for answer in self.ask([content for _, content in readable]) if readable else ():
            row, _ = readable[answer.index]
            found[row.number] = Outcome(row, answer.value, answer.problem or "")
        yield from (found[row.number] for row in rows)


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
