"""A model for worker processes that can be told to misbehave, and what a test needs to keep some of them."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fake_servable import LABELS, PICTURE, TEXT, FakeServable
from topwork.contracts import Answer, Intake, Profile, Reference
from topwork.errors import BundleError, ProofError
from topwork.serving.batching.gate import Load
from topwork.serving.limits import Limits
from topwork.serving.replicas.autoscaling import Policy
from topwork.serving.replicas.fleet import Recipe
from topwork.serving.replicas.frames import Opened
from topwork.serving.replicas.manned import Replicas
from topwork.serving.replicas.staffing import Post
from topwork.serving.replicas.vigilance import Vigilance

__all__ = ["QUICK", "REFERENCE", "Unruly", "UnrulyBatches", "eventually", "recipe", "staffed", "unruly"]

QUICK = Vigilance(beat_s=0.1, silent_s=3.0, overdue_s=0.3, backoff_s=0.1, longest_backoff_s=0.4)


@dataclass
class Unruly(FakeServable):
    """Does what an input says, which is a word and perhaps something behind a colon."""

    def _answers(self, index: int, given: bytes) -> Iterator[Answer]:
        word, _, rest = given.decode("latin-1").partition(":")
        if word in ACTS:
            ACTS[word](rest)
        if word == "begin-and-die":
            yield Answer(index, {"label": "a"}, last=False)
            time.sleep(0.2)
            _signal("SIGKILL")
        elif word == "many":
            for number in range(int(rest)):
                yield Answer(index, {"label": str(number)}, last=False)
        elif word == "drip":
            for _ in range(int(rest)):
                time.sleep(0.2)
                yield Answer(index, {"label": "a"}, last=False)
        if word == "pid":
            yield Answer(index, {"label": str(os.getpid())})
        else:
            yield from super()._answers(index, given)


REFERENCE = Reference(
    {
        "": Profile(
            60, {"label": dict.fromkeys(LABELS, 10)}, {"n_bytes": np.linspace(1, 6, 101, dtype=np.float32)}
        )
    },
    np.array([np.linspace(0, 1, 101), np.linspace(-0.1, 0.3, 101)], np.float32),
    (60, 50),
    0.01,
)


@dataclass
class UnrulyBatches(Unruly):
    """The same in batches; ``size`` is answered with how many inputs are in its batch, and inputs have traits."""

    sample_s: float = 0.0

    @property
    def reference(self) -> Reference:
        return REFERENCE

    def samples(self) -> Sequence[bytes]:
        return [b"sample"]

    def rehearse(self) -> None:
        time.sleep(self.sample_s)

    def prepare(self, encoded: bytes) -> bytes:
        return encoded

    def key(self, prepared: bytes) -> Hashable:
        return None

    def compute(self, prepared: Sequence[bytes], intake: Intake) -> Iterator[Answer]:
        if b"sample" in prepared:
            time.sleep(self.sample_s)
        for index, given in enumerate(prepared):
            if given == b"size":
                yield Answer(index, {"label": str(len(prepared))}, traits=(0.5, 0.25))
            else:
                yield from self._answers(index, given)

    def finish(self, answer: Answer) -> Answer:
        return answer


def _signal(name: str) -> None:
    os.kill(os.getpid(), getattr(signal, name))


def _log(message: str) -> None:
    try:
        raise ValueError("inside")
    except ValueError:
        logging.getLogger("topwork.unruly").warning(message, exc_info=True)


def _stop() -> None:
    _signal("SIGSTOP")
    time.sleep(0.5)  # it reaches one thread after the other


def _spin(seconds: str) -> None:
    until = time.monotonic() + float(seconds)
    while time.monotonic() < until:
        pass


def _garble(_: str) -> None:
    os.write(int(sys.argv[1]), b"nonsense" * 1000)
    time.sleep(20)


ACTS: dict[str, Callable[[str], object]] = {
    "log": _log,
    "once": lambda path: _signal("SIGKILL") if _first_time(path) else None,
    "hang-once": lambda path: _stop() if _first_time(path) else None,
    "die": lambda _: _signal("SIGKILL"),
    "exit": lambda status: os._exit(int(status)),
    "garble": _garble,
    "sleep": lambda seconds: time.sleep(float(seconds)),
    "spin": _spin,
    "touch": lambda path: Path(path).touch(),
}
"""What an input may have the process do before it is answered."""


def _first_time(path: str) -> bool:
    try:
        Path(path).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def unruly(arguments: bytes) -> Opened:
    """Make the model in a worker process; what is asked of its start stands in the arguments."""
    wanted: dict[str, Any] = json.loads(arguments)
    if (path := wanted.get("crash_while")) and Path(path).exists():
        os._exit(3)
    if (problem := wanted.get("refuse")) is not None:
        raise BundleError(problem, next_step="Fit it again.")
    if wanted.get("bug"):
        raise ValueError("secret detail of the start")
    if (name_file := wanted.get("name_file")) is not None:
        wanted["name"] = Path(name_file).read_text(encoding="utf-8")
    time.sleep(wanted.get("start_s", 0))

    def prove() -> None:
        if wanted.get("unproven"):
            raise ProofError("Output 3 differs by 0.2.", next_step="Fit it anew.")

    wire = TEXT if wanted.get("texts") else PICTURE
    model = Unruly(wanted.get("name", "chess"), wire, prove)
    if wanted.get("batches"):
        model = UnrulyBatches(model.name, wire, prove, sample_s=wanted.get("sample_s", 0.0))
    return Opened(model, wanted.get("n_at_once", 2))


def recipe(**wanted: Any) -> Recipe:
    """Return how a worker process gets the model; its batches are as large as is ``wanted`` as ``max_batch``."""
    limits = Limits(max_batch=wanted.pop("max_batch", None))
    return Recipe("unruly:unruly", json.dumps(wanted).encode(), limits=limits)


@contextmanager
def staffed(
    wanted: dict[str, Any] | None = None,
    *,
    vigilance: Vigilance = QUICK,
    deadline_s: float = 30.0,
    rooms: list[int] | None = None,
    **policy: Any,
) -> Iterator[Replicas]:
    """Keep a proven model in worker processes, which are gone afterwards."""
    model = Replicas(recipe(**(wanted or {})), Policy(**{"max_replicas": 1, **policy}), vigilance=vigilance)
    post = Post(Load(), deadline_s, (rooms if rooms is not None else []).append)
    model.employ(post)
    try:
        model.prove()
        yield model
    finally:
        model.dismiss(post)


def eventually(is_so: Callable[[], object], timeout_s: float = 30.0) -> None:
    """Wait until something is so."""
    until = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < until, "it never came to be so"
        time.sleep(0.01)
