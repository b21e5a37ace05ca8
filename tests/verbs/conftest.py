"""What tests of the verbs share."""

from __future__ import annotations

import pytest

from tiny_text_trunk import write_tiny_text_trunk


@pytest.fixture(scope="session")
def trunk(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a text encoder of a few layers; a file whose tests need another trunk has a fixture of its own."""
    return str(write_tiny_text_trunk(tmp_path_factory.mktemp("trunk") / "tiny-bert"))
