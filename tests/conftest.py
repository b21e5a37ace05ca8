"""What several rooms' tests share: a tiny trunk, a few photos, and a model fitted on them."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

import cores  # noqa: F401 - before all that computes
from quick import fit_probe as fit
from tiny_trunk import write_tiny_trunk
from topwork import Model, Surroundings
from topwork.engines.memory import rest_while_waiting, sum_in_order
from topwork.progress import Quiet
from toy_photos import write_photos

rest_while_waiting()  # as the command does; torch reads it when it is first imported
sum_in_order()


def pytest_collection_finish() -> None:
    """Leave the thousands of tests out of every collection of garbage."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("torch sees no GPU")


@pytest.fixture(scope="session")
def tiny_trunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_trunk(tmp_path_factory.mktemp("trunk") / "tiny")


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("data") / "colours")


@pytest.fixture(scope="session")
def around(tmp_path_factory: pytest.TempPathFactory) -> Surroundings:
    return Surroundings(cache_dir=tmp_path_factory.mktemp("cache"), progress=Quiet())


@pytest.fixture(scope="session")
def fitted(
    photos: Path, tiny_trunk: Path, around: Surroundings, tmp_path_factory: pytest.TempPathFactory
) -> Model:
    """Fit once for all tests that only look."""
    return fit(
        photos, tmp_path_factory.mktemp("fit") / "colours.topwork", trunk=str(tiny_trunk), around=around
    )
