"""What is told of a model that is watched: ``GET /v1/models/{name}/monitoring``, and how that is described.

It knows no task; what was counted and tested it has from `drift`. Of a model with versions each is told of by itself,
held against its own fit, with its share of the requests and what came of them; so is each model of a chain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

from topwork.evaluation.drift import difference
from topwork.evaluation.intervals import wilson
from topwork.serving.http.messages import Request, Response, json_response
from topwork.serving.http.routes import Route
from topwork.serving.protocols.places import name_parameter
from topwork.serving.protocols.schemas import Object, closed, operation, ref
from topwork.serving.traffic.admin import trials
from topwork.serving.traffic.versions import Versions
from topwork.serving.watching.drift import LEVEL, Verdict, Watch, Window, word_name

if TYPE_CHECKING:
    from topwork.contracts import Array, Estimate, Json, Profile, Reference, Servable
    from topwork.serving.hosting import Hosted, Models
    from topwork.serving.replicas.staffing import Staffed
    from topwork.serving.traffic.shares import Traffic
    from topwork.serving.watching.durations import Durations

__all__ = ["PATH", "components", "paths", "report", "routes", "told"]

PATH: Final = "/v1/models/{name}/monitoring"
MOST_LABELS: Final = 50
"""Of more labels those are told whose share moved most."""
TOLD: Final = (10, 50, 90)
"""Percentiles of numbers that are told."""
REPLICA_STATES: Final = ("starting", "ready", "leaving")


def routes(models: Models) -> tuple[Route, ...]:
    """Return the one route."""
    return (Route("GET", PATH, _Monitoring(models).show),)


@dataclass(frozen=True, slots=True)
class _Monitoring:
    models: Models

    async def show(self, _: Request, name: str) -> Response:
        hosted = self.models.named(name)
        return json_response({"model": hosted.servable.name, **told(hosted)})


def told(hosted: Hosted) -> dict[str, Json]:
    """Return what is told of a model: of one with versions sums, and each of them by itself."""
    if not isinstance(hosted, Versions):
        alone: dict[str, Json] = {"versions": [], "canary": None, "shadows": []}
        return {**_seen(hosted), **alone}
    members, traffic = hosted.members, hosted.traffic
    watches = [members[version].watch for version in traffic.counts]
    known = hosted.to_json()
    return {
        "load": _load(list(members.values())),
        "replicas": None,
        "answers": sum(one.n_answers for one in watches),
        "window": watches[0].size,
        "windows": sum(one.n_windows for one in watches),
        "drifted": sum(one.n_drifted for one in watches),
        "filling": None,
        "last": None,
        "parts": [],
        "versions": [_version(members[name], name, traffic) for name in traffic.shares],
        "canary": known["canary"],
        "shadows": known["shadows"],
    }


def _version(hosted: Hosted, name: str, traffic: Traffic) -> dict[str, Json]:
    took = _steps([traffic.durations[name]])
    return {
        "version": name,
        "state": hosted.state,
        "share": traffic.shares[name],
        **traffic.counts[name],
        "took": took,
        **_seen(hosted),
    }


def _seen(hosted: Hosted) -> dict[str, Json]:
    parts: list[Json] = [{"part": name, **report(one)} for name, one in hosted.watch.parts.items()]
    load = {"load": _load([hosted]), "replicas": _replicas(hosted.staff)}
    return {**load, **report(hosted.watch), "parts": parts}


def _load(hosted: Sequence[Hosted]) -> dict[str, Json]:
    """Return who is in line and at work, and a histogram of work."""
    return {
        "waiting": sum(one.n_waiting for one in hosted),
        "working": sum(one.n_working for one in hosted),
        "work": _steps([one.gate.worked for one in hosted]),
    }


def _steps(durations: Sequence[Durations]) -> list[Json]:
    """Return a histogram: steps in seconds, each with how often it was not exceeded."""
    joined = zip(*(one.cumulated() for one in durations), strict=True)
    return [
        [None if step == inf else step, sum(n for _, n in same)] for same in joined for step, _ in same[:1]
    ]


def _replicas(staff: Staffed | None) -> Json:
    """Return how many worker processes there are to be, and what they do; None where the model has none."""
    if staff is None:
        return None
    head = staff.headcount
    return {"wanted": head.wanted, **{state: head.states.get(state, 0) for state in REPLICA_STATES}}


def report(watch: Watch) -> dict[str, Json]:
    """Return what a watch saw: all answers, the window that is filling, and the last full one with its tests."""
    reference = watch.reference
    if reference is None:
        return {
            "answers": watch.n_answers,
            "window": watch.size,
            "windows": 0,
            "drifted": 0,
            "filling": None,
            "last": None,
        }
    last = watch.last
    return {
        "answers": watch.n_answers,
        "window": watch.size,
        "windows": watch.n_windows,
        "drifted": watch.n_drifted,
        "filling": _view(watch.current, reference),
        "last": None if last is None else {**_view(last.window, reference), **_verdict(last)},
    }


def _verdict(tested: Verdict) -> dict[str, Json]:
    tests: list[Json] = [
        {
            "what": one.what,
            "distance": one.shift.distance,
            "p_value": one.shift.p_value,
            "is_significant": one.is_significant,
        }
        for one in tested.tests
    ]
    return {"has_drifted": tested.has_drifted, "level": LEVEL, "tests": tests}


def _view(window: Window, reference: Reference) -> dict[str, Json]:
    # Threads go on counting meanwhile; the number of answers is read once, and no share goes above it.
    n, expected = window.n, reference.out_of_domain
    strange = None if expected is None else _estimate(wilson(min(window.n_strange, n), n))
    return {
        "answers": n,
        "out_of_domain": None if strange is None or not n else {**strange, "expected": expected},
        "labels": list(_labels(window, reference, n)),
        "numbers": list(_numbers(window, reference)),
    }


def _labels(window: Window, reference: Reference, n: int) -> Iterator[Json]:
    for target, profile in reference.profiles.items():
        for word, then in profile.counts.items():
            if n and (now := window.labels.get((target, word))) is not None:
                yield {"what": word_name(target, word), "shares": _shares(profile, then, dict(now), n)}


def _shares(profile: Profile, then: Mapping[str, int], now: Mapping[str, int], n: int) -> list[Json]:
    moved = {
        name: difference((count, profile.n), (min(now.get(name, 0), n), n)) for name, count in then.items()
    }
    most = sorted(moved, key=lambda name: -abs(moved[name].value))[:MOST_LABELS]
    return [
        {
            "label": name,
            "then": then[name] / profile.n,
            "now": _estimate(wilson(min(now.get(name, 0), n), n)),
            "difference": _estimate(moved[name]),
        }
        for name in then
        if name in most
    ]


def _numbers(window: Window, reference: Reference) -> Iterator[Json]:
    for target, profile in reference.profiles.items():
        for word, then in profile.spreads.items():
            if now := list(window.numbers.get((target, word), ())):
                spread: Array = np.percentile(now, TOLD)
                yield {
                    "what": word_name(target, word),
                    "percentiles": list(TOLD),
                    "then": [float(then[one]) for one in TOLD],
                    "now": spread.tolist(),
                }


def _estimate(found: Estimate) -> dict[str, Json]:
    return {"value": found.value, "low": found.low, "high": found.high}


# --- as OpenAPI describes it ------------------------------------------------------------------------------


def paths(parts: Mapping[str, Servable]) -> Object:
    """Return the path for the description."""
    summary = "What was asked and answered of late, held against the time of the fit."
    get = operation("monitoring", summary, ref("Monitoring"), (404, 500))
    return {PATH: {"parameters": [name_parameter(parts)], "get": get}}


def components() -> Object:
    """Return the schemas that `paths` refers to."""
    count: Json = {"type": "integer", "minimum": 0}
    number: Json = {"type": "number"}
    share: Json = {"type": "number", "minimum": 0, "maximum": 1}
    words: Json = {"type": "string"}
    estimate: Json = closed({"value": number, "low": number, "high": number})
    told = closed({"label": words, "then": share, "now": estimate, "difference": estimate})
    three: Json = {"type": "array", "items": number, "minItems": len(TOLD), "maxItems": len(TOLD)}
    strange = closed({"value": number, "low": number, "high": number, "expected": share})
    view: Object = {
        "answers": count,
        "out_of_domain": {"anyOf": [strange, {"const": None}]},
        "labels": {"type": "array", "items": closed({"what": words, "shares": _list(told)})},
        "numbers": _list(closed({"what": words, "percentiles": three, "then": three, "now": three})),
    }
    test = closed({"what": words, "distance": share, "p_value": share, "is_significant": {"type": "boolean"}})
    last = closed({**view, "has_drifted": {"type": "boolean"}, "level": share, "tests": _list(test)})
    counts: Object = dict.fromkeys(("answers", "window", "windows", "drifted"), count)
    windows: Object = {
        "filling": {"anyOf": [closed(view), {"const": None}]},
        "last": {"anyOf": [last, {"const": None}]},
    }
    watched: Object = {**counts, **windows}
    seen: Object = {**_of_load(), **watched, "parts": _list(closed({"part": words, **watched}))}
    state: Json = {"enum": ["starting", "ready", "failed"]}
    came: Object = {"answered": count, "failed": count, "took": _histogram()}
    version = closed({"version": words, "state": state, "share": share, **came, **seen})
    return {"Monitoring": closed({"model": words, **seen, "versions": _list(version), **trials()})}


def _of_load() -> Object:
    count: Json = {"type": "integer", "minimum": 0}
    load: Json = closed({"waiting": count, "working": count, "work": _histogram()})
    replicas = closed(dict.fromkeys(("wanted", *REPLICA_STATES), count))
    return {"load": load, "replicas": {"anyOf": [replicas, {"const": None}]}}


def _histogram() -> Object:
    bound: Json = {"anyOf": [{"type": "number"}, {"const": None}]}
    return _list({"type": "array", "items": bound, "minItems": 2, "maxItems": 2})


def _list(items: Json) -> Object:
    return {"type": "array", "items": items}
