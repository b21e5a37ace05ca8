"""The chess bundle behind `topwork serve`, and its network behind LitServe and BentoML, with batching on; photos in.

Beside them the bare loop that decodes and runs the network: more than that no server answers.
"""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.environments import interpreter
from benchmarks.figures import Goal, Spread, Table, ratios
from benchmarks.place import Place
from benchmarks.processes import ROOT, pinned, run_side
from benchmarks.results import Section
from benchmarks.serve_ready import typical
from benchmarks.servers import client_cores, of_bundle, server_cores, serving
from benchmarks.serving_sides import Serving
from benchmarks.wrk import Load, NoAnswerError, Post, load

REQUIREMENTS = (
    "litserve==0.2.19",
    "bentoml==1.4.39",
    "onnxruntime==1.31.1",
    "openvino==2026.4.1",
    "pillow==13.0.0",
)

_N_CLIENTS = 16
_N_ROUNDS = 3
_LOAD_S, _TRY_S, _QUICK_S = 20, 6, 6
_WARM_S = 4
_N_BARE, _QUICK_N_BARE = 1000, 60
_LEAST_TIMES, _LEAST_OF_BARE = 3.0, 0.8
_LATENCY_MS = 30_000
"""What BentoML may take over an answer before it turns requests away; so that it turns none away."""
_AS_IT_COMES = Serving()
_BOUNDARY = "photo-in-a-form"


@dataclass(frozen=True, slots=True)
class _Peer:
    """One server: how it is started with some settings, where it tells that it is ready, what it is sent."""

    name: str
    command: Callable[[Serving], tuple[list[str], dict[str, str]]]
    health: str
    path: str
    body: Path
    media_type: str

    @contextmanager
    def serving(self, settings: Serving) -> Iterator[Post]:
        """Run it until the block ends."""
        command, env = self.command(settings)
        with serving(pinned(command, server_cores()), env, health=self.health) as server:
            yield Post(f"{server.url}{self.path}", self.body, self.media_type)


def measure(place: Place) -> Section:
    """Try the peers' settings, then measure all in rounds."""
    bundle, photo = place.bundle(), place.temporary / "photo.jpg"
    photo.write_bytes(typical(place.photos()))
    network = {"bundle": str(bundle), "network": str(place.temporary / "network.onnx")}
    told = run_side("network_side", network, place.env()).last_json()
    ours = _Peer(
        "topwork", lambda _: (of_bundle(bundle), place.env()), "/readyz", "/predict", photo, "image/jpeg"
    )
    peers = _peers(place, photo, told)
    expected = _label(ours, _AS_IT_COMES)
    tries = {peer.name: _tries(place, peer, expected) for peer in peers}
    best = {name: max(found, key=lambda one: found[one].per_s) for name, found in tries.items()}
    sides: dict[str, tuple[_Peer, Serving]] = {"`topwork serve`": (ours, _AS_IT_COMES)}
    for peer in peers:
        sides[f"{peer.name}, as it comes"] = (peer, _AS_IT_COMES)
        sides[f"{peer.name}, {best[peer.name].shown()}"] = (peer, best[peer.name])
    rounds = [_round(place, bundle, photo, sides) for _ in place.rounds(_N_ROUNDS, "servers")]
    return _section(rounds, list(sides), photo)


