"""Disks that are small, full or read-only, where this process may mount one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from commands import Desk
from faulty_disks import mount, unmount
from topwork import Surroundings


@pytest.fixture
def desk(tmp_path: Path, around: Surroundings) -> Desk:
    return Desk(tmp_path, around.cache_dir)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Give a disk in memory of so many bytes (``200k``); the test is skipped where none can be mounted."""
    mounted: list[Path] = []

    def make(size: str) -> Path:
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir()
        mount(place, size)
        mounted.append(place)
        return place

    yield make
    for place in mounted:
        unmount(place)
