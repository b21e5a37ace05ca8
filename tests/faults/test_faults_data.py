"""Photos that are damaged, that vanish or change under a fit, and names that nobody expects."""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pictures import file_of
from pictures import photo as picture
from quick import fit_probe as fit
from topwork import BundleError, DataError, Model, Prediction, Surroundings, evaluate, load
from topwork.report.html import render_html
from toy_photos import write_photos

# --- 300 damaged photos ---------------------------------------------------------------------------------

KINDS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) * 3 // 4)]


def flip(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 4, 64, 500))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def blank(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + bytes(len(content) - start)


def behead(content: bytes, rng: random.Random) -> bytes:
    return rng.randbytes(24) + content[24:]


def splice(content: bytes, rng: random.Random) -> bytes:
    start, other = rng.randrange(len(content)), rng.randrange(len(content))
    return content[:start] + content[other:]


def noise(content: bytes, rng: random.Random) -> bytes:
    return rng.randbytes(len(content))


FUZZERS: tuple[Callable[[bytes, random.Random], bytes], ...] = (cut, flip, blank, behead, splice, noise)
HOPELESS = {"behead", "noise"}


def write_damaged(folder: Path, n: int) -> list[Path]:
    """Write ``n`` damaged photos of every kind into a folder; all that was done to each stands in its name."""
    rng, written = random.Random(0), []
    for number in range(n):
        kind, fuzz = KINDS[number % len(KINDS)], FUZZERS[number // len(KINDS) % len(FUZZERS)]
        path = folder / f"{number:03} {fuzz.__name__}.{kind.lower()}"
        path.write_bytes(fuzz(file_of(picture(number), kind), rng))
        written.append(path)
    return written


def test_300_damaged_photos_are_each_used_or_listed_with_a_reason(
    tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    data = write_photos(tmp_path / "data")
    damaged = {path.relative_to(data).as_posix() for path in write_damaged(data / "red", 300)}
    model = fit(data, tmp_path / "model", trunk=str(tiny_trunk), around=around)
    found = model.record.data
    listed = {one.key: one.reason for one in found.rejected}
    assert found.n_listed == 360
    assert found.n_used + len(listed) == 360
    assert set(listed) <= damaged
    assert {key for key in damaged if key.split()[1].split(".")[0] in HOPELESS} <= set(listed)
    assert len(listed) > 200
    assert all(len(reason) > 10 and "\n" not in reason for reason in listed.values())
    page = render_html(model.record)
    assert all(Path(key).name in page for key in listed)


def test_only_damaged_photos_are_refused_with_the_reasons(
    tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    for label in ("red", "green"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(20):
            (tmp_path / "data" / label / f"{number}.jpg").write_bytes(b"" if number % 2 else b"text")
    with pytest.raises(DataError, match=r"Only 0 of 40 .* 20 × .*not a picture.*; 20 × The file is empty"):
        fit(tmp_path / "data", tmp_path / "model", trunk=str(tiny_trunk), around=around)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]


# --- 300 damaged bundles ----------------------------------------------------------------------------------


def outcome(bundle: Path, inputs: list[Path], right: list[Prediction]) -> str:
    """Return what became of a bundle; an error that is not ours is raised."""
    try:
        return "right" if load(bundle).predict(inputs) == right else "wrong"
    except BundleError as error:
        return "refused" if str(bundle) in str(error) and error.next_step else "refused without a word"


def test_300_damaged_bundles_are_refused_or_answer_rightly(
    fitted: Model, photos: Path, tmp_path: Path
) -> None:
    inputs = sorted(photos.rglob("*.jpg"))[::20]
    right, content, rng = fitted.predict(inputs), fitted.path.read_bytes(), random.Random(0)
    damaged = tmp_path / "damaged.topwork"
    outcomes: Counter[str] = Counter()
    for number in range(300):
        damaged.write_bytes(FUZZERS[number % len(FUZZERS)](content, rng))
        outcomes[outcome(damaged, inputs, right)] += 1
    assert set(outcomes) <= {"refused", "right"}
    assert outcomes["refused"] > 240


# --- photos that change under a fit -----------------------------------------------------------------------


@dataclass
class Meddler:
    """Progress that does something to the data, once, when it hears a word."""

    word: str
    deed: Callable[[], object]
    heard: str = ""

    def say(self, line: str) -> None:
        if self.word in line and not self.heard:
            self.heard = line
            self.deed()

    @contextmanager
    def track(self, title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        self.say(title)
        yield lambda _: None


LISTED, CHECKED = "Class folders", "inputs can be used"
"""What is said when the files have been listed, and when all have been read."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "data", seed=5)


@pytest.fixture
def fit_under(
    data: Path, tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> Callable[[str, Callable[[], object]], Model]:
    """Give a fit under which something happens to the data."""

    def fit_it(word: str, deed: Callable[[], object]) -> Model:
        meddler = Meddler(word, deed)
        under = Surroundings(cache_dir=around.cache_dir, progress=meddler)
        try:
            return fit(data, tmp_path / "model", trunk=str(tiny_trunk), around=under)
        finally:
            assert meddler.heard

    return fit_it


FitUnder = Callable[[str, Callable[[], object]], Model]


def test_a_photo_that_vanishes_before_it_is_read_is_listed(data: Path, fit_under: FitUnder) -> None:
    model = fit_under(LISTED, (data / "red" / "03.jpg").unlink)
    [one] = model.record.data.rejected
    assert (one.key, one.reason) == ("red/03.jpg", "The file does not exist.")
    assert model.record.data.n_used == 59


def test_a_data_set_that_vanishes_before_it_is_read_is_refused(data: Path, fit_under: FitUnder) -> None:
    with pytest.raises(DataError, match="60 × The file does not exist"):
        fit_under(LISTED, lambda: shutil.rmtree(data))


def every(data: Path, change: Callable[[Path], object]) -> Callable[[], None]:
    def deed() -> None:
        for path in data.rglob("*.jpg"):
            change(path)

    return deed


def become_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


CHANGES: dict[str, Callable[[Path], object]] = {
    "gone": lambda path: path.unlink(),
    "emptied": lambda path: path.write_bytes(b""),
    "no picture": lambda path: path.write_bytes(b"something else"),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:400]),
    "grown": lambda path: path.write_bytes(path.read_bytes() + bytes(10_000)),
    "a folder": become_folder,
    "another picture": lambda path: path.write_bytes(file_of(picture(len(path.name)), "JPEG")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_happens_to_photos_once_they_are_read_does_not_matter(
    change: str, data: Path, fit_under: FitUnder, photos: Path
) -> None:
    """What is kept as a golden example is a photo that the model was fitted on, or a picture of nothing."""
    before = {path.read_bytes() for path in data.rglob("*.jpg")}
    model = fit_under(CHECKED, every(data, CHANGES[change]))
    model.prove()
    assert model.record.data.n_used == 60
    assert model.record.targets["label"].test["accuracy"].value > 0.6
    goldens = model.servable.bundle.goldens()
    assert len(goldens) >= 2
    assert all(one.encoded in before or one.key.startswith("synthetic") for one in goldens)
    assert load(model.path).predict(photos / "red" / "01.jpg").label is not None


def test_a_photo_that_is_replaced_while_it_is_read_is_one_of_the_two(data: Path, fit_under: FitUnder) -> None:
    """It is read twice, for the cache and for decoding; what is recorded belongs to what was decoded."""
    other = file_of(picture(7), "JPEG")
    model = fit_under("Reading", lambda: (data / "red" / "00.jpg").write_bytes(other))
    assert model.record.data.n_used == 60


# --- names and numbers ------------------------------------------------------------------------------------

NAMES = [
    b"new\nline",
    "эмодзи 🌸".encode(),
    "שלום\u202e עולם".encode(),
    ("я" * 127).encode(),
    b"caf\xe9",
    b"<script>alert(1)<_script>",
    b"a\x1b[2Jb",
    b" ",
    b"quo'te\"",
    b"back\\slash",
    b"-dash",
    b"%s{}$HOME",
]


@pytest.mark.skipif(
    os.name != "posix" or sys.platform == "darwin", reason="not every system takes such names"
)
def test_labels_may_be_named_anything(
    photos: Path, tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    data = tmp_path / os.fsdecode(b"d\xe4ta\n")
    every = sorted(photos.rglob("*.jpg"))
    for number, name in enumerate(NAMES):
        label = data / os.fsdecode(name)
        label.mkdir(parents=True)
        for path in every[number * 5 : number * 5 + 5]:
            shutil.copy(path, label / f"{path.parent.name} {path.name}")
    model = fit(data, tmp_path / "model", trunk=str(tiny_trunk), around=around)
    labels = {os.fsdecode(name) for name in NAMES}
    again = load(model.path)
    [target] = again.servable.targets.values()
    assert set(target.labels) == labels
    answer = again.predict(every[0])
    assert answer.label in labels
    assert set(answer.probabilities) == labels
    page = (tmp_path / "model.report.html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    assert "\x1b" not in page
    assert evaluate(model.path, data, around=around).split.n_test == model.record.split.n_test


@pytest.mark.timeout(1500)
@pytest.mark.slow
def test_2000_classes_of_two_photos_stay_within_bounds(
    tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    """What a report and a bundle hold must not grow with the square of the classes."""
    for number in range(2000):
        label = tmp_path / "many" / f"class {number:04}"
        label.mkdir(parents=True)
        for i in range(2):
            (label / f"{i}.png").write_bytes(file_of(picture(2 * number + i, (16, 16)), "PNG"))
    model = fit(tmp_path / "many", tmp_path / "model", trunk=str(tiny_trunk), budget="1s", around=around)
    assert model.record.data.n_used == 4000
    assert len(model.record.targets["label"].labels) == 2000
    assert "search cut short by the budget" in model.record.notes[0]
    assert model.path.stat().st_size < 3e6
    assert (tmp_path / "model.report.html").stat().st_size < 8e6
    found = load(model.path).predict(tmp_path / "many" / "class 0000" / "0.png")
    assert len(found.probabilities) == 25
