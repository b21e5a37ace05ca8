"""A folder of small photos that a tiny network can tell apart: noisy fields of three colours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

COLOURS = {"blue": (40, 60, 200), "green": (50, 170, 60), "red": (200, 50, 40)}


def write_photos(folder: Path, n_per_class: int = 20, *, seed: int = 0, suffix: str = "jpg") -> Path:
    """Write ``folder/LABEL/NN.jpg``, 48 × 40 pixels, every picture different, and return the folder."""
    for number, (label, colour) in enumerate(COLOURS.items()):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for i in range(n_per_class):
            photo(colour, 1000 * seed + 100 * number + i).save(
                folder / label / f"{i:02}.{suffix}", quality=92
            )
    return folder


def photo(colour: tuple[int, int, int], seed: int):  # type: ignore[no-untyped-def]  # PIL stays unimported here
    """Return a picture of blurred noise around a colour."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, 45, size=(8, 8, 3)) + np.array(colour)
    small = Image.fromarray(np.clip(coarse, 0, 255).astype(np.uint8))
    return small.resize((48, 40), Image.Resampling.BICUBIC)


def write_measured(folder: Path, n: int = 80, *, seed: int = 0) -> Path:
    """Write ``n`` photos between blue and red, and a table of how much each costs: the redder, the more.

    The price is 50 + 30 · redness with a noise of 2; return the table's path.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["file,price"]
    for i in range(n):
        red = rng.random()
        colour = (int(40 + 160 * red), 60, int(200 - 160 * red))
        photo(colour, 10_000 * (seed + 1) + i).save(folder / f"{i:03}.jpg", quality=92)
        lines.append(f"{i:03}.jpg,{50 + 30 * red + rng.normal(0, 2):.3f}")
    (folder / "prices.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "prices.csv"


def write_tagged(folder: Path, n: int = 80, *, seed: int = 0, named: Mapping[str, str] | None = None) -> Path:
    """Write ``n`` photos and a table of their tags: ``bluish``, ``reddish``, both or none, by how they are coloured.

    ``named`` gives tags other names; return the table's path.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["file,tags"]
    for i in range(n):
        tags = {"bluish": rng.random() < 0.6, "reddish": rng.random() < 0.4}
        colour = (200 if tags["reddish"] else 50, 60, 200 if tags["bluish"] else 50)
        photo(colour, 10_000 * (seed + 1) + i).save(folder / f"{i:03}.jpg", quality=92)
        found = [(named or {}).get(tag, tag) for tag, has in tags.items() if has]
        lines.append(f"{i:03}.jpg,{';'.join(found) or ';'}")
    (folder / "tags.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "tags.csv"


def write_graded(folder: Path, n: int = 80, *, seed: int = 0) -> Path:
    """Write ``n`` photos between blue and red, and a table of their grades 1 to 4: the redder, the higher."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["file,grade"]
    for i in range(n):
        red = rng.random()
        colour = (int(20 + 200 * red), 60, int(220 - 200 * red))
        photo(colour, 10_000 * (seed + 1) + i).save(folder / f"{i:03}.jpg", quality=92)
        lines.append(f"{i:03}.jpg,{1 + int(4 * red)}")
    (folder / "grades.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "grades.csv"


def write_mixed(folder: Path, n: int = 120, *, seed: int = 0) -> Path:
    """Write ``n`` photos and a table of three targets of mixed kinds, of each of which some rows have nothing.

    ``kind`` is ``leaf`` or ``sky`` by how green a photo is, ``price`` is 50 + 30 · redness with a noise of 2, ``tags``
    are ``bright`` and ``reddish``, both or none. Every 60th row has no label at all. Return the table's path.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["file,kind,price,tags"]
    for i in range(n):
        red, green = rng.random(), rng.random()
        colour = (int(30 + 190 * red), int(30 + 190 * green), int(200 - 160 * red))
        photo(colour, 10_000 * (seed + 1) + i).save(folder / f"{i:03}.jpg", quality=92)
        tags = [name for name, has in {"bright": red + green > 1, "reddish": red > 0.6}.items() if has]
        kind = "" if i % 5 == 0 else "leaf" if green > 0.5 else "sky"
        price = "" if i % 3 == 0 else f"{50 + 30 * red + rng.normal(0, 2):.3f}"
        lines.append(f"{i:03}.jpg,{kind},{price},{'' if i % 4 == 0 else ';'.join(tags) or ';'}")
    (folder / "mixed.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "mixed.csv"


def write_followed(
    folder: Path, n: int = 160, *, seed: int = 0, told: tuple[str, str] = ("no", "yes")
) -> Path:
    """Write ``n`` photos between blue and red, and a table of when each broke: the redder, the sooner.

    The hazard is exp(4 · redness − 2) in 100 days. Some two fifths are looked at for a while without a break. Columns
    are ``days`` and ``broke`` (as ``told``: no, yes), and the same as one, ``until``; ``red`` is the redness. Return
    the table's path.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["file,days,broke,until,red"]
    for i in range(n):
        red = rng.random()
        colour = (int(40 + 160 * red), 60, int(200 - 160 * red))
        photo(colour, 10_000 * (seed + 1) + i).save(folder / f"{i:03}.jpg", quality=92)
        breaks, end = rng.exponential(100 * np.exp(2 - 4 * red)), rng.uniform(20, 300)
        days, broke = min(breaks, end), breaks <= end
        lines.append(f"{i:03}.jpg,{days:.1f},{told[broke]},{days:.1f}{'' if broke else '+'},{red:.4f}")
    (folder / "days.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "days.csv"
