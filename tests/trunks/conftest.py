"""What several tests of trunks share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiny_trunk import write_tiny_trunk
from told import Told


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder trunk that no test may change."""
    return write_tiny_trunk(tmp_path_factory.mktemp("trunks") / "tiny")
