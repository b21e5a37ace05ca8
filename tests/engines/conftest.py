"""A network and its graph that the tests of engines share."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tiny_networks import SmallNetwork
from topwork.contracts import Exportable, Graph
from topwork.engines.export import export


@pytest.fixture(scope="session")
def exportable() -> Exportable:
    torch.manual_seed(0)
    example = np.random.default_rng(0).integers(0, 256, (2, 8, 10, 3), dtype=np.uint8)
    return Exportable(SmallNetwork().eval(), example, ("features",))


@pytest.fixture(scope="session")
def graph(exportable: Exportable) -> Graph:
    return export(exportable)
