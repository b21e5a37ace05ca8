"""Servables out of nothing whose inputs are computed in batches."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field

from fake_servable import FakeServable
from topwork.contracts import Answer, Intake
from topwork.errors import DecodeError

__all__ = ["FakeBatches", "Nobody", "Speller", "opened"]


class Nobody:
    """An intake to which nobody comes, and from which nobody goes."""

    def admit(self) -> Sequence[bytes]:
        return ()

    def gone(self) -> Sequence[int]:
        return ()


def opened() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


@dataclass
class FakeBatches(FakeServable):
    """Answers by length, in batches; what stands before a colon is the key of an input.

    While ``gate`` is closed the engine is busy; ``entered`` counts the batches that came to it.
    """

    gate: threading.Event = field(default_factory=opened)
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    batches: list[list[bytes]] = field(default_factory=list)
    prepared: list[bytes] = field(default_factory=list)
    rehearsed: list[str] = field(default_factory=list)

    def samples(self) -> Sequence[bytes]:
        return [b"sample"]

    def rehearse(self) -> None:
        self.rehearsed.append(threading.current_thread().name)

    def prepare(self, encoded: bytes) -> bytes:
        self.prepared.append(encoded)
        if encoded.startswith(b"bad"):
            raise DecodeError("It is no photo: it begins with 'bad'.", next_step="Send a photo.")
        if encoded.startswith(b"trap"):
            raise ValueError("secret detail of a decoder")
        return encoded

    def key(self, prepared: bytes) -> Hashable:
        return prepared.rpartition(b":")[0]

    def compute(self, prepared: Sequence[bytes], intake: Intake) -> Iterator[Answer]:
        self.batches.append(list(prepared))
        self.entered.release()
        assert self.gate.wait(20), "the test never opened the gate"
        for index, given in enumerate(prepared):
            yield from self._answers(index, given)

    def finish(self, answer: Answer) -> Answer:
        return answer


@dataclass
class Speller(FakeBatches):
    """Spells inputs, a letter of each at a step, and takes newcomers in between; a step waits for ``allowed``."""

    allowed: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    steps: list[list[bytes]] = field(default_factory=list)

    def compute(self, prepared: Sequence[bytes], intake: Intake) -> Iterator[Answer]:
        words, place = list(prepared), [0] * len(prepared)
        inside = set(range(len(words)))
        while inside:
            self.steps.append([words[number] for number in sorted(inside)])
            self.entered.release()
            assert self.allowed.acquire(timeout=20), "the test never allowed another step"
            for number in sorted(inside):
                yield self._letter(number, words[number], place[number])
                place[number] += 1
            inside = {number for number in inside if place[number] < len(words[number])}
            inside.difference_update(intake.gone())
            newcomers = intake.admit()
            inside.update(range(len(words), len(words) + len(newcomers)))
            words += newcomers
            place += [0] * len(newcomers)

    def _letter(self, number: int, word: bytes, place: int) -> Answer:
        return Answer(number, {"text": word[place : place + 1].decode()}, last=place + 1 == len(word))
