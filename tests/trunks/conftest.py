"""What several tests of trunks share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tiny_trunk import write_tiny_trunk


class Told:
    """A progress that keeps what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    @contextmanager
    def track(self, title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        yield lambda done: None


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder trunk that no test may change."""
    return write_tiny_trunk(tmp_path_factory.mktemp("trunks") / "tiny")
