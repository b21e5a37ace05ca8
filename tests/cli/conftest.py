"""A desk of one's own for processes, and commands in this process where that shows the same sooner."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path

import pytest

from commands import Desk, Told
from topwork import Model, Surroundings
from topwork.cli import main


@pytest.fixture
def desk(tmp_path: Path, around: Surroundings) -> Desk:
    return Desk(tmp_path, around.cache_dir)


@pytest.fixture
def topwork(
    tmp_path: Path,
    around: Surroundings,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., Told]]:
    """Give a command in this process: standing in an empty folder, the session's cache in the environment."""
    monkeypatch.setenv("TOPWORK_CACHE", str(around.cache_dir))

    def give(*words: object) -> Told:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        said = capsys.readouterr()
        return Told(int(ended.value.code or 0), said.out, said.err)

    with chdir(tmp_path):
        yield give


@pytest.fixture
def bundle(fitted: Model) -> Path:
    return fitted.path
