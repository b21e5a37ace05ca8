"""How long requests wait that come as they like, beside a queue without any cost of its own."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Goal, Spread, Table
from benchmarks.place import Place
from benchmarks.processes import pinned, run_side
from benchmarks.queueing import percentile, times_in_queue
from benchmarks.results import Section
from benchmarks.serve_ready import typical
from benchmarks.servers import client_cores, of_bundle, of_trivial, server_cores, serving

_N_ROUNDS = 3
_LOAD = 0.5
_N_BEFORE, _N_SERVED, _N_ARRIVALS = 20, 1000, 4000
_QUICK_N = 200
_N_SIMULATED = 40
_MEAN_SERVICE_S = 0.01
_N_PLACES = 2
_MOST_TIMES = 1.3


@dataclass(frozen=True, slots=True)
class _Round:
    """Seconds between arrival and answer: the median and the 99th percentile of ours and of the ideal queue."""

    per_s: float
    median_s: float
    p99_s: float
    ideal_median_s: float
    ideal_p99_s: float

    @property
    def times(self) -> float:
        return self.p99_s / self.ideal_p99_s


def measure(place: Place) -> Section:
    """Go through a model that sleeps and one of photos."""
    photo, byte = place.temporary / "photo.jpg", place.temporary / "byte"
    photo.write_bytes(typical(place.photos()))
    byte.write_bytes(b"x")
    sleeping = of_trivial(
        service="exponential",
        mean_s=_MEAN_SERVICE_S,
        limits={"max_concurrent": _N_PLACES, "max_waiting": 1000},
    )
    of_photos = of_bundle(
        place.bundle(), "--max-concurrent", str(len(server_cores())), "--max-waiting", "1000"
    )
    kinds = {
        "sleeps, exponential": _rounds(place, sleeping, byte, "application/octet-stream", _N_PLACES),
        "chess photos": _rounds(place, of_photos, photo, "image/jpeg", len(server_cores())),
    }
    return _section(kinds)


def _rounds(place: Place, command: list[str], body: Path, media_type: str, n_places: int) -> list[_Round]:
    with serving(pinned(command, server_cores()), place.env()) as server:
        asked = {
            "port": server.port,
            "body": str(body),
            "media_type": media_type,
            "n_places": n_places,
            "n_before": _N_BEFORE,
            "n_served": _QUICK_N if place.is_quick else _N_SERVED,
            "n_arrivals": _QUICK_N if place.is_quick else _N_ARRIVALS,
            "load": _LOAD,
        }
        return [_round({**asked, "seed": seed}, n_places) for seed in place.rounds(_N_ROUNDS, "arrivals")]


def _round(asked: dict[str, object], n_places: int) -> _Round:
    """Measure once, and simulate the same arrivals with service times drawn from those that were measured."""
    found = run_side("arriving_side", asked, cores=client_cores()).last_json()
    statuses = {status for _, status, _ in (*found["served"], *found["came"])}
    if statuses != {200}:
        raise RuntimeError(
            f"The statuses were {sorted(statuses)}; at half load every request is to be answered."
        )
    services_s = [took_s for _, _, took_s in found["served"]]
    arrivals_s, took_s = zip(*((at_s, took_s) for at_s, _, took_s in found["came"]), strict=True)
    draw = random.Random(asked["seed"])  # type: ignore[arg-type]  # it is a number
    ideal_s = [
        in_queue_s
        for _ in range(_N_SIMULATED)
        for in_queue_s in times_in_queue(arrivals_s, draw.choices(services_s, k=len(arrivals_s)), n_places)
    ]
    return _Round(
        found["per_s"],
        percentile(took_s, 0.5),
        percentile(took_s, 0.99),
        percentile(ideal_s, 0.5),
        percentile(ideal_s, 0.99),
    )


def _section(kinds: dict[str, list[_Round]]) -> Section:
    head = (
        "model", "answers per s at most", "ideal median, ms", "median, ms", "ideal 99 %, ms", "99 %, ms",
        "99 % over ideal",
    )  # fmt: skip
    return Section(
        name="serve_queue",
        title="Waiting behind others",
        goals=[
            Goal(
                f"{kind}: 99 % wait within", _times(rounds), "at most", _MOST_TIMES, "times the ideal queue's"
            )
            for kind, rounds in kinds.items()
        ],
        tables=(Table(head, [_row(kind, rounds) for kind, rounds in kinds.items()]),),
        notes=(
            "Requests of a Poisson process at half of the rate at which as many clients as there are places were "
            "answered, each asking again at once; their times are the service times. Times count from when a request "
            f"was to be sent. The ideal queue gets the same arrivals {_N_SIMULATED} times over, with service times "
            "drawn from these: one line, the first place that is free takes the first in line, "
            "and nothing costs anything.",
            f"The model that sleeps has {_N_PLACES} places and a mean of {1000 * _MEAN_SERVICE_S:.0f} ms. The server "
            f"has all cores but one, {len(server_cores())} here, and the client the last one.",
        ),
    )


def _times(rounds: list[_Round]) -> Spread:
    return Spread(tuple(one.times for one in rounds))


def _row(kind: str, rounds: list[_Round]) -> tuple[str, ...]:
    def in_ms(name: str) -> str:
        return Spread(tuple(1000 * getattr(one, name) for one in rounds)).shown(1)

    per_s = Spread(tuple(one.per_s for one in rounds)).shown(0)
    names = ("ideal_median_s", "median_s", "ideal_p99_s", "p99_s")
    return (kind, per_s, *map(in_ms, names), _times(rounds).shown())
