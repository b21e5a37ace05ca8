"""Near duplicates: which alterations are seen through, which likenesses are not fooled by, and the cost."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance

from pictures import file_of, photo
from topwork.contracts import Array
from topwork.errors import UsageError
from topwork.inputs import IMAGE
from topwork.inputs.image_likeness import LENGTH, near_duplicates

N = 20


def print_of(image: Image.Image, quality: int = 90) -> Array:
    encoded = file_of(image.convert("RGB"), "JPEG", quality=quality)
    return IMAGE.decode(encoded, IMAGE.inspection_preprocessing()).fingerprint


def scene(seed: int) -> Image.Image:
    """Draw something with edges, as photos have them: shapes on a smooth ground."""
    rng = np.random.default_rng(seed)
    image = photo(seed, (400, 300)).point([round(60 + v * 0.5) for v in range(256)] * 3)
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y, width, height = rng.integers((0, 0, 40, 40), (340, 240, 160, 120)).tolist()
        colour = tuple(rng.integers(40, 200, size=3).tolist())
        draw.ellipse((x, y, x + width, y + height), fill=colour)
    return image


def on_white(draw_thing: Callable[[ImageDraw.ImageDraw], None]) -> Image.Image:
    image = Image.new("RGB", (400, 400), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((170, 150, 230, 340), fill="black")  # what all of them share
    draw_thing(draw)
    return image


def crop(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    width, height = image.size
    return image.crop(
        (round(width * left), round(height * top), round(width * (1 - right)), round(height * (1 - bottom)))
    )


ALTERATIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "smaller": lambda i: i.resize((130, 98), Image.Resampling.BICUBIC),
    "larger": lambda i: i.resize((1000, 750), Image.Resampling.BILINEAR),
    "brighter": lambda i: ImageEnhance.Brightness(i).enhance(1.2),
    "darker": lambda i: ImageEnhance.Brightness(i).enhance(0.7),
    "flatter": lambda i: ImageEnhance.Contrast(i).enhance(0.7),
    "cropped all around": lambda i: crop(i, 0.015, 0.015, 0.015, 0.015),
    "cropped at a corner": lambda i: crop(i, 0.03, 0.03, 0, 0),
    "squeezed": lambda i: i.resize((400, 290)),
}


@pytest.mark.parametrize("name", ALTERATIONS)
def test_altered_pictures_are_found_and_others_are_not(name: str) -> None:
    originals = [scene(seed) for seed in range(N)]
    prints = [print_of(image) for image in originals]
    prints += [print_of(ALTERATIONS[name](image), quality=60) for image in originals]
    pairs = {tuple(pair) for pair in near_duplicates(np.stack(prints)).tolist()}
    right = {(i, i + N) for i in range(N)}
    assert len(pairs & right) >= (0.8 * N if name == "cropped at a corner" else N - 1)
    assert not pairs - right


def test_a_compressed_copy_is_found() -> None:
    prints = [print_of(scene(i % 5), quality=95 if i < 5 else 40) for i in range(10)]
    assert near_duplicates(np.stack(prints)).tolist() == [[i, i + 5] for i in range(5)]


def test_things_on_white_are_told_apart_by_the_place_where_they_differ() -> None:
    things = [
        on_white(lambda d: d.ellipse((160, 80, 240, 160), fill="black")),
        on_white(lambda d: d.rectangle((150, 100, 250, 150), fill="black")),
        on_white(lambda d: d.polygon([(200, 60), (240, 150), (160, 150)], fill="black")),
        on_white(lambda d: d.line((200, 60, 200, 150), fill="black", width=20)),
    ]
    prints = np.stack([print_of(thing) for thing in things])
    grey = prints[:, :1024].astype(float)
    assert np.corrcoef(grey)[np.triu_indices(4, 1)].max() > 0.9  # they do look alike on average
    assert near_duplicates(prints).tolist() == []


def test_colour_alone_tells_apart() -> None:
    red, green = [Image.new("RGB", (200, 200), "white") for _ in range(2)]
    ImageDraw.Draw(red).ellipse((50, 50, 150, 150), fill=(220, 40, 40))
    ImageDraw.Draw(green).ellipse((50, 50, 150, 150), fill=(40, 120, 40))
    assert near_duplicates(np.stack([print_of(red), print_of(green)])).tolist() == []


def test_a_negative_is_another_picture() -> None:
    image = scene(1)
    negative = image.point([255 - v for v in range(256)] * 3)
    assert near_duplicates(np.stack([print_of(image), print_of(negative)])).tolist() == []


def test_blank_pictures_match_only_their_equals() -> None:
    rng = np.random.default_rng(0)
    blank = np.full((6, LENGTH), 250, dtype=np.uint8)
    blank[:4] -= rng.integers(0, 3, size=(4, LENGTH), dtype=np.uint8)  # nearly blank, each in its own way
    everything = np.concatenate([blank, [print_of(scene(i)) for i in range(4)]])
    assert near_duplicates(everything).tolist() == [[4, 5]]


def test_a_faint_shade_that_two_blank_pictures_share_is_no_likeness() -> None:
    shade = np.linspace(200, 206, 32)[None].repeat(32, axis=0)
    pages = [np.concatenate([shade.ravel() + i % 2, np.full(LENGTH - 1024, 203 + i)]) for i in range(4)]
    assert near_duplicates(np.rint(np.stack(pages)).astype(np.uint8)).tolist() == []


def test_many_equal_pictures_give_as_many_pairs_and_not_their_square() -> None:
    prints = np.repeat(np.stack([print_of(scene(0)), print_of(scene(1))]), 3000, axis=0)
    pairs = near_duplicates(prints)
    assert len(pairs) == 2 * 2999
    assert set(pairs[:, 0].tolist()) == {0, 3000}


def test_many_pictures_that_all_look_alike_cost_a_bounded_number_of_looks() -> None:
    rng = np.random.default_rng(0)
    prints = np.tile(print_of(scene(0)), (150, 1)).astype(int) + rng.integers(-2, 3, size=(150, LENGTH))
    pairs = near_duplicates(np.clip(prints, 0, 255).astype(np.uint8))
    assert 149 <= len(pairs) <= 150 * 8
    reached = {0}
    for one, other in sorted(pairs.tolist()):
        if one in reached or other in reached:
            reached |= {one, other}
    assert len(reached) > 145  # and still they hang together


@pytest.mark.parametrize("n", [0, 1])
def test_none_and_one_have_no_pairs(n: int) -> None:
    pairs = near_duplicates(np.zeros((n, LENGTH), dtype=np.uint8))
    assert pairs.shape == (0, 2)
    assert pairs.dtype == np.int64


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 4))
def test_pairs_are_ordered_and_in_range_whatever_comes(seed: int, n: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    prints = (rng.integers(0, levels, size=(n, LENGTH)) * 80).astype(np.uint8)
    pairs = near_duplicates(prints)
    assert pairs.dtype == np.int64
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert len({tuple(pair) for pair in pairs.tolist()}) == len(pairs)
    assert pairs.size == 0 or (pairs.min() >= 0 and pairs.max() < n)


def test_order_does_not_matter() -> None:
    prints = np.stack([print_of(scene(i % 8), quality=90 - 5 * (i // 8)) for i in range(16)])
    order = np.random.default_rng(0).permutation(16)
    found = {frozenset(order[list(pair)].tolist()) for pair in near_duplicates(prints[order])}
    assert found == {frozenset(pair) for pair in near_duplicates(prints).tolist()}
    assert len(found) == 8


@pytest.mark.parametrize(
    "wrong", [np.zeros((3, 5), np.uint8), np.zeros((3, LENGTH)), np.zeros(LENGTH, np.uint8)]
)
def test_other_arrays_are_refused(wrong: Array) -> None:
    with pytest.raises(UsageError, match=f"expected uint8 \\[n, {LENGTH}\\]"):
        near_duplicates(wrong)


def test_the_fingerprint_does_not_hang_on_the_crop_that_a_network_wants() -> None:
    encoded = file_of(scene(3), "PNG")
    wide = IMAGE.decode(encoded, IMAGE.inspection_preprocessing()).fingerprint
    narrow = IMAGE.decode(encoded, IMAGE.preprocessing({
        "height": 224, "width": 224, "fit": "crop", "crop_fraction": 0.5, "interpolation": "bicubic"
    })).fingerprint  # fmt: skip
    assert (wide == narrow).all()
    assert Image.open(io.BytesIO(encoded)).size == (400, 300)


@pytest.mark.slow
def test_twenty_thousand_pictures_are_compared_in_bounded_memory() -> None:
    resource = pytest.importorskip("resource", reason="the peak of memory is asked of POSIX")
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, size=(20_000, 8, 8), dtype=np.uint8)
    grey = coarse.repeat(4, axis=1).repeat(4, axis=2).reshape(20_000, -1)
    prints = np.concatenate([grey, np.full((20_000, LENGTH - 1024), 128, np.uint8)], axis=1)
    prints[10_000:10_050, :1024] = np.clip(prints[:50, :1024].astype(int) * 0.9 + 5, 0, 255)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pairs = near_duplicates(prints)
    assert pairs.tolist() == [[i, 10_000 + i] for i in range(50)]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_500_000  # kB
