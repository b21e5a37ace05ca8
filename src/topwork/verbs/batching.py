"""`batch`: many inputs in, a file of answers out; each row once, whatever happens meanwhile.

Answers come from a bundle here or from a server. What is kept of unfinished work is `steps.journal`'s.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from topwork.bundle.compiling import open_model
from topwork.contracts import Json
from topwork.data.streams import Stream, open_stream
from topwork.errors import UsageError
from topwork.steps.answering import Answerer, LocalAnswerer, Outcome
from topwork.steps.journal import Journal, begin, is_begun, resume
from topwork.steps.options import Surroundings
from topwork.steps.remote import Patience, is_url, open_remote
from topwork.steps.results import require_writable, write_results
from topwork.storage import explain

__all__ = [
    "BatchOptions",
    "BatchOutcome",
    "Oversight",
    "Standing",
    "Trial",
    "batch",
    "batch_with",
    "failed_beside",
    "rehearse",
]

MOST_TOGETHER: Final = 1000
MOST_BETWEEN_S: Final = 1.0
"""Rows are kept for good after so many, or so long; what is lost with a process is worked on again."""

N_WARM, N_TRIED = 16, 64


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """What a batch reads and keeps, and how it asks.

    Attributes
    ----------
    column
        Column of a table that holds or names the inputs; None to find it.
    only
        Targets of a bundle to answer for; empty for all.
    failed
        Where rows without an answer go, as JSON lines; by default beside the results.
    resume
        Go on with a batch that ended before it was done; begin where there is none.
    key
        API key of a server.
    patience
        How much is asked of a server at once, and how often.
    """

    column: str | None = None
    only: tuple[str, ...] = ()
    failed: Path | None = None
    resume: bool = False
    key: str | None = None
    patience: Patience | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a batch is: its rows, those that are kept, and those of them without an answer."""

    n_rows: int
    n_done: int
    n_failed: int


