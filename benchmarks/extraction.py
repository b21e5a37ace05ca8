"""Features of photos, images per second from files: topwork against its own parts, and against timm in torch.

The bound: decoding costs d seconds of one core, the engine with all cores busy 1/e seconds, so the two
together can do no better than 1 / (1/e + d/cores). The peer gets its best settings: a first process tries them
in turn, the best are then measured in rounds with topwork.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from benchmarks.figures import Goal, Spread, Table, ratios
from benchmarks.place import Place
from benchmarks.processes import MALLOC_TUNED, PROBE_ALONE, TOPWORK, run, run_side
from benchmarks.results import Section
from benchmarks.sides import Settings
from topwork.engines.machine import survey

_N_ROUNDS = 3
_N_BOUND_RUNS = 5
_N_COMPARED = 192
_TRY_S = 3.0
_NO_LIMIT_S = 1e9
_AS_IT_COMES = Settings()
_BATCHES = (8, 32, 64)


@dataclass(frozen=True, slots=True)
class _Rate:
    """Images per second from files, and seconds of the whole process."""

    per_s: float
    process_s: float


@dataclass(frozen=True, slots=True)
class _Tried:
    """One of the peer's settings and the images per second that a short try gave."""

    settings: Settings
    per_s: float


def measure(place: Place) -> Section:
    """Measure the bound on all photos, then all sides on the same part of them."""
    paths = _paths(place)
    run(
        [*TOPWORK, "fit", str(place.photos()), *PROBE_ALONE, "--out", str(place.temporary / "c.topwork")],
        place.env(),
    )
    bounds = [
        run_side("reading_side", _asked(place, paths, parts=True)).last_json()
        for _ in place.rounds(_N_BOUND_RUNS, "the bound")
    ]
    part = paths[: 48 if place.is_quick else _N_COMPARED]
    tried = _try(place, part)
    rates = _compare(place, part, tried)
    return Section(
        name="extraction",
        title="Features from files",
        goals=_goals(bounds, rates),
        tables=(_bound_table(bounds), _peer_table(rates), _tried_table(tried)),
        notes=_notes(bounds[0]["engine"], len(paths), len(part)),
    )


def _paths(place: Place) -> list[str]:
    """Return the photos in an order that mixes the classes and is always the same."""
    paths = sorted(str(path) for path in place.photos().rglob("*") if path.is_file())
    random.Random(0).shuffle(paths)
    return paths


def _asked(place: Place, paths: Sequence[str], **others: object) -> dict[str, object]:
    return {"cache": str(place.topwork_cache), "paths": list(paths), **others}


# --- the bound ----------------------------------------------------------------------------------------


def _bound(found: Mapping[str, float]) -> float:
    return 1 / (1 / found["engine_per_s"] + found["decode_ms"] / 1000 / _n_cores())


def _n_cores() -> int:
    return survey().n_cores


def _column(bounds: Sequence[Mapping[str, Any]], name: str) -> Spread:
    return Spread(tuple(float(found[name]) for found in bounds))


def _bound_table(bounds: Sequence[Mapping[str, Any]]) -> Table:
    bound, passed = Spread(tuple(map(_bound, bounds))), _column(bounds, "per_s")
    rows = [
        ("engine, tensors in memory, images/s", _column(bounds, "engine_per_s").shown(1)),
        ("decoding in one thread, ms per image", _column(bounds, "decode_ms").shown()),
        ("bound, images/s", bound.shown(1)),
        ("reading pass, images/s", passed.shown(1)),
        ("reading pass / bound", ratios(passed, bound).shown(3)),
        ("parts, ms of all cores per image", _column(bounds, "parts_cpu_ms").shown()),
        ("reading pass, ms of all cores per image", _column(bounds, "cpu_ms").shown()),
    ]
    return Table(("all photos", "topwork"), rows)


# --- the peer -----------------------------------------------------------------------------------------


def _try(place: Place, paths: Sequence[str]) -> list[_Tried]:
    """Try the peer's settings: precision, layout and batch first, then workers and threads for the best."""
    kinds = ((False, False), (False, True), (True, True))
    first = [
        Settings(batch_size=batch, is_bf16=bf16, is_channels_last=layout)
        for bf16, layout in kinds
        for batch in _BATCHES
    ]
    tried = _timm(place, paths, first, _TRY_S)
    second = [one for best in {_best(tried), _best(_fp32(tried))} for one in _variants(best.settings)]
    tried += _timm(place, paths, second, _TRY_S)
    early = [replace(_best(tried).settings, reduces_early=True)]
    return tried + _timm(place, paths, early, _TRY_S)