def _peers(place: Place, photo: Path, told: Mapping[str, Any]) -> tuple[_Peer, ...]:
    python = str(interpreter(place.cache / "servers", REQUIREMENTS))
    as_json, as_form = place.temporary / "photo.json", place.temporary / "photo.form"
    content = photo.read_bytes()
    as_json.write_text(json.dumps({"image": base64.b64encode(content).decode("ascii")}), encoding="ascii")
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="photo.jpg"\r\n'
    as_form.write_bytes(
        f"{head}Content-Type: image/jpeg\r\n\r\n".encode() + content + f"\r\n--{_BOUNDARY}--\r\n".encode()
    )
    env = {"PYTHONPATH": str(ROOT)}

    def litserve(settings: Serving) -> tuple[list[str], dict[str, str]]:
        asked = json.dumps({**told, "settings": asdict(settings)})
        return [python, "-m", "benchmarks.litserve_side", asked], env

    def bentoml(settings: Serving) -> tuple[list[str], dict[str, str]]:
        asked = json.dumps({**told, "settings": asdict(settings), "latency_ms": _LATENCY_MS})
        command = [python, "-m", "bentoml", "serve", "benchmarks.bentoml_side:Photos", "--host", "127.0.0.1"]
        quiet = {"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(place.temporary / "bentoml")}
        return command, {**env, **quiet, "TOPWORK_BENCHMARK_ASKED": asked}

    return (
        _Peer("LitServe", litserve, "/health", "/predict", as_json, "application/json"),
        _Peer(
            "BentoML", bentoml, "/readyz", "/predict", as_form, f"multipart/form-data; boundary={_BOUNDARY}"
        ),
    )


def settings_to_try(n_cores: int) -> Iterator[Serving]:
    """Give what a user would try who wants the most out of a peer; the first is as it comes."""
    yield _AS_IT_COMES
    for engine in ("onnxruntime", "openvino"):
        for max_batch, wait_ms in ((8, 2.0), (16, 5.0), (16, 0.5)):
            for n_threads in (0, n_cores):
                yield Serving(engine, max_batch, wait_ms, n_threads=n_threads, reduces_early=True)
        if n_cores > 1:
            yield Serving(engine, 8, 2.0, n_workers=n_cores, n_threads=1, reduces_early=True)


def _tries(place: Place, peer: _Peer, expected: str) -> dict[Serving, Load]:
    found: dict[Serving, Load] = {}
    for settings in settings_to_try(len(server_cores())):
        if place.is_quick and len(found) == 2:
            break
        with peer.serving(settings) as post:
            if (label := _label_at(post)) != expected:
                raise RuntimeError(f"{peer.name} answers {label!r}; topwork answers {expected!r}.")
            try:
                found[settings] = _loaded(post, _QUICK_S if place.is_quick else _TRY_S)
            except NoAnswerError as none:
                print(f"  {peer.name}, {settings.shown()}: {none}", flush=True)
                continue
        print(f"  {peer.name}, {settings.shown()}: {found[settings].per_s:.1f} per s", flush=True)
    return found


def _loaded(post: Post, seconds: int) -> Load:
    load(post, n_clients=_N_CLIENTS, seconds=_WARM_S, cores=client_cores())
    return load(post, n_clients=_N_CLIENTS, seconds=seconds, cores=client_cores())


def _label(peer: _Peer, settings: Serving) -> str:
    with peer.serving(settings) as post:
        return _label_at(post)


def _label_at(post: Post) -> str:
    request = urllib.request.Request(post.url, post.body.read_bytes(), {"Content-Type": post.media_type})
    with urllib.request.urlopen(request, timeout=60) as response:
        told: Any = json.load(response)
    # topwork says which model answered, BentoML gives a list, LitServe one answer.
    answers = told.get("predictions", [told]) if isinstance(told, dict) else told
    return str(answers[0]["label"])


def _round(
    place: Place, bundle: Path, photo: Path, sides: Mapping[str, tuple[_Peer, Serving]]
) -> dict[str, tuple[float, float, float]]:
    """Measure each side: answers per second, median and 99th percentile in milliseconds; the bare loop last."""
    found = {}
    for name, (peer, settings) in sides.items():
        with peer.serving(settings) as post:
            seen = _loaded(post, _QUICK_S if place.is_quick else _LOAD_S)
        found[name] = (seen.per_s, seen.median_ms, seen.p99_ms)
    n = _QUICK_N_BARE if place.is_quick else _N_BARE
    asked = {"bundle": str(bundle), "photo": str(photo), "n": n, "n_threads": _N_CLIENTS}
    bare = run_side("answering_side", asked, place.env(), cores=server_cores()).last_json()
    return {**found, _BARE: (bare["per_s"], float("nan"), float("nan"))}


_BARE = "in process"


def _section(
    rounds: Sequence[Mapping[str, tuple[float, float, float]]], sides: Sequence[str], photo: Path
) -> Section:
    def spread(name: str, place: int = 0) -> Spread:
        return Spread(tuple(one[name][place] for one in rounds))

    ours = spread(sides[0])
    goals = [
        Goal(
            f"answers per second, over {name}:",
            ratios(ours, spread(name)),
            "at least",
            _LEAST_TIMES,
            "times",
            1,
        )
        for name in sides[1:]
    ]
    of_bare = Goal(
        "answers per second, of the bare loop's:", ratios(ours, spread(_BARE)), "at least", _LEAST_OF_BARE, ""
    )
    rows = [(name, *(spread(name, place).shown(1) for place in range(3))) for name in sides]
    return Section(
        name="serve_peers",
        title="Serving, beside others",
        goals=[*goals, of_bare],
        tables=(
            Table(
                ("side", "answers per s", "median, ms", "99 % within, ms"),
                [*rows, (_BARE, spread(_BARE).shown(1), "", "")],
            ),
        ),
        notes=(
            f"{_N_CLIENTS} clients of wrk on the last core, servers on the others, {len(server_cores())} here. One "
            f"JPEG of {photo.stat().st_size / 1000:.0f} kB: as the body (topwork), in base64 in JSON (LitServe), in "
            "a form (BentoML), as their tutorials have it.",
            f"The peers run the bundle's own graph, in an environment with {', '.join(REQUIREMENTS)}; as they come in "
            "ONNX Runtime, and with the best of the settings that were tried before the rounds: engines, batches, "
            "waits, workers, JPEGs that are reduced early. topwork runs as it comes.",
            "“In process” decodes and runs the bundle's network in a loop of as many threads, on the servers' cores.",
        ),
    )
