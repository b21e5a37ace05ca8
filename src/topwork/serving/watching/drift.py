"""Watching what a model is asked and what it answers: windows of answers, each held against those of the fit.

It knows no task and no HTTP. Every so many answers a window is full, is tested once, and the next begins; what is kept
are numbers and counts, never an input. Many tests are made of a window, and the chance that any of them is false is
`LEVEL` for the window: of a hundred windows without drift, about one is told to have drifted. This holds for inputs
that are independent of each other; the same photo sent a hundred times is a drift, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

import numpy as np

from topwork.contracts import Answer, Array, Reference, Servable
from topwork.evaluation.drift import Shift, holm, shift_of_labels, shift_of_shares, shift_of_values
from topwork.serving.wrapping.around import reference_of
from topwork.training.profile import labels_of, numbers_of

__all__ = ["LEVEL", "Finding", "Verdict", "Watch", "Window", "trait_names", "watch_of", "word_name"]

LEVEL: Final = 0.01

Word = tuple[str, str]
"""A target, empty where there is one alone, and a word of its answer."""


@dataclass(slots=True)
class Window:
    """Answers that are looked at together.

    Attributes
    ----------
    n
        How many answers.
    n_strange
        How many inputs were called out of domain.
    traits
        Of each input.
    labels, numbers
        What was answered, by target and word.
    """

    n: int = 0
    n_strange: int = 0
    traits: list[tuple[float, ...]] = field(default_factory=list)
    labels: dict[Word, Counter[str]] = field(default_factory=dict)
    numbers: dict[Word, list[float]] = field(default_factory=dict)

    def add(self, answer: Answer, reference: Reference) -> None:
        """Count one answer."""
        value = answer.value or {}
        self.n += 1
        self.n_strange += value.get("in_domain") is False
        if len(answer.traits) == len(reference.traits):
            self.traits.append(answer.traits)
        for target in reference.profiles:
            part = value.get(target) if target else value
            if isinstance(part, Mapping):
                self._count(target, part)

    def _count(self, target: str, part: Mapping[str, object]) -> None:
        for word, labels in labels_of(part).items():
            self.labels.setdefault((target, word), Counter()).update(labels)
        for word, number in numbers_of(part).items():
            self.numbers.setdefault((target, word), []).append(number)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tested: what, how far it moved, and whether that is more than chance."""

    what: str
    shift: Shift
    is_significant: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """A full window and what its tests say."""

    window: Window
    tests: tuple[Finding, ...]

    @property
    def has_drifted(self) -> bool:
        """Whether any test is significant."""
        return any(one.is_significant for one in self.tests)


class Watch:
    """Sees the answers of one model; safe from several threads.

    Parameters
    ----------
    reference
        What answers and inputs were like at the time of the fit; None where nothing is known of it.
    size
        Answers in a window.
    parts
        What sees the parts that answers were joined of, by their names.

    Attributes
    ----------
    size
        Answers in a window.
    reference, parts
        As given.
    """

    def __init__(
        self, reference: Reference | None, size: int, parts: Mapping[str, Watch] | None = None
    ) -> None:
        self.reference, self.size, self.parts = reference, size, parts or {}
        self._lock = Lock()
        self._window = Window()
        self._last: Verdict | None = None
        self.n_answers = self.n_strange = self.n_windows = self.n_drifted = 0
        self.given: Counter[tuple[str, str]] = Counter()

    @property
    def last(self) -> Verdict | None:
        """The last full window."""
        return self._last

    @property
    def current(self) -> Window:
        """The window that is filling; it may change while it is read, but for its counts."""
        return self._window

    def saw(self, answers: Iterable[Answer]) -> None:
        """Count those of some answers that are complete."""
        for answer in answers:
            if answer.last and answer.value is not None:
                self.add(answer)
                for name, part in (answer.parts or {}).items():
                    if name in self.parts:
                        self.parts[name].saw((part,))

    def add(self, answer: Answer) -> None:
        """Count one answer; the one that fills a window has it tested."""
        with self._lock:
            self.n_answers += 1
            if self.reference is None:
                return
            self.n_strange += (answer.value or {}).get("in_domain") is False
            self._window.add(answer, self.reference)
            self._note_labels(answer, self.reference)
            if self._window.n >= self.size:
                self._finish(self.reference)

    def _note_labels(self, answer: Answer, reference: Reference) -> None:
        value = answer.value or {}
        for target, profile in reference.profiles.items():
            part = value.get(target) if target else value
            if isinstance(part, Mapping):
                for word, labels in labels_of(part).items():
                    known = profile.counts.get(word, {})
                    self.given.update((target, one) for one in labels if one in known)

    def _finish(self, reference: Reference) -> None:
        full, self._window = self._window, Window()
        self._last = Verdict(full, _tests(full, reference))
        self.n_windows += 1
        self.n_drifted += self._last.has_drifted


def watch_of(servable: Servable, size: int) -> Watch:
    """Return what sees the answers of a servable, and those of its parts where it has some."""
    parts: Mapping[str, Reference | None] = getattr(servable, "references", {})
    watches = {name: Watch(reference, size) for name, reference in parts.items()}
    return Watch(reference_of(servable), size, watches)


def trait_names(n: int) -> list[str]:
    """Return what the traits of an input are called: coordinates of its features, and last its distance."""
    return [f"input: feature {number}" for number in range(1, n)] + ["input: distance"] if n else []


def word_name(target: str, word: str) -> str:
    """Return what a word of an answer is called."""
    return f"answer: {target}.{word}" if target else f"answer: {word}"


def _tests(window: Window, reference: Reference) -> tuple[Finding, ...]:
    found = dict(_shifts(window, reference))
    significant = holm([one.p_value for one in found.values()], LEVEL)
    return tuple(
        Finding(what, shift, is_so) for (what, shift), is_so in zip(found.items(), significant, strict=True)
    )


def _shifts(window: Window, reference: Reference) -> Iterator[tuple[str, Shift]]:
    traits: Array = np.array(window.traits)
    if len(traits):
        names = trait_names(len(reference.traits))
        known = zip(names, reference.traits, reference.n_rows, traits.T, strict=True)
        for name, percentiles, n_then, column in known:
            yield name, shift_of_values(percentiles, n_then, column)
    if reference.out_of_domain is not None and reference.n_rows:
        yield "input: out of domain", _of_strange(window, reference.out_of_domain, reference.n_rows[-1])
    for target, profile in reference.profiles.items():
        for word, counts in profile.counts.items():
            if (now := window.labels.get((target, word))) is not None:
                yield word_name(target, word), _of_labels(word, counts, now, profile.n, window.n)
        for word, percentiles in profile.spreads.items():
            if numbers := window.numbers.get((target, word)):
                shift = shift_of_values(percentiles, profile.n, np.array(numbers))
                yield word_name(target, word), shift


def _of_strange(window: Window, share: float, n_then: int) -> Shift:
    """Compare the share of inputs out of the domain with that of the rows by which its bound was chosen."""
    then = round(share * n_then)
    now = {"strange": window.n_strange, "like": window.n - window.n_strange}
    return shift_of_shares({"strange": then, "like": n_then - then}, now)


def _of_labels(word: str, then: Mapping[str, int], now: Mapping[str, int], n_then: int, n_now: int) -> Shift:
    """Compare shares of labels, of which an answer has one, or under the word ``labels`` any number."""
    return shift_of_labels(then, n_then, now, n_now) if word == "labels" else shift_of_shares(then, now)
