"""How fast a language model writes: ours beside transformers, OpenVINO GenAI and llama.cpp with the same weights.

All sides go on with the same beginnings by as many tokens, always the likeliest, one text alone and eight at once. Ours
and transformers' say what the same texts cost: a speed without the perplexity beside it means nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.decoding_side import WRITER
from benchmarks.figures import Goal, Spread, Table, ratios
from benchmarks.place import Place
from benchmarks.processes import MALLOC_TUNED, run_side
from benchmarks.results import Section
from benchmarks.text_splits import reviews
from benchmarks.writing_peers import Setting, settings_to_try, written_by
from topwork import plugins
from topwork.engines.machine import survey

_N_ROUNDS, _N_NEW, _QUICK_NEW = 3, 64, 4
_BEGIN_TOKENS, _COST_TOKENS, _N_TEXTS = 64, 256, 16
_LEAST_TIMES, _LEAST_OF_PEERS, _MOST_WORSE = 4.0, 0.9, 1.02
_QUICK_TRIES = 2
_BASE = ("transformers", "fp32")
_SIDES = (_BASE, ("transformers", "bf16"), ("topwork", "fp32"), ("topwork", "bf16"), ("topwork", "int8"))
_FASTEST = ("topwork", "int8")
Side = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """Tokens per second of one text and of eight in each round, and the perplexity."""

    one: Spread
    eight: Spread
    perplexity: float | None = None


def measure(place: Place) -> Section:
    """Try the peers' settings, then let all sides write in turns."""
    texts = [text for text, _ in reviews(place, "imdb") if len(text) > 2000][:_N_TEXTS]
    tries = _tries(place, texts)
    best = _best_of(tries)
    rounds: dict[Side, list[Mapping[str, float]]] = {side: [] for side in _SIDES}
    of_peers: dict[Setting, list[Mapping[str, float]]] = {one: [] for one in best}
    for _ in place.rounds(_N_ROUNDS, "writing"):
        for side in _SIDES:
            rounds[side].append(_asked(place, side, texts))
        for setting in of_peers:
            of_peers[setting].append(_of_peer(place, setting, texts))
    found = {side: _found(several) for side, several in rounds.items()}
    peers = {setting: _found(several) for setting, several in of_peers.items()}
    return Section(
        name="decoding",
        title="A language model writes",
        goals=[*_goals(found), *_beside(found[_FASTEST], peers)],
        tables=(_table(found, peers), _table_of_tries(tries)),
        notes=(
            f"{WRITER}, {_BEGIN_TOKENS} tokens of a film review to go on from, {_N_NEW} new ones, greedy, on "
            f"{survey().n_cores} cores; malloc tuned on every side. Beginnings are read within the time. `bf16` of "
            "transformers is all of the network in it; `int8` of ours keeps weights in eight bits.",
            f"Perplexity is of {_N_TEXTS} reviews' first {_COST_TOKENS} tokens; that of the peers was not measured.",
            "Peers run in environments of their own: OpenVINO GenAI on what optimum exports, by its own attention "
            "(SDPA) and by its paged one with continuous batching (PA); llama.cpp as its server's slots, with the "
            "weights as they are shipped (Q4_1) and the same in other formats. Ratios are to the best for one text, "
            "and to the best for eight.",
        ),
    )


def _asked(place: Place, side: Side, texts: Sequence[str]) -> Mapping[str, float]:
    found: Mapping[str, float] = run_side(
        "decoding_side",
        {
            "side": side,
            "texts": texts,
            "cache": str(place.topwork_cache),
            "n_threads": survey().n_cores,
            "n_new": _QUICK_NEW if place.is_quick else _N_NEW,
            "begin_tokens": _BEGIN_TOKENS,
            "cost_tokens": _COST_TOKENS,
        },
        MALLOC_TUNED,
    ).last_json()
    print(
        f"  {' '.join(side)}: {found['streams_1']:.0f} and {found['streams_8']:.0f} tokens per second",
        flush=True,
    )
    return found


