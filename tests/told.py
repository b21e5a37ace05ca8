"""A progress that keeps what it was told, for tests that look at the lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Told:
    """A `topwork.contracts.Progress`; ``lines`` holds what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    @contextmanager
    def track(self, title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        def done(n: int) -> None:
            """Nobody looks."""

        yield done