@dataclass(frozen=True, slots=True)
class Oversight:
    """What somebody who has a batch done says and hears of it.

    Attributes
    ----------
    within
        May take inputs away.
    told
        Told how far it is, at its beginning and whenever rows were kept.
    """

    within: Callable[[Stream], Stream] = lambda stream: stream
    told: Callable[[Standing], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """What a batch came to.

    Attributes
    ----------
    out, failed
        The file of answers, and that of rows without one; the latter None where all have one.
    n_rows, n_failed
        Rows in all, and those without an answer.
    n_resumed
        Rows that were done before this call.
    seconds
        How long this call took.
    was_done
        Whether the file was there already, so that nothing was done; the numbers are 0 then.
    """

    out: Path
    failed: Path | None
    n_rows: int
    n_failed: int
    n_resumed: int
    seconds: float
    was_done: bool = False


@dataclass(frozen=True, slots=True)
class Trial:
    """What a batch would be: its rows, and what a few of them took.

    Attributes
    ----------
    n_rows, n_tried, n_failed
        Rows in all, those that were tried, and those of these that have no answer.
    seconds_per_row
        Measured on those that were tried, after the first few where there are more; 0 without any.
    column
        Column that holds or names the inputs; empty where there are no columns.
    example
        The first answer, as a row of the results; None where none of them has one.
    """

    n_rows: int
    n_tried: int
    n_failed: int
    seconds_per_row: float
    column: str
    out: Path
    failed: Path
    example: dict[str, Any] | None

    @property
    def seconds(self) -> float:
        """How long all rows would take."""
        return self.n_rows * self.seconds_per_row


def batch(
    source: str | Path,
    inputs: Path,
    out: Path,
    *,
    options: BatchOptions | None = None,
    around: Surroundings | None = None,
) -> BatchOutcome:
    """Answer every input of a folder, a table or a list, and write the answers as one file.

    Parameters
    ----------
    source
        A bundle's file, or the address of a server.
    inputs
        As of `topwork.data.streams.open_stream`.
    out
        ``.jsonl``, ``.csv`` or ``.parquet``. It appears when all is done; until then what is done stands beside it.

    Raises
    ------
    UsageError
        The file is there already, there is unfinished work and it was not to be gone on with, or that was other work.
    DataError
        The inputs cannot be read at all.
    TopworkError
        The bundle or the server cannot be used, or there is no room; what is done is kept.
    """
    options, around = options or BatchOptions(), around or Surroundings()
    if (done := _done_before(out, options)) is not None:
        return done
    return batch_with(_answerer(source, options, around), inputs, out, options=options, around=around)


def batch_with(
    answerer: Answerer,
    inputs: Path,
    out: Path,
    *,
    options: BatchOptions,
    around: Surroundings,
    oversight: Oversight | None = None,
) -> BatchOutcome:
    """Do what `batch` does with what answers, for somebody who looks at it."""
    if (done := _done_before(out, options)) is not None:
        return done
    began_s, failed = around.clock(), options.failed or failed_beside(out)
    seen = oversight or Oversight()
    stream = seen.within(open_stream(inputs, answerer.modality, options.column))
    order = _order(answerer, stream, out)
    journal = (resume if options.resume and is_begun(out) else begin)(out, order)
    with closing(journal):
        n_resumed = journal.mark.n_rows
        if not journal.mark.over:
            _work(journal, answerer, stream, around=around, told=seen.told)
        journal.end(lambda rows: write_results(rows, out), out, failed)
    mark = journal.mark
    return BatchOutcome(
        out,
        failed if mark.n_failed else None,
        mark.n_rows,
        mark.n_failed,
        n_resumed,
        around.clock() - began_s,
    )


def _done_before(out: Path, options: BatchOptions) -> BatchOutcome | None:
    """Refuse what cannot be written; return what is there already where that was to be gone on with."""
    require_writable(out)
    if not out.exists() or is_begun(out):
        return None
    if not options.resume:
        raise UsageError(
            f"{out} is there already.", next_step="Choose another file with --out, or remove that one."
        )
    failed = options.failed or failed_beside(out)
    return BatchOutcome(out, failed if failed.exists() else None, 0, 0, 0, 0.0, was_done=True)


def rehearse(
    source: str | Path,
    inputs: Path,
    out: Path,
    *,
    options: BatchOptions | None = None,
    around: Surroundings | None = None,
) -> Trial:
    """Tell what `batch` would do, after a try of a few rows; nothing is written. Parameters and errors are its own."""
    options, around = options or BatchOptions(), around or Surroundings()
    require_writable(out)
    answerer = _answerer(source, options, around)
    stream = open_stream(inputs, answerer.modality, options.column)
    n_rows = stream.count()
    n_warm = N_WARM if n_rows > 2 * N_WARM else 0
    warm = _some(answerer, stream, 0, n_warm)
    began_s = around.clock()
    found = _some(answerer, stream, n_warm, N_TRIED)
    took_s = around.clock() - began_s
    tried = [*warm, *found]
    example = next((_good(one) for one in tried if one.answer is not None), None)
    return Trial(
        n_rows,
        len(tried),
        sum(one.answer is None for one in tried),
        took_s / len(found) if found else 0.0,
        stream.column,
        out,
        options.failed or failed_beside(out),
        example,
    )


def failed_beside(out: Path) -> Path:
    """Return where rows without an answer go where nobody says it: ``answers.failed.jsonl`` of ``answers.csv``."""
    return out.with_name(f"{out.stem}.failed.jsonl")


def _some(answerer: Answerer, stream: Stream, n_skipped: int, most: int) -> list[Outcome]:
    return list(answerer.answers(islice(stream.rows(n_skipped), most))) if most else []


def _answerer(source: str | Path, options: BatchOptions, around: Surroundings) -> Answerer:
    if isinstance(source, str) and is_url(source):
        if options.only:
            raise UsageError(
                "A server answers for the targets that it was started with.", next_step="Leave out --only."
            )
        return open_remote(source, key=options.key, patience=options.patience)
    path = Path(source)
    model = open_model(path, engine=around.engine, only=options.only)
    model.prove()
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise explain(error, path, doing="read") from error
    return LocalAnswerer(model, digest)


def _order(answerer: Answerer, stream: Stream, out: Path) -> dict[str, Json]:
    """Return what must be the same for work to go on."""
    return {
        **answerer.mark,
        "input": str(stream.path.resolve()),
        "input_mark": stream.mark,
        "column": stream.column,
        "format": out.suffix.lower(),
    }


def _work(
    journal: Journal,
    answerer: Answerer,
    stream: Stream,
    *,
    around: Surroundings,
    told: Callable[[Standing], None],
) -> None:
    n_rows, n_done = stream.count(), journal.mark.n_rows

    def tell() -> None:
        told(Standing(n_rows, journal.mark.n_rows, journal.mark.n_failed))

    tell()
    kept_s = around.clock()
    outcomes = answerer.answers(stream.rows(n_done))
    with around.progress.track("batch", n_rows - n_done, "rows") as advance:
        try:
            for one in outcomes:
                _add(journal, one)
                advance(1)
                if journal.n_waiting >= MOST_TOGETHER or around.clock() - kept_s >= MOST_BETWEEN_S:
                    journal.commit()
                    tell()
                    kept_s = around.clock()
            journal.commit(over=True)
            tell()
        except BaseException:
            _tell_what_is_kept(journal, n_rows, around.progress.say)
            raise


def _tell_what_is_kept(journal: Journal, n_rows: int, say: Callable[[str], None]) -> None:
    """Keep what is done, if that can be, and say how to go on."""
    try:
        journal.commit()
    finally:
        say(f"{journal.mark.n_rows:,} of {n_rows:,} rows are kept; the same command with --resume goes on.")


def _add(journal: Journal, one: Outcome) -> None:
    if one.answer is None:
        journal.add(_line(_bad(one)), failed=True)
    else:
        journal.add(_line(_good(one)))


def _good(one: Outcome) -> dict[str, Any]:
    return {"row": one.row.number, "input": one.row.name, "answer": one.answer}


def _bad(one: Outcome) -> dict[str, Any]:
    reason = " ".join(one.problem.split())
    return {"row": one.row.number, "place": one.row.place, "input": one.row.name, "reason": reason}


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + b"\n"