def _variants(settings: Settings) -> list[Settings]:
    n_cores = _n_cores()
    return [replace(settings, n_workers=n_cores, n_threads=threads) for threads in (0, 1)] + [
        replace(settings, n_workers=1, n_threads=1)
    ]


def _timm(place: Place, paths: Sequence[str], settings: Sequence[Settings], limit_s: float) -> list[_Tried]:
    asked = _asked(place, paths, settings=[asdict(one) for one in settings], limit_s=limit_s)
    found = run_side("timm_side", asked, MALLOC_TUNED).last_json()
    return [_Tried(Settings(**one["settings"]), one["per_s"]) for one in found]


def _best(tried: Sequence[_Tried]) -> _Tried:
    return max(tried, key=lambda one: one.per_s)


def _fp32(tried: Sequence[_Tried]) -> list[_Tried]:
    return [one for one in tried if not one.settings.is_bf16 and not one.settings.is_channels_last]


# --- side by side -------------------------------------------------------------------------------------


def _compare(place: Place, paths: Sequence[str], tried: Sequence[_Tried]) -> dict[str, list[_Rate]]:
    """Measure all sides in rounds, each in a process of its own."""
    plain, any_kind = _best(_fp32(tried)).settings, _best(tried).settings
    peers = {
        f"timm as it comes: {_AS_IT_COMES.shown()}": (_AS_IT_COMES, {}),
        f"timm, malloc tuned, best in plain fp32: {plain.shown()}": (plain, MALLOC_TUNED),
        f"timm, malloc tuned, best of all: {any_kind.shown()}": (any_kind, MALLOC_TUNED),
    }
    rates: dict[str, list[_Rate]] = {"topwork": [], **{name: [] for name in peers}}
    for _ in place.rounds(_N_ROUNDS, "side by side"):
        ours = run_side("reading_side", _asked(place, paths, parts=False))
        rates["topwork"].append(_Rate(ours.last_json()["per_s"], ours.wall_s))
        for name, (settings, env) in peers.items():
            asked = _asked(place, paths, settings=[asdict(settings)], limit_s=_NO_LIMIT_S)
            ended = run_side("timm_side", asked, env)
            rates[name].append(_Rate(ended.last_json()[0]["per_s"], ended.wall_s))
    return rates


def _times_faster(rates: Mapping[str, list[_Rate]]) -> dict[str, Spread]:
    ours = _per_s(rates["topwork"])
    return {name: ratios(ours, _per_s(found)) for name, found in rates.items()}


def _per_s(found: Sequence[_Rate]) -> Spread:
    return Spread(tuple(one.per_s for one in found))


def _peer_table(rates: Mapping[str, list[_Rate]]) -> Table:
    rows = [
        (
            name,
            _per_s(rates[name]).shown(1),
            faster.shown(),
            Spread(tuple(one.process_s for one in rates[name])).shown(1),
        )
        for name, faster in _times_faster(rates).items()
    ]
    return Table(("side", "images/s", "topwork is faster, times", "whole process, s"), rows)


def _tried_table(tried: Sequence[_Tried]) -> Table:
    rows = [(one.settings.shown(), f"{one.per_s:.1f}") for one in sorted(tried, key=lambda t: -t.per_s)]
    return Table(("timm, malloc tuned, one short try each", "images/s"), rows)


def _goals(bounds: Sequence[Mapping[str, Any]], rates: Mapping[str, list[_Rate]]) -> tuple[Goal, ...]:
    share = ratios(_column(bounds, "per_s"), Spread(tuple(map(_bound, bounds))))
    _, _, plain, any_kind = _times_faster(rates).values()
    return (
        Goal("the reading pass reaches of its bound", share, "at least", 0.9, "", 3),
        Goal("against the best timm in plain fp32, malloc tuned,", plain, "at least", 3, "times as fast"),
        Goal("against the best timm of all, malloc tuned,", any_kind, "at least", 3, "times as fast"),
    )


def _notes(engine: str, n_all: int, n_compared: int) -> tuple[str, ...]:
    return (
        f"topwork: {engine}. Bound: 1 / (1 / engine + decoding / {_n_cores()} cores), run by run.",
        f"{n_all} photos for the bound; the same {n_compared} of them, in the same order, for every side of the "
        "comparison. Nothing of the features is cached; weights are loaded and warm before the clock starts, "
        "except in the last column, which is the process from its start.",
        "The peer runs the same weights in `inference_mode`, with timm's own transform for them; “malloc tuned” "
        f"is `GLIBC_TUNABLES={MALLOC_TUNED['GLIBC_TUNABLES']}`.",
    )
