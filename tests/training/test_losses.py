"""The loss is the mean over the rows that have a truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from topwork.training.losses import loss_of

SCORES = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0], [5.0, -5.0, 0.0], [0.0, 0.0, 3.0]])
TRUTH = torch.tensor([0, 2, -1, 2])


def by_hand(rows: list[int], smoothing: float) -> float:
    """Cross-entropy with a target that is mostly at the truth and a little everywhere, written out."""
    total = 0.0
    for row in rows:
        scores = SCORES[row].double().numpy()
        log_p = scores - np.log(np.exp(scores).sum())
        target = np.full(3, smoothing / 3)
        target[int(TRUTH[row])] += 1 - smoothing
        total -= float((target * log_p).sum())
    return total / len(rows)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_the_loss_is_that_of_the_formula(smoothing: float) -> None:
    found = float(loss_of("softmax", SCORES, TRUTH, smoothing))
    assert found == pytest.approx(by_hand([0, 1, 3], smoothing), rel=1e-6)


def test_a_row_without_a_truth_has_no_gradient() -> None:
    scores = SCORES.clone().requires_grad_()
    loss_of("softmax", scores, TRUTH, 0.1).backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None
    assert (scores.grad[2] == 0).all()
    assert (scores.grad[[0, 1, 3]] != 0).any(dim=1).all()


def test_without_any_truth_it_is_nothing_and_pulls_nowhere() -> None:
    scores = SCORES.clone().requires_grad_()
    loss = loss_of("softmax", scores, torch.full((4,), -1), 0.1)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert scores.grad is not None
    assert (scores.grad == 0).all()
