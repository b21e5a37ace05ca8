"""Transfer from a folder of photos, side by side: the ladder, fastai, and a script in plain PyTorch.

All sides have the same network, weights, split and size of picture. In the first round every peer tries several
settings, the best of which, by its own validation, goes on; ours has none. A round is one split.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks import fastai_peer, ladder, plain_peer
from benchmarks.curves import draw
from benchmarks.figures import Goal, Spread, Table
from benchmarks.learning import Learned, Pair, difference, discordant, faster, gains, share_right
from benchmarks.place import Place
from benchmarks.processes import MALLOC_TUNED
from benchmarks.results import Section
from benchmarks.splits import PhotoSplit, split_photos
from benchmarks.training_peers import Peer, Timed, export_network
from benchmarks.training_sides import Fitting

_PICTURE = "accuracy_over_time.svg"
_PROMISED_TIMES, _PROMISED_POINTS = 10, 0


@dataclass(eq=False)
class Family:
    """A peer on one data set: what it tries in the first round, and what it goes on with.

    Attributes
    ----------
    tries
        Settings by name.
    fits
        What was learned, by name; only the best name has more than one.
    """

    name: str
    peer: Peer
    tries: dict[str, Fitting]
    n_epochs: int
    limit_s: float = 1e9
    fits: dict[str, list[Learned]] = field(default_factory=dict)

    @property
    def best(self) -> str:
        """Name of the settings whose validation was the best in the first round; the sooner among equals."""
        return max(self.fits, key=lambda name: _merit(self.fits[name][0]))

    def go(self, split: PhotoSplit) -> None:
        """Take part in a round."""
        if not self.fits:
            for name, settings in self.tries.items():
                self.fits[name] = [self._fit(split, settings)]
            return
        first = self.fits[self.best][0]
        learned = self._fit(split, replace(self.tries[self.best], rate=first.rate))
        self.fits[self.best].append(replace(learned, search_s=first.search_s))

    def _fit(self, split: PhotoSplit, settings: Fitting) -> Learned:
        learned = self.peer.fit(split, settings, n_epochs=self.n_epochs, limit_s=self.limit_s)
        _tell(f"{self.name}, {settings.shown()}", learned)
        return learned


def _tell(name: str, learned: Learned) -> None:
    """Say on the way what came out: a round takes minutes."""
    best = learned.best
    told = f"  {name}: validation {best.accuracy:.1%} after {best.seconds:.0f} s, test {share_right(learned):.1%}"
    print(told, flush=True)


def _merit(learned: Learned) -> tuple[float, float]:
    return learned.best.accuracy, -learned.best_s(searched=True)


@dataclass(frozen=True, slots=True)
class _Contest:
    """All rounds on one data set."""

    title: str
    ours: tuple[Learned, ...]
    families: tuple[Family, ...]

    def pairs(self, fits: Sequence[Learned]) -> list[Pair]:
        """Put theirs beside ours of the same round."""
        return list(zip(self.ours[: len(fits)], fits, strict=True))


def measure(place: Place) -> Section:
    """Run all rounds on the chess photos, and those with fastai on the hot-dog photos."""
    network = export_network(place)
    fastai, plain = fastai_peer.peer(place, network), plain_peer.peer(place, network)
    photos = place.photos()
    split = split_photos(photos, 0)
    timed = {"fastai": fastai_peer.speeds(fastai, split), "plain PyTorch": plain_peer.speeds(plain, split)}
    contests = [run_contest(place, "chess", photos, (_fastai(fastai, timed), plain_family(plain, timed)))]
    if place.hotdog is None:
        print("No archive of the hot-dog photos was given with --hotdog; they are left out.", flush=True)
    else:
        contests.append(run_contest(place, "hot dogs", place.hotdog_photos(), (_fastai(fastai, timed),)))
    return Section(
        name="peers",
        title="Transfer, side by side with its peers",
        goals=[goal for contest in contests for goal in goals_of(contest)],
        tables=(*(table_of(contest) for contest in contests), _speed_table(timed)),
        notes=notes_of(place, contests),
        pictures={_PICTURE: _picture(contests[0])},
    )


def _fastai(peer: Peer, timed: Mapping[str, Sequence[Timed]]) -> Family:
    n_epochs = 1 if peer.place.is_quick else fastai_peer.N_EPOCHS
    return Family("fastai", peer, fastai_peer.choices(timed["fastai"]), n_epochs)


def plain_family(peer: Peer, timed: Mapping[str, Sequence[Timed]]) -> Family:
    """Return the settings of plain PyTorch that go into a contest."""
    n_epochs = 1 if peer.place.is_quick else plain_peer.N_EPOCHS
    tries = plain_peer.choices(timed["plain PyTorch"])
    return Family("plain PyTorch", peer, tries, n_epochs, plain_peer.LIMIT_S)


def run_contest(place: Place, title: str, photos: Path, families: tuple[Family, ...]) -> _Contest:
    """Go through the splits: ours, and then every family."""
    ours = []
    for seed in place.seeds(f"peers, {title}"):
        split = split_photos(photos, seed)
        ours.append(ladder.fit(place, split).learned)
        _tell("topwork", ours[-1])
        for family in families:
            family.go(split)
    return _Contest(title, tuple(ours), families)


# --- what is told of it -----------------------------------------------------------------------------------


def goals_of(contest: _Contest) -> list[Goal]:
    """Return what is promised against the best settings of each family."""
    goals = []
    for family in contest.families:
        pairs = contest.pairs(family.fits[family.best])
        against = f"{contest.title}, against the best {family.name}:"
        sooner = faster(pairs, searched=True)
        gain = f"{against} test accuracy, ours minus theirs,"
        lowest = Spread((100 * difference(pairs).low,))
        goals += [
            Goal(f"{against} as good a validation", sooner, "at least", _PROMISED_TIMES, "times sooner", 1),
            Goal(gain, gains(pairs), "above", _PROMISED_POINTS, "points", 1),
            Goal(
                f"{against} lower end of its interval over all splits,",
                lowest,
                "above",
                _PROMISED_POINTS,
                "points",
                1,
            ),
        ]
    return goals


def table_of(contest: _Contest) -> Table:
    """Return ours and every setting that was tried, a row each."""
    head = (
        contest.title,
        "splits",
        "best validation, %",
        "after, s",
        "ours is as good after, s",
        "ours is sooner, times",
        "without finding the rate",
        "test, %",
        "ours minus theirs, points",
        "95 % interval",
        "right: only ours / theirs",
    )
    best = _percent(one.best.accuracy for one in contest.ours)
    after = Spread(tuple(one.best.seconds for one in contest.ours))
    test = _percent(map(share_right, contest.ours))
    ours = (
        "topwork, ladder",
        str(len(contest.ours)),
        best.shown(1),
        after.shown(1),
        *[""] * 3,
        test.shown(1),
        *[""] * 3,
    )
    rows = [
        _row(f"**{name}**" if name == family.best else name, contest.pairs(fits))
        for family in contest.families
        for name, fits in family.fits.items()
    ]
    return Table(head, [ours, *rows])


def _row(name: str, pairs: Sequence[Pair]) -> tuple[str, ...]:
    fits = [theirs for _, theirs in pairs]
    apart = difference(pairs)
    return (
        name,
        str(len(pairs)),
        _percent(one.best.accuracy for one in fits).shown(1),
        Spread(tuple(one.best_s(searched=True) for one in fits)).shown(1),
        Spread(tuple(ours.seconds_to(theirs.best.accuracy) for ours, theirs in pairs)).shown(1),
        faster(pairs, searched=True).shown(1),
        faster(pairs, searched=False).shown(1),
        _percent(map(share_right, fits)).shown(1),
        gains(pairs).shown(1),
        f"{100 * apart.low:+.1f} to {100 * apart.high:+.1f}",
        "{} / {}".format(*discordant(pairs)),
    )


def _percent(shares: Iterable[float]) -> Spread:
    return Spread(tuple(100 * share for share in shares))


def _speed_table(timed: Mapping[str, Sequence[Timed]]) -> Table:
    rows = [(name, one.shown(), f"{one.per_s:.1f}") for name, tried in timed.items() for one in tried]
    return Table(("peer", "one short try each, chess photos, all layers trained", "images/s"), rows)


def notes_of(place: Place, contests: Sequence[_Contest]) -> tuple[str, ...]:
    """Say how it was measured."""
    searches = [
        f"{contest.title} {fits[0].search_s:.0f} s"
        for contest in contests
        for family in contest.families
        for fits in family.fits.values()
        if fits[0].search_s
    ]
    return (
        f"Ours is `topwork fit {' '.join(ladder.words(place))}`, nothing of the photos cached.",
        "Seconds count from the start of the process. Validation is the same fold of the same split on every side; "
        "a peer's time is that to its own best validation accuracy, ours that to one at least as good (`inf`: never).",
        *_notes_of_search(searches),
        f"Plain PyTorch: up to {plain_peer.N_EPOCHS} epochs, none begun after {plain_peer.LIMIT_S:.0f} s; the weights "
        "of its best epoch.",
        f"Peers run with `GLIBC_TUNABLES={MALLOC_TUNED['GLIBC_TUNABLES']}`, in the settings that trained fastest. Bold "
        "is what was best in the first round, by validation; only that went on.",
        "The interval is of the difference over all splits: a bootstrap that draws photos with all of their answers.",
    )


def _notes_of_search(searches: Sequence[str]) -> tuple[str, ...]:
    """Say what finding fastai's rate took; nothing where fastai has no part in the contest."""
    if not searches:
        return ()
    return (
        f"fastai: `lr_find` (valley), then `fine_tune({fastai_peer.N_EPOCHS})`, its last weights. Finding the rate "
        f"took {', '.join(searches)}; it was done in the first round and counts in every one.",
    )


def _picture(contest: _Contest) -> str:
    curves = {"topwork": [one.moments for one in contest.ours]}
    curves |= {family.name: [one.moments for one in family.fits[family.best]] for family in contest.families}
    return draw(curves)
