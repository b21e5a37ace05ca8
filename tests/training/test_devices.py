"""On a GPU everything is computed in one order or not at all; on a processor nothing is changed."""

from __future__ import annotations

import pytest
import torch

from topwork.errors import TopworkError, UsageError
from topwork.training.devices import at_work, free_bytes, named, wait_for

ORDERED = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}


def settings() -> tuple[int, bool]:
    return torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark


def unordered() -> None:
    """Do what torch knows no fixed order for, on the processor either."""
    torch.zeros(4).put_(torch.tensor([1, 2]), torch.tensor([1.0, 2.0]))


def test_a_gpu_computes_in_one_order_and_what_was_set_comes_back() -> None:
    before = settings()
    assert before[0] == 0
    with at_work("cuda", ORDERED):
        assert settings() == (2, False)
    assert settings() == before
    with pytest.raises(ZeroDivisionError), at_work("cuda", ORDERED):
        raise ZeroDivisionError
    assert settings() == before


def test_what_a_caller_had_set_comes_back_too() -> None:
    before = settings()
    torch.set_deterministic_debug_mode("warn")
    torch.backends.cudnn.benchmark = True
    try:
        with at_work("cuda", ORDERED):
            assert settings() == (2, False)
        assert settings() == (1, True)
    finally:
        torch.set_deterministic_debug_mode(before[0])
        torch.backends.cudnn.benchmark = before[1]


def test_a_processor_is_left_as_it_is() -> None:
    before = settings()
    with at_work("cpu", {}):
        assert settings() == before
        unordered()
    assert (named("cpu"), free_bytes("cpu", 7)) == ("cpu", 7)
    wait_for(torch.device("cpu"))


@pytest.mark.parametrize("environment", [{}, {"CUBLAS_WORKSPACE_CONFIG": ":0:0"}])
def test_sums_without_an_order_are_refused(environment: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="CUBLAS_WORKSPACE_CONFIG") as caught, at_work("cuda", environment):
        raise AssertionError
    assert ":4096:8" in caught.value.next_step


def test_an_operation_without_an_order_is_an_error_of_use() -> None:
    with pytest.raises(UsageError, match="comes out the same again") as caught, at_work("cuda", ORDERED):
        unordered()
    assert "--device cpu" in caught.value.next_step


def test_full_memory_is_told() -> None:
    with pytest.raises(TopworkError, match="memory is full") as caught, at_work("cuda", ORDERED):
        raise torch.OutOfMemoryError("Tried to allocate 1 GiB.")
    assert "--device cpu" in caught.value.next_step


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="something else") as caught, at_work("cuda", ORDERED):
        raise RuntimeError("something else")
    assert not isinstance(caught.value, TopworkError)
