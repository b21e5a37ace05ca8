"""How fast a language model writes: ours beside transformers' ``generate`` with the same weights.

All sides go on with the same beginnings by as many tokens, always the likeliest, one text alone and eight at once, and
say what the same texts cost: a speed without the perplexity beside it means nothing.
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
from topwork.engines.machine import survey

_N_ROUNDS, _N_NEW, _QUICK_NEW = 3, 64, 4
_BEGIN_TOKENS, _COST_TOKENS, _N_TEXTS = 64, 256, 16
_LEAST_TIMES, _MOST_WORSE = 4.0, 1.02
_BASE = ("transformers", "fp32")
_SIDES = (_BASE, ("transformers", "bf16"), ("topwork", "fp32"), ("topwork", "bf16"), ("topwork", "int8"))
_FASTEST = ("topwork", "int8")
Side = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """Tokens per second of one text and of eight in each round, and the perplexity."""

    one: Spread
    eight: Spread
    perplexity: float


def measure(place: Place) -> Section:
    """Let all sides write in turns."""
    texts = [text for text, _ in reviews(place, "imdb") if len(text) > 2000][:_N_TEXTS]
    rounds: dict[Side, list[Mapping[str, float]]] = {side: [] for side in _SIDES}
    for _ in place.rounds(_N_ROUNDS, "writing"):
        for side in _SIDES:
            rounds[side].append(_asked(place, side, texts))
    found = {side: _found(several) for side, several in rounds.items()}
    return Section(
        name="decoding",
        title="A language model writes",
        goals=_goals(found),
        tables=(_table(found),),
        notes=(
            f"{WRITER}, {_BEGIN_TOKENS} tokens of a film review to go on from, {_N_NEW} new ones, greedy, on "
            f"{survey().n_cores} cores; malloc tuned on every side. Beginnings are read within the time. `bf16` of "
            "transformers is all of the network in it; `int8` of ours keeps weights in eight bits.",
            f"Perplexity is of {_N_TEXTS} reviews' first {_COST_TOKENS} tokens.",
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


def _found(several: Sequence[Mapping[str, float]]) -> Found:
    return Found(
        Spread(tuple(one["streams_1"] for one in several)),
        Spread(tuple(one["streams_8"] for one in several)),
        several[0]["perplexity"],
    )


def _goals(found: Mapping[Side, Found]) -> list[Goal]:
    ours, base = found[_FASTEST], found[_BASE]
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


def _table(found: Mapping[Side, Found]) -> Table:
    head = ("side", "one text, tokens/s", "eight texts, tokens/s", "perplexity")
    rows = [
        (" ".join(side), one.one.shown(1), one.eight.shown(1), f"{one.perplexity:.2f}")
        for side, one in found.items()
    ]
    return Table(head, rows)
