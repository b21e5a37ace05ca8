import numpy as np

from topwork.contracts import by_shape, padded


def test_tensors_of_one_shape_are_stacked_as_they_are() -> None:
    pictures = [np.full((2, 3), value, np.uint8) for value in (7, 8)]
    assert padded(pictures).tolist() == np.stack(pictures).tolist()
    assert padded(pictures).dtype == np.uint8


def test_shorter_tensors_are_filled_up_with_zeros_at_the_end_of_every_axis() -> None:
    batch = padded([np.ones((1, 3), np.int32), np.full((2, 2), 5, np.int32)])
    assert batch.tolist() == [[[1, 1, 1], [0, 0, 0]], [[5, 5, 0], [5, 5, 0]]]
    assert batch.dtype == np.int32


def test_batches_by_shape_hold_every_tensor_once() -> None:
    tensors = [np.full(length, place) for place, length in enumerate((3, 1, 3, 2, 1))]
    found = [(places, batch.shape) for places, batch in by_shape(tensors)]
    assert found == [([1, 4], (2, 1)), ([3], (1, 2)), ([0, 2], (2, 3))]
    for places, batch in by_shape(tensors):
        assert (batch == np.array(places)[:, None]).all()
    assert list(by_shape([])) == []
