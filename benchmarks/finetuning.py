"""How fast adapters are trained on a language model: ours beside transformers' ``Trainer`` with PEFT.

All sides train the same adapters (LoRA of rank 16 on every layer below the head) on rows of the same plays, in steps of
as many tokens. Seconds are those of a step, without what comes before the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from benchmarks.figures import Goal, Spread, Table, ratios
from benchmarks.finetuning_side import BATCH, LENGTH, N_LATE
from benchmarks.place import Place
from benchmarks.plays import SOURCE, plays
from benchmarks.processes import MALLOC_TUNED, run_side
from benchmarks.results import Section
from topwork.engines.machine import survey

Side: TypeAlias = tuple[str, str]

_N_ROUNDS = 3
_OURS: Side = ("topwork", "bf16")
_TUNED: Side = ("Trainer and PEFT", "tuned")
_PLAIN: Side = ("Trainer and PEFT", "as documented")
_LEAST_TUNED, _LEAST_PLAIN, _MOST_MEMORY = 1.0, 1.3, 1.0


def measure(place: Place) -> Section:
    """Let all sides train in turns."""
    folder = plays(place)
    rounds: dict[Side, list[Mapping[str, float]]] = {side: [] for side in (_OURS, _TUNED, _PLAIN)}
    for _ in place.rounds(_N_ROUNDS, "training"):
        for side in rounds:
            asked = {"side": side, "folder": str(folder), "cache": str(place.topwork_cache)}
            ended = run_side("finetuning_side", asked, MALLOC_TUNED if side != _PLAIN else None)
            found = {**ended.last_json(), "peak_gb": ended.peak_rss_bytes / 1e9}
            rounds[side].append(found)
            print(f"  {', '.join(side)}: {found['tokens_per_s']:.0f} tokens per second", flush=True)
    speed = {side: Spread(tuple(one["tokens_per_s"] for one in several)) for side, several in rounds.items()}
    peak = {side: Spread(tuple(one["peak_gb"] for one in several)) for side, several in rounds.items()}
    return Section(
        name="finetuning",
        title="Adapters on a language model, step by step",
        goals=[
            _goal("as tuned,", ratios(speed[_OURS], speed[_TUNED]), "at least", _LEAST_TUNED),
            _goal("as documented,", ratios(speed[_OURS], speed[_PLAIN]), "at least", _LEAST_PLAIN),
            _goal("peak memory, as tuned,", ratios(peak[_OURS], peak[_TUNED]), "at most", _MOST_MEMORY),
        ],
        tables=(
            Table(
                ("side", "tokens per second", "peak, GB"),
                [(", ".join(side), speed[side].shown(0), peak[side].shown(1)) for side in rounds],
            ),
        ),
        notes=(
            f"smollm2-135m, {BATCH} rows of {LENGTH} tokens a step, {N_LATE} steps after the first ones, plays of "
            f"{SOURCE}, {survey().n_cores} cores. As documented: fp32. Tuned: bf16, malloc tuned. Ours: bf16, malloc "
            "tuned, the recipe that a fit runs, with next to nothing to validate.",
        ),
    )


def _goal(what: str, measured: Spread, relation: Literal["at most", "at least"], limit: float) -> Goal:
    return Goal(what, measured, relation, limit, "times Trainer and PEFT")
