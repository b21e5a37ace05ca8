"""How fast one epoch is: all layers trained, 224 pixels, batches of 32, files to weights; ours against fastai."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks import fastai_peer
from benchmarks.figures import Goal, Spread, Table, ratios
from benchmarks.place import Place
from benchmarks.processes import run_side
from benchmarks.results import Section
from benchmarks.splits import PhotoSplit, split_photos
from benchmarks.training_peers import Timed, export_network, tuned
from benchmarks.training_sides import Fitting

_N_ROUNDS = 3
_PROMISED = 1.3
_FIRST, _LAST = "topwork, first epoch", "topwork, later epoch"


@dataclass(frozen=True, slots=True)
class Rates:
    """Images per second of our first epoch, which decodes every photo, and of a later one."""

    first_per_s: float
    last_per_s: float


def measure(place: Place) -> Section:
    """Find fastai's best settings, then measure both sides in rounds."""
    split = split_photos(place.photos(), 0)
    fastai = fastai_peer.peer(place, export_network(place))
    tried = fastai_peer.speeds(fastai, split)
    sides = _sides(tried)
    found: dict[str, list[float]] = {_FIRST: [], _LAST: [], **{name: [] for name in sides}}
    for _ in place.rounds(_N_ROUNDS, "epochs side by side"):
        ours = ours_images_per_s(place, split)
        found[_FIRST].append(ours.first_per_s)
        found[_LAST].append(ours.last_per_s)
        for name, one in sides.items():
            found[name].append(fastai.epoch_per_s(split, one))
    rates = {name: Spread(tuple(one)) for name, one in found.items()}
    faster = ratios(rates[_FIRST], rates[_best_name(tried)])
    return Section(
        name="epoch",
        title="An epoch of training",
        goals=(
            Goal(
                "images per second of our first epoch over fastai's best,",
                faster,
                "at least",
                _PROMISED,
                "times",
            ),
        ),
        tables=(_table(rates), _tried_table(tried)),
        notes=(
            f"{len(split.train)} chess photos, decoding included; the first two steps of a process do not count.",
            "topwork keeps decoded photos in memory, so only its first epoch decodes them; fastai always decodes.",
        ),
    )


def ours_images_per_s(place: Place, split: PhotoSplit) -> Rates:
    """Train in a process of its own, with malloc and threads as every command of topwork sets them."""
    asked = {"split": str(split.write(place.temporary)), "cache": str(place.topwork_cache)}
    return Rates(**run_side("training_side", asked, tuned(Fitting("squish", rests=True))).last_json())


def _sides(tried: Sequence[Timed]) -> dict[str, Timed]:
    """Return fastai as it comes, and in the best of its settings."""
    as_it_comes = next(one for one in tried if not one.is_tuned)
    return {f"fastai, {as_it_comes.shown()}": as_it_comes, _best_name(tried): tried[0]}


def _best_name(tried: Sequence[Timed]) -> str:
    return f"fastai, best: {tried[0].shown()}"


def _table(found: Mapping[str, Spread]) -> Table:
    rows = [
        (name, rates.shown(1), ratios(found[_FIRST], rates).shown(), ratios(found[_LAST], rates).shown())
        for name, rates in found.items()
    ]
    return Table(("side", "images/s", "our first epoch is faster, times", "a later one"), rows)


def _tried_table(tried: Sequence[Timed]) -> Table:
    rows = [(one.shown(), f"{one.per_s:.1f}") for one in tried]
    return Table(("fastai, one short try each", "images/s"), rows)
