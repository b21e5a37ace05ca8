"""A folder of small photos that a tiny network can tell apart: noisy fields of three colours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np

Colour: TypeAlias = tuple[int, int, int]

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


def photo(colour: Colour, seed: int):  # type: ignore[no-untyped-def]  # PIL stays unimported here
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

    def draw(rng: np.random.Generator, _: int) -> tuple[Colour, str]:
        red = rng.random()
        return (int(40 + 160 * red), 60, int(200 - 160 * red)), f"{50 + 30 * red + rng.normal(0, 2):.3f}"

    return _write(folder / "prices.csv", "price", n, seed, draw)


def write_tagged(folder: Path, n: int = 80, *, seed: int = 0, named: Mapping[str, str] | None = None) -> Path:
    """Write ``n`` photos and a table of their tags: ``bluish``, ``reddish``, both or none, by how they are coloured.

    ``named`` gives tags other names; return the table's path.
    """

    def draw(rng: np.random.Generator, _: int) -> tuple[Colour, str]:
        tags = {"bluish": rng.random() < 0.6, "reddish": rng.random() < 0.4}
        found = [(named or {}).get(tag, tag) for tag, has in tags.items() if has]
        colour = (200 if tags["reddish"] else 50, 60, 200 if tags["bluish"] else 50)
        return colour, ";".join(found) or ";"

    return _write(folder / "tags.csv", "tags", n, seed, draw)


def write_graded(folder: Path, n: int = 80, *, seed: int = 0) -> Path:
    """Write ``n`` photos between blue and red, and a table of their grades 1 to 4: the redder, the higher."""

    def draw(rng: np.random.Generator, _: int) -> tuple[Colour, str]:
        red = rng.random()
        return (int(20 + 200 * red), 60, int(220 - 200 * red)), str(1 + int(4 * red))

    return _write(folder / "grades.csv", "grade", n, seed, draw)


def write_mixed(folder: Path, n: int = 120, *, seed: int = 0) -> Path:
    """Write ``n`` photos and a table of three targets of mixed kinds, of each of which some rows have nothing.

    ``kind`` is ``leaf`` or ``sky`` by how green a photo is, ``price`` is 50 + 30 · redness with a noise of 2, ``tags``
    are ``bright`` and ``reddish``, both or none. Every 60th row has no label at all. Return the table's path.
    """

    def draw(rng: np.random.Generator, i: int) -> tuple[Colour, str]:
        red, green = rng.random(), rng.random()
        colour = (int(30 + 190 * red), int(30 + 190 * green), int(200 - 160 * red))
        tags = [name for name, has in {"bright": red + green > 1, "reddish": red > 0.6}.items() if has]
        kind = "" if i % 5 == 0 else "leaf" if green > 0.5 else "sky"
        price = "" if i % 3 == 0 else f"{50 + 30 * red + rng.normal(0, 2):.3f}"
        return colour, f"{kind},{price},{'' if i % 4 == 0 else ';'.join(tags) or ';'}"

    return _write(folder / "mixed.csv", "kind,price,tags", n, seed, draw)


def write_followed(
    folder: Path, n: int = 160, *, seed: int = 0, told: tuple[str, str] = ("no", "yes")
) -> Path:
    """Write ``n`` photos between blue and red, and a table of when each broke: the redder, the sooner.

    The hazard is exp(4 · redness − 2) in 100 days. Some two fifths are looked at for a while without a break. Columns
    are ``days`` and ``broke`` (as ``told``: no, yes), and the same as one, ``until``; ``red`` is the redness. Return
    the table's path.
    """

    def draw(rng: np.random.Generator, _: int) -> tuple[Colour, str]:
        red = rng.random()
        breaks, end = rng.exponential(100 * np.exp(2 - 4 * red)), rng.uniform(20, 300)
        days, broke = min(breaks, end), breaks <= end
        cells = f"{days:.1f},{told[broke]},{days:.1f}{'' if broke else '+'},{red:.4f}"
        return (int(40 + 160 * red), 60, int(200 - 160 * red)), cells

    return _write(folder / "days.csv", "days,broke,until,red", n, seed, draw)


def _write(
    table: Path,
    columns: str,
    n: int,
    seed: int,
    draw: Callable[[np.random.Generator, int], tuple[Colour, str]],
) -> Path:
    """Write ``n`` photos and, beside them, the table that names them; ``draw`` gives a row's colour and its cells."""
    rng = np.random.default_rng(seed)
    table.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"file,{columns}"]
    for i in range(n):
        colour, cells = draw(rng, i)
        photo(colour, 10_000 * (seed + 1) + i).save(table.parent / f"{i:03}.jpg", quality=92)
        lines.append(f"{i:03}.jpg,{cells}")
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table
