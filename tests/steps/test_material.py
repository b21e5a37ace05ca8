"""What is never varied is decoded once within a fit, as far as memory allows; what is varied keeps its canvas."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tiny_text_trunk import write_tiny_text_trunk
from tiny_transformers import write_masking_trunk
from tiny_trunk import write_tiny_trunk
from told import Told
from topwork import Surroundings
from topwork.contracts import Dataset, Decoded, Fold, Modality, Preprocessing, Resources
from topwork.inputs import IMAGE
from topwork.inputs.image import ImageModality
from topwork.inputs.text import TextModality
from topwork.progress import Quiet
from topwork.steps.material import TrunkMaterial
from topwork.training.feeds import feed_of
from topwork.trunks.folder import open_folder
from toy_texts import toy_texts

N = 30


class CountingTexts(TextModality):
    """Counts how often each text is decoded."""

    def __init__(self) -> None:
        self.decoded: Counter[bytes] = Counter()

    def decode(self, encoded: bytes, preprocessing: Preprocessing) -> Decoded:
        self.decoded[encoded] += 1
        return super().decode(encoded, preprocessing)


class CountingPhotos(ImageModality):
    """Counts how often each photo is decoded."""

    def __init__(self) -> None:
        self.decoded: Counter[bytes] = Counter()

    def decode(self, encoded: bytes, preprocessing: Preprocessing) -> Decoded:
        self.decoded[encoded] += 1
        return super().decode(encoded, preprocessing)


def material_of(
    trunk: Path, modality: Modality, encoded: list[bytes], cache: Path, memory_bytes: int = 2**30
) -> TrunkMaterial:
    return TrunkMaterial(
        trunk=open_folder(trunk),
        around=Surroundings(cache_dir=cache, progress=Quiet()),
        dataset=Dataset(modality.name, tuple(map(str, range(len(encoded)))), lambda row: encoded[row], {}),
        modality=modality,
        rows=np.arange(len(encoded)),
        resources=Resources("cpu", 2, memory_bytes, has_fast_bf16=False),
    )


def texts() -> list[bytes]:
    return [text.encode() for text in toy_texts(N)[0]]


@pytest.fixture(scope="module")
def text_trunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_text_trunk(tmp_path_factory.mktemp("trunk") / "tiny-bert")


def look_and_train(material: TrunkMaterial) -> None:
    """Do what a recipe does with its inputs: three epochs and three looks."""
    feed = feed_of(material, Fold(np.arange(20), np.arange(20, N)), seed=0)
    for epoch in range(3):
        list(feed.batches(iter([(epoch, np.arange(10)), (epoch, np.arange(10, 20))])))
        list(feed.validation())


def test_a_text_is_cut_into_tokens_once(text_trunk: Path, tmp_path: Path) -> None:
    modality = CountingTexts()
    material = material_of(text_trunk, modality, texts(), tmp_path)
    assert material.is_ragged
    look_and_train(material)
    assert {modality.decoded[one] for one in texts()} == {1}


def test_where_memory_is_short_texts_are_cut_again(text_trunk: Path, tmp_path: Path) -> None:
    modality = CountingTexts()
    look_and_train(material_of(text_trunk, modality, texts(), tmp_path, memory_bytes=2000))
    assert {modality.decoded[one] for one in texts()} == {1, 4}


def test_a_text_is_the_same_to_training_and_to_serving(text_trunk: Path, tmp_path: Path) -> None:
    material = material_of(text_trunk, TextModality(), texts(), tmp_path)
    for row in range(N):
        served = TextModality().decode(texts()[row], material.trunk.preprocessing).tensor
        assert np.array_equal(material.example(row), served)
        assert np.array_equal(material.variant(row, np.random.default_rng(row)), served)


def test_photos_are_of_one_size_and_seen_as_serving_sees_them(tmp_path: Path) -> None:
    trunk = write_tiny_trunk(tmp_path / "tiny")
    modality, photos = CountingPhotos(), list(IMAGE.synthetic(N, seed=3))
    material = material_of(trunk, modality, photos, tmp_path)
    assert not material.is_ragged
    served = modality.decode(photos[0], material.trunk.preprocessing).tensor
    assert np.array_equal(material.example(0), served)
    for _ in range(3):
        material.variant(1, np.random.default_rng(0))
    assert modality.decoded[photos[1]] == 1


def test_nothing_is_learnt_from_near_copies_of_what_validates_or_tests(tmp_path: Path) -> None:
    trunk = write_masking_trunk(tmp_path / "tiny-bert")
    held = "the parcel never came and nobody at the shop knew where it had gone or who had sent it to them at all"
    other = (
        "a lovely warm meal was brought to our table by people who seemed to like what they do every evening"
    )
    modality, told = TextModality(), Told()
    mark = modality.decode(held.encode(), modality.inspection_preprocessing()).fingerprint
    further = tuple(one.encode() for one in (f"{held}!", f"{held} today", other))
    subject = material_of(trunk, modality, [held.encode()], tmp_path / "cache")
    subject = replace(
        subject, around=replace(subject.around, progress=told), further=further, kept_apart=mark[None]
    )
    words = subject.words(subject.network())
    assert words is not None
    (left,) = (one() for one in words.further)
    assert np.array_equal(left, modality.decode(other.encode(), subject.trunk.preprocessing).tensor)
    assert [line.split(" are left out")[0] for line in told.lines] == ["2 of 3 inputs without a label"]
    alone = replace(subject, kept_apart=mark[:0, None]).words(subject.network())
    assert alone is not None
    assert len(alone.further) == 3
