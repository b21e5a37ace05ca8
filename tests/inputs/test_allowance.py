"""Memory for decoding is bounded, for one input and for all at once, and nobody waits for ever."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pictures import file_of, photo
from topwork.contracts import BoundedDecoding, decoding_within
from topwork.errors import DecodeError
from topwork.inputs import IMAGE, TEXT, VECTOR, ImagePreprocessing
from topwork.inputs.allowance import SharedAllowance

SPEC = ImagePreprocessing(32, 32)


def test_one_input_is_never_given_more_than_its_bound() -> None:
    allowance = SharedAllowance(10, 100)
    with allowance.held(10):
        assert allowance.n_held == 10
    with pytest.raises(DecodeError, match="11 bytes of memory; at most 10") as caught, allowance.held(11):
        pass
    assert caught.value.next_step
    with pytest.raises(DecodeError, match="at most 5"), SharedAllowance(10, 5).held(6):
        pass
    assert allowance.n_held == 0


def test_what_is_held_is_given_back_after_an_error() -> None:
    allowance = SharedAllowance(10, 10)
    with pytest.raises(KeyError), allowance.held(10):
        raise KeyError
    assert allowance.n_held == 0


def test_who_finds_no_room_waits_and_the_first_is_first() -> None:
    allowance, order = SharedAllowance(10, 10), list[str]()

    def hold(name: str, n_bytes: int) -> None:
        with allowance.held(n_bytes):
            order.append(name)
            time.sleep(0.01)

    threads = [threading.Thread(target=hold, args=one) for one in (("large", 10), ("small", 1))]
    with allowance.held(5):
        for thread in threads:
            thread.start()
            time.sleep(0.05)
        assert order == [], "a small one that came later passed a large one"
    for thread in threads:
        thread.join(20)
    assert order == ["large", "small"]


def test_many_threads_never_hold_more_than_all_may() -> None:
    allowance, most, lock = SharedAllowance(60, 100), [0], threading.Lock()

    def hold(n_bytes: int) -> None:
        with allowance.held(n_bytes):
            with lock:
                most[0] = max(most[0], allowance.n_held)
            time.sleep(0.0005)

    draw = random.Random(4)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(hold, [draw.randrange(1, 61) for _ in range(2000)]))
    assert 60 < most[0] <= 100
    assert allowance.n_held == 0


def test_bounds_that_shrink_leave_nobody_waiting_for_ever() -> None:
    allowance = SharedAllowance(10, 10)
    done = threading.Event()

    def hold() -> None:
        with allowance.held(8):
            done.set()

    with allowance.held(5):
        thread = threading.Thread(target=hold)
        thread.start()
        time.sleep(0.05)
        allowance.resize(3, 3)
        assert not done.is_set()
    thread.join(20)
    assert done.is_set()


# --- pictures -------------------------------------------------------------------------------------------


def test_a_modality_is_bounded_where_its_inputs_grow() -> None:
    allowance = SharedAllowance(1, 1)
    assert isinstance(IMAGE, BoundedDecoding)
    assert decoding_within(TEXT, allowance) is TEXT
    assert decoding_within(VECTOR, allowance) is VECTOR
    with pytest.raises(DecodeError):
        decoding_within(IMAGE, allowance).decode(file_of(photo()), SPEC)
    assert IMAGE.decode(file_of(photo()), SPEC).tensor.shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("mode", "kind", "settings", "n_bytes"),
    [
        ("RGB", "PNG", {}, 4 * 96 * 64),
        ("L", "PNG", {}, 96 * 64),
        ("P", "PNG", {}, 5 * 96 * 64),
        ("RGBA", "PNG", {}, 4 * 96 * 64),
        ("I;16", "PNG", {}, 15 * 96 * 64),
        ("RGB", "JPEG", {}, 4 * 96 * 64),
        ("RGB", "JPEG", {"progressive": True}, 4 * 96 * 64 + 2 * 3 * 96 * 64),
    ],
)
def test_a_picture_asks_for_what_decoding_it_takes(
    mode: str, kind: str, settings: dict[str, bool], n_bytes: int
) -> None:
    picture = photo().convert("L").convert("I").convert("I;16") if mode == "I;16" else photo().convert(mode)
    encoded = file_of(picture, kind, **settings)
    exact = decoding_within(IMAGE, SharedAllowance(n_bytes, n_bytes)).decode(encoded, SPEC).tensor
    assert (exact == IMAGE.decode(encoded, SPEC).tensor).all()
    with pytest.raises(DecodeError, match=f"{n_bytes:,} bytes of memory"):
        decoding_within(IMAGE, SharedAllowance(n_bytes - 1, n_bytes)).decode(encoded, SPEC)


def test_a_jpeg_that_is_reduced_early_asks_for_little() -> None:
    encoded = file_of(photo(1, (1600, 1600)), "JPEG")
    allowance = SharedAllowance(4 * 200 * 200, 10**9)
    assert decoding_within(IMAGE, allowance).decode(encoded, SPEC).facts["width"] == 1600
