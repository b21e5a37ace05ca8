"""The OpenAI API of a server: how soon a first token is there, and whether many clients are served alike."""

from __future__ import annotations

from benchmarks.decoding_side import WRITER
from benchmarks.figures import Goal, Spread, Table
from benchmarks.place import Place
from benchmarks.processes import TOPWORK, run_side
from benchmarks.results import Section
from benchmarks.servers import serving
from topwork.engines.machine import survey

_N_ROUNDS, _N_ALONE, _N_CLIENTS = 3, 20, 32
_MOST_FIRST_MS, _MOST_UNEVEN = 150.0, 2.0


def measure(place: Place) -> Section:
    """Ask one server in several rounds: one client after the other, then all at once."""
    rounds = []
    command = [*TOPWORK, "serve", "--trunk", WRITER]
    with serving(command, place.env()) as server:
        for _ in place.rounds(_N_ROUNDS, "asking"):
            asked = {"url": server.url, "n_alone": _N_ALONE, "n_clients": _N_CLIENTS}
            rounds.append(run_side("chatting_side", asked).last_json())
    first, all_first, uneven, failed, speed = (
        Spread(tuple(one[name] for one in rounds))
        for name in ("first_ms", "crowd_first_ms", "uneven", "n_failed", "tokens_per_s")
    )
    return Section(
        name="chatting",
        title="Texts over HTTP, streamed",
        goals=[
            Goal(
                "a first token after 64 tokens, nobody else there,", first, "at most", _MOST_FIRST_MS, "ms", 0
            ),
            Goal(f"of {_N_CLIENTS} clients at once, failed", failed, "at most", 0, "", 0),
            Goal(
                "tokens of the most served over those of the least", uneven, "at most", _MOST_UNEVEN, "times"
            ),
        ],
        tables=(
            Table(
                ("", "median of the rounds"),
                [
                    ("first token, one client, ms", first.shown(0)),
                    (f"first token, {_N_CLIENTS} clients at once, median of them, ms", all_first.shown(0)),
                    (f"tokens per second, {_N_CLIENTS} clients at once", speed.shown(0)),
                ],
            ),
        ),
        notes=(
            f"`topwork serve --trunk {WRITER}` on {survey().n_cores} cores, `/v1/completions` with `stream`, prompts "
            "of 64 tokens that are all different, so that no beginning is shared; clients on the same cores.",
            "How even: tokens of each client when the first one has all of its own.",
        ),
    )
