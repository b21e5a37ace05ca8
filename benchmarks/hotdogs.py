"""Hot dogs or not, from 400 photos: the ladder beside a script in plain PyTorch, as `peers` sets it beside fastai."""

from __future__ import annotations

from benchmarks import plain_peer
from benchmarks.peers import goals_of, notes_of, plain_family, run_contest, table_of
from benchmarks.place import Place
from benchmarks.results import Section
from benchmarks.splits import split_photos
from benchmarks.training_peers import export_network

__all__ = ["measure"]


def measure(place: Place) -> Section:
    """Run all rounds; the settings that train fastest are found on the first split."""
    photos = place.hotdog_photos()
    plain = plain_peer.peer(place, export_network(place))
    timed = {"plain PyTorch": plain_peer.speeds(plain, split_photos(photos, 0))}
    found = run_contest(place, "hot dogs", photos, (plain_family(plain, timed),))
    return Section(
        name="hotdogs",
        title="Transfer on hot dogs, beside plain PyTorch",
        goals=goals_of(found),
        tables=(table_of(found),),
        notes=notes_of(place, [found]),
    )