def _of_peer(place: Place, setting: Setting, texts: Sequence[str]) -> Mapping[str, float]:
    vocabulary = plugins.writers()[WRITER].vocabulary()
    beginnings = [vocabulary.encode(text)[:_BEGIN_TOKENS] for text in texts]
    n_new = _QUICK_NEW if place.is_quick else _N_NEW
    found = written_by(place, setting, beginnings, n_new=n_new, n_threads=survey().n_cores)
    print(
        f"  {setting.title}: {found['streams_1']:.0f} and {found['streams_8']:.0f} tokens per second",
        flush=True,
    )
    return found


def _tries(place: Place, texts: Sequence[str]) -> dict[Setting, Mapping[str, float]]:
    found: dict[Setting, Mapping[str, float]] = {}
    for setting in settings_to_try(place):
        n_there = sum(one.library == setting.library for one in found)
        if not (place.is_quick and n_there == _QUICK_TRIES):
            found[setting] = _of_peer(place, setting, texts)
    return found


def _best_of(tries: Mapping[Setting, Mapping[str, float]]) -> tuple[Setting, ...]:
    """Return of each library what was best for one text, and for eight."""
    libraries = dict.fromkeys(one.library for one in tries)
    best = [
        max((one for one in tries if one.library == library), key=lambda one: tries[one][key])
        for library in libraries
        for key in ("streams_1", "streams_8")
    ]
    return tuple(dict.fromkeys(best))


def _found(several: Sequence[Mapping[str, float]]) -> Found:
    return Found(
        Spread(tuple(one["streams_1"] for one in several)),
        Spread(tuple(one["streams_8"] for one in several)),
        several[0].get("perplexity"),
    )


def _goals(found: Mapping[Side, Found]) -> list[Goal]:
    ours, base = found[_FASTEST], found[_BASE]
    assert ours.perplexity is not None
    assert base.perplexity is not None
    return [
        Goal(
            "one text,", ratios(ours.one, base.one), "at least", _LEAST_TIMES, "times transformers in fp32", 1
        ),
        Goal(
            "eight texts,",
            ratios(ours.eight, base.eight),
            "at least",
            _LEAST_TIMES,
            "times transformers in fp32",
            1,
        ),
        Goal(
            "perplexity beside transformers in fp32,",
            Spread((ours.perplexity / base.perplexity,)),
            "at most",
            _MOST_WORSE,
            "times",
            3,
        ),
    ]


def _beside(ours: Found, peers: Mapping[Setting, Found]) -> list[Goal]:
    goals = []
    for library in dict.fromkeys(one.library for one in peers):
        sides = [found for one, found in peers.items() if one.library == library]
        best_one = max((one.one for one in sides), key=lambda one: one.median)
        best_eight = max((one.eight for one in sides), key=lambda one: one.median)
        for what, own, best in (("one text,", ours.one, best_one), ("eight texts,", ours.eight, best_eight)):
            goals.append(Goal(what, ratios(own, best), "at least", _LEAST_OF_PEERS, f"times {library}"))
    return goals


def _table(found: Mapping[Side, Found], peers: Mapping[Setting, Found]) -> Table:
    head = ("side", "one text, tokens/s", "eight texts, tokens/s", "perplexity")
    named = {
        **{" ".join(side): one for side, one in found.items()},
        **{one.title: of for one, of in peers.items()},
    }
    rows = [
        (
            name,
            one.one.shown(1),
            one.eight.shown(1),
            "" if one.perplexity is None else f"{one.perplexity:.2f}",
        )
        for name, one in named.items()
    ]
    return Table(head, rows)


def _table_of_tries(tries: Mapping[Setting, Mapping[str, float]]) -> Table:
    head = ("peer, one try each", "one text, tokens/s", "eight texts, tokens/s")
    rows = [
        (one.title, f"{found['streams_1']:.1f}", f"{found['streams_8']:.1f}") for one, found in tries.items()
    ]
    return Table(head, rows)
