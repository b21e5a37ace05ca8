from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from topwork.trunks.torchvision_guard import (
    import_timm,
    import_torchvision,
    without_fakes_of_missing_operators,
)


class Library:
    """Stands in for ``torch.library``: it refuses fakes of operators that do not exist, as torch does."""

    def __init__(self) -> None:
        self.registered: list[str] = []
        self.register_fake: Callable[..., Any] = self._register

    def _register(self, operator: str, *args: Any, **options: Any) -> Any:
        if operator.endswith("not_there"):
            raise RuntimeError(f"operator {operator} does not exist")
        self.registered.append(operator)
        return lambda function: function


def test_timm_can_be_imported_and_builds_a_network() -> None:
    timm = import_timm()
    assert timm.is_model("resnet18")
    assert import_timm() is timm
    assert import_torchvision() is sys.modules["torchvision"]


def test_torch_is_left_as_it_was() -> None:
    import torch

    before = torch.library.register_fake
    import_timm()
    assert torch.library.register_fake is before


def test_several_threads_get_the_same_module() -> None:
    with ThreadPoolExecutor(4) as pool:
        modules = list(pool.map(lambda _: import_timm(), range(8)))
    assert len({id(module) for module in modules}) == 1


def test_the_fake_of_a_missing_operator_of_torchvision_is_passed_over() -> None:
    library = Library()

    def shape() -> None: ...

    with without_fakes_of_missing_operators(library):
        assert library.register_fake("torchvision::not_there")(shape) is shape
    assert library.registered == []


def test_every_other_fake_is_registered() -> None:
    library = Library()
    with without_fakes_of_missing_operators(library):
        library.register_fake("mine::there")
        with pytest.raises(RuntimeError, match="mine::not_there"):
            library.register_fake("mine::not_there")
    assert library.registered == ["mine::there"]


def test_the_fake_of_an_operator_of_torchvision_that_exists_is_registered() -> None:
    import torch

    library = Library()
    with torch.library._scoped_library("torchvision", "FRAGMENT") as own:
        own.define("topwork_test(Tensor x) -> Tensor")
        with without_fakes_of_missing_operators(library):
            library.register_fake("torchvision::topwork_test")
    assert library.registered == ["torchvision::topwork_test"]


def test_the_guard_comes_off_when_the_import_fails() -> None:
    library = Library()
    before = library.register_fake
    with pytest.raises(ImportError), without_fakes_of_missing_operators(library):
        raise ImportError("torchvision is broken otherwise")
    assert library.register_fake == before
