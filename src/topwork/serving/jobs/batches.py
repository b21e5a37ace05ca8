"""Batches on the server: a file of inputs, answered into another file, both below folders that the operator names.

A batch is a job whose body names files. It knows no table and no modality: what reads and writes them comes as a
function.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from topwork.serving.http.bodies import kind_of
from topwork.serving.http.refusals import Refusal
from topwork.serving.jobs.progress import Progress

if TYPE_CHECKING:
    from topwork.contracts import Answer, Json, Servable

__all__ = ["BATCH_TYPE", "MAX_ORDER_BYTES", "Ask", "BatchOrder", "Batches", "Means", "RunBatch"]

BATCH_TYPE: Final = "application/vnd.topwork.batch+json"
"""Content type, in the store, of a job that is a batch."""

MAX_ORDER_BYTES: Final = 16 * 1024
OUTPUTS: Final = (".jsonl", ".csv", ".parquet")
_REQUIRED, _KEYS = ("input", "output"), ("input", "output", "column")

Ask: TypeAlias = "Callable[[Sequence[bytes]], Future[Sequence[Answer]]]"
"""Asks the model about a few inputs, behind requests that somebody waits for; what comes raises where that ends."""


@dataclass(frozen=True, slots=True)
class Means:
    """What a batch is carried out with; all of it may be called from its thread.

    Attributes
    ----------
    ask
        Asks the model.
    n_ahead
        How many times it may well be asked before the first answer is there: as often as it can work on at once, and
        once more, which is read meanwhile.
    allows
        Whether a file that the inputs name may be read.
    tell
        Told how far it is, at its beginning and whenever rows were kept; blocks until that is kept as well.
    """

    ask: Ask
    n_ahead: Callable[[], int]
    allows: Callable[[Path], bool]
    tell: Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class BatchOrder:
    """A batch: the file or folder of its inputs, the file of its answers, and the column of the inputs or None."""

    input: Path
    output: Path
    column: str | None = None

    def to_json(self) -> bytes:
        """Return it as it is kept."""
        return json.dumps(
            {"input": str(self.input), "output": str(self.output), "column": self.column}
        ).encode()

    @staticmethod
    def from_json(content: bytes) -> BatchOrder:
        """Return what `to_json` kept."""
        found = json.loads(content)
        return BatchOrder(Path(found["input"]), Path(found["output"]), found["column"])


class RunBatch(Protocol):
    """Carries a batch out; called in a thread of its own."""

    def __call__(
        self, order: BatchOrder, servable: Servable, means: Means, *, again: bool
    ) -> Mapping[str, Json]:
        """Return what it came to.

        Parameters
        ----------
        again
            Whether it was begun before, so that it goes on and may be done already.

        Raises
        ------
        TopworkError
            It cannot be carried out; what is done is kept for when it is asked for again.
        """
        ...


class Batches:
    """What batches there may be.

    Parameters
    ----------
    folders
        Files must lie in or below these; links count as what they lead to.
    run
        Carries one out.
    """

    def __init__(self, folders: Sequence[Path], run: RunBatch) -> None:
        self._folders = tuple(folder.resolve() for folder in folders)
        self.run = run
        longest_first = sorted(map(str, self._folders), key=len, reverse=True)
        among = "|".join(map(re.escape, longest_first))
        self._above = re.compile(rf"(?<![\w/.-])(?P<folder>{among})(?:(?P<inside>[/\\])|(?![\w-]))")

    def allows(self, path: Path) -> bool:
        """Return whether a file lies where files may lie."""
        try:
            real = path.resolve()
        except (OSError, RuntimeError, ValueError):  # a link that leads to itself, or no path at all
            return False
        return any(real.is_relative_to(folder) for folder in self._folders)

    def shown(self, text: str) -> str:
        """Return a text that names files without what lies above the folders that the operator has named.

        Below the first folder a file is called as a client may call it, from there on; below another one by that
        folder's own name as well.
        """
        return self._above.sub(self._call, text)

    def _call(self, found: re.Match[str]) -> str:
        folder = Path(found["folder"])
        is_first = folder == self._folders[0]
        if found["inside"]:
            return "" if is_first else f"{folder.name}/"
        return "." if is_first else folder.name

    def order(self, body: bytes) -> BatchOrder:
        """Read what a client asks for; looks at the disk.

        Raises
        ------
        Refusal
            400 or 422, it is no order; 403, a file lies elsewhere; 404, there is no input; 409, the output is there.
        """
        found = _parsed(body)
        given, out = (self._inside(found[name], name) for name in _REQUIRED)
        try:
            is_there = given.exists()
        except OSError:  # no file can have such a name
            is_there = False
        if not is_there:
            raise Refusal("not_found", f"There is no {found['input']!r}.", next_step="Look at the name.")
        if out.suffix.lower() not in OUTPUTS or not out.parent.is_dir():
            raise Refusal(
                "forbidden",
                f"{found['output']!r} is no file that could be written: its folder must be there, and its name end in "
                f"{', '.join(OUTPUTS)}.",
                next_step="Choose another output.",
            )
        if out.exists():
            raise Refusal(
                "conflict", f"{found['output']!r} is there already.", next_step="Choose another output."
            )
        return BatchOrder(given, out, found.get("column"))

    def _inside(self, word: str, what: str) -> Path:
        """Return a path without links; one that is relative is meant from the first folder."""
        path = self._folders[0] / word
        if "\0" in word or not self.allows(path):
            raise Refusal(
                "forbidden",
                f"The {what} {word[:200]!r} does not lie below a folder that this server takes batches from.",
                next_step="Ask the operator of this server which folders these are.",
            )
        return path.resolve()


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(
            "bad_request", "The request body is not JSON.", next_step='Send {"input": "…", "output": "…"}.'
        ) from None
    step = 'Send {"input": "in.jsonl", "output": "out.jsonl"}, and "column" where that is not clear.'
    if not isinstance(found, dict) or not set(_REQUIRED) <= set(found) <= set(_KEYS):
        got = f"the keys {sorted(found)[:8]}" if isinstance(found, dict) else kind_of(found)
        raise Refusal(
            "bad_input", f"Expected an object with input and output, got {got}."[:500], next_step=step
        )
    for name, value in found.items():
        if not isinstance(value, str) or not value:
            raise Refusal("bad_input", f"{name} must be a text that is not empty.", next_step=step)
    return found
