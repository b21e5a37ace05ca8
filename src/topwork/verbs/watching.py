"""`top`: what a running server does at this moment, out of two looks at its ``/metrics``.

It knows the names of the metrics and their text format, and neither a terminal nor a model.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from topwork.contracts import Clock
from topwork.errors import UsageError

__all__ = [
    "METRICS",
    "OF_REPLICAS",
    "OF_VERSIONS",
    "Load",
    "Look",
    "ModelLoad",
    "VersionLoad",
    "load_between",
    "look",
    "parse",
]

Labels = frozenset[tuple[str, str]]
Samples = Mapping[str, Mapping[Labels, float]]

METRICS: Final = (
    "topwork_requests_total",
    "topwork_refused_requests_total",
    "topwork_requests_in_flight",
    "topwork_request_duration_seconds_bucket",
    "topwork_build_info",
    "topwork_ready",
    "topwork_waiting_requests",
    "topwork_working_requests",
    "topwork_wait_seconds_bucket",
    "topwork_work_seconds_bucket",
    "topwork_work_seconds_count",
    "topwork_answers_total",
    "topwork_out_of_domain_total",
    "topwork_drift_windows_total",
    "topwork_drifted_windows_total",
    "topwork_drift_distance",
)
"""What is read."""
OF_REPLICAS: Final = ("topwork_replicas", "topwork_replicas_wanted")
"""What is read of models with worker processes."""
OF_VERSIONS: Final = (
    "topwork_version_share",
    "topwork_version_requests_total",
    "topwork_version_duration_seconds_bucket",
    "topwork_canary_phase",
    "topwork_canary_decided_timestamp_seconds",
)
"""What is read of models with versions."""

_LINE: Final = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: \S+)?$")
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPES: Final = {r"\\": "\\", r"\"": '"', r"\n": "\n"}
_LONGEST_BYTES: Final = 16 * 2**20
_SHED: Final = ("busy", "deadline_exceeded")
_PREDICTING: Final = ("predict", "explain", "infer", "invocations")
"""Ends of the routes that ask a model, whose latency is told."""


@dataclass(frozen=True, slots=True)
class Look:
    """The metrics of a server at one moment; ``at_s`` is a reading of a clock."""

    at_s: float
    samples: Samples


@dataclass(frozen=True, slots=True)
class ModelLoad:
    """One model between two looks; shares and times are None where nothing happened that they could be told of.

    Attributes
    ----------
    name
        With its version behind an @; of a model of a chain the chain's name, a slash and its own.
    is_ready
        Whether it has passed its proof; None of a model of a chain, which is watched but not asked by itself.
    answers_per_s
        Answers, not requests.
    p50_s, p99_s
        Percentiles of the time at work.
    wait_p99_s
        Of the time in line.
    n_replicas, n_replicas_ready
        Worker processes that there are to be, and those that answer; None of a model without any.
    out_of_domain
        Share of the answers since the server began whose input was called so; None where the model knows no domain.
    n_windows, n_drifted
        Windows of answers that were tested since the server began, and those that had drifted.
    most_drifted
        What moved most in the last full window, and how far, 0 to 1.
    """

    name: str
    is_ready: bool | None
    n_waiting: int
    n_working: int
    answers_per_s: float
    p50_s: float | None
    p99_s: float | None
    wait_p99_s: float | None
    n_replicas: int | None
    n_replicas_ready: int | None
    out_of_domain: float | None
    n_windows: int
    n_drifted: int
    most_drifted: tuple[str, float] | None


@dataclass(frozen=True, slots=True)
class VersionLoad:
    """One version of a model between two looks, in requests; times are from the body to the answer.

    Attributes
    ----------
    share
        Of the requests that come now.
    n_answered, n_failed
        Since the trial began, or the server where there is none.
    phase
        Of a canary: ``trial``, ``promoted`` or ``rolled back``; empty of another version.
    decided_s
        When a canary's trial ended, in seconds since 1970.
    """

    model: str
    version: str
    share: float
    requests_per_s: float
    n_answered: int
    n_failed: int
    p50_s: float | None
    p99_s: float | None
    phase: str
    decided_s: float | None


@dataclass(frozen=True, slots=True)
class Load:
    """A server between two looks; times are from the headers of a request to the end of its response."""

    version: str
    seconds: float
    requests_per_s: float
    errors_per_s: float
    shed_per_s: float
    n_in_flight: int
    p50_s: float | None
    p99_s: float | None
    models: tuple[ModelLoad, ...]
    versions: tuple[VersionLoad, ...] = ()


def look(
    url: str, key: str | None = None, *, clock: Clock = time.perf_counter, timeout_s: float = 5.0
) -> Look:
    """Read the metrics of a server.

    Parameters
    ----------
    url
        Of the server, as `topwork serve` says it.
    key
        An API key that is good for its metrics, where it asks for one.

    Raises
    ------
    UsageError
        It is no URL of a server that can be reached, or the key is not good.
    """
    at = _metrics_url(url)
    request = Request(at, headers={"x-api-key": key} if key else {})  # noqa: S310 - http or https, see above
    try:
        with urlopen(request, timeout=timeout_s) as response:  # noqa: S310
            text = response.read(_LONGEST_BYTES).decode("utf-8", "replace")
    except HTTPError as error:
        error.close()
        step = (
            "Give a key with --key."
            if error.code in (401, 403)
            else "Is this the address of a topwork server?"
        )
        raise UsageError(f"{at} answered with status {error.code}.", next_step=step) from error
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise UsageError(
            f"{at} cannot be reached: {reason}.",
            next_step="Start it with `topwork serve`, or check the address.",
        ) from error
    samples = parse(text)
    if "topwork_build_info" not in samples:
        raise UsageError(
            f"{at} gives no metrics of topwork.", next_step="Give the address of a topwork server."
        )
    return Look(clock(), samples)


def _metrics_url(url: str) -> str:
    full = url if "://" in url else f"http://{url}"
    parts = urlsplit(full)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{url!r} is no URL.", next_step="Write it like http://127.0.0.1:8000.")
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}/metrics"


def parse(text: str) -> dict[str, dict[Labels, float]]:
    """Read Prometheus' text format; lines that are none of it are left out."""
    found: dict[str, dict[Labels, float]] = {}
    for line in text.splitlines():
        if line.startswith("#") or (parts := _LINE.match(line)) is None:
            continue
        name, labels, number = parts.groups()
        named = {key: _plain(value) for key, value in _LABEL.findall(labels or "")}
        try:
            found.setdefault(name, {})[frozenset(named.items())] = float(number)
        except ValueError:
            continue
    return found


def _plain(value: str) -> str:
    return re.sub(r"\\.", lambda found: _ESCAPES.get(found[0], found[0]), value)


# --- from two looks to what goes on -----------------------------------------------------------------------


def load_between(before: Look, after: Look) -> Load:
    """Return what went on between two looks; a server that was started anew meanwhile is told from its start."""
    seconds = max(after.at_s - before.at_s, 1e-9)
    gained = _gain(before.samples, after.samples)
    # Those of a chain have answers, and are not asked by themselves.
    known = ("topwork_ready", "topwork_answers_total")
    names = dict.fromkeys(
        dict(labels).get("model", "") for metric in known for labels in after.samples.get(metric, {})
    )
    info: Labels = next(iter(after.samples.get("topwork_build_info", {})), frozenset())
    latency = _steps(gained("topwork_request_duration_seconds_bucket", _asks_a_model))
    requests = sum(n for _, n in gained("topwork_requests_total", lambda _: True))
    errors = sum(n for _, n in gained("topwork_requests_total", _is_error))
    shed = sum(n for _, n in gained("topwork_refused_requests_total", lambda one: one.get("code") in _SHED))
    in_flight = sum(after.samples.get("topwork_requests_in_flight", {}).values())
    return Load(
        version=dict(info).get("version", ""),
        seconds=seconds,
        requests_per_s=requests / seconds,
        errors_per_s=errors / seconds,
        shed_per_s=shed / seconds,
        n_in_flight=max(0, int(in_flight) - 1),  # the one that asks
        p50_s=_quantile(latency, 0.5),
        p99_s=_quantile(latency, 0.99),
        models=tuple(_model(name, after.samples, gained, seconds) for name in names),
        versions=tuple(_versions(after.samples, gained, seconds)),
    )


Gained = Callable[[str, Callable[[Mapping[str, str]], bool]], list[tuple[Mapping[str, str], float]]]


def _gain(before: Samples, after: Samples) -> Gained:
    """Return what tells by how much the counts of a metric grew, of those whose labels pass."""

    def gained(
        name: str, passes: Callable[[Mapping[str, str]], bool]
    ) -> list[tuple[Mapping[str, str], float]]:
        old = before.get(name, {})
        pairs = ((dict(labels), n - old.get(labels, 0.0), n) for labels, n in after.get(name, {}).items())
        # A count that fell is one of a server that was started anew.
        return [(labels, grown if grown >= 0 else n) for labels, grown, n in pairs if passes(labels)]

    return gained


def _asks_a_model(labels: Mapping[str, str]) -> bool:
    return labels.get("route", "").rsplit("/", 1)[-1] in _PREDICTING


def _is_error(labels: Mapping[str, str]) -> bool:
    return labels.get("status", "").startswith("5")


def _model(name: str, samples: Samples, gained: Gained, seconds: float) -> ModelLoad:
    def is_own(labels: Mapping[str, str]) -> bool:
        return labels.get("model") == name

    def now(metric: str, state: str | None = None) -> float:
        found = ((dict(labels), n) for labels, n in samples.get(metric, {}).items())
        return sum(n for labels, n in found if is_own(labels) and labels.get("state") in (state, None))

    def has(metric: str) -> bool:
        return any(is_own(dict(labels)) for labels in samples.get(metric, {}))

    work = _steps(gained("topwork_work_seconds_bucket", is_own))
    answers, knows_domain = now("topwork_answers_total"), has("topwork_out_of_domain_total")
    distances = {
        dict(labels).get("what", ""): n
        for labels, n in samples.get("topwork_drift_distance", {}).items()
        if is_own(dict(labels))
    }
    return ModelLoad(
        name=name,
        is_ready=now("topwork_ready") == 1 if has("topwork_ready") else None,
        n_waiting=int(now("topwork_waiting_requests")),
        n_working=int(now("topwork_working_requests")),
        answers_per_s=sum(n for _, n in gained("topwork_answers_total", is_own)) / seconds,
        p50_s=_quantile(work, 0.5),
        p99_s=_quantile(work, 0.99),
        wait_p99_s=_quantile(_steps(gained("topwork_wait_seconds_bucket", is_own)), 0.99),
        n_replicas=int(now("topwork_replicas_wanted")) if has("topwork_replicas_wanted") else None,
        n_replicas_ready=int(now("topwork_replicas", "ready")) if has("topwork_replicas_wanted") else None,
        out_of_domain=now("topwork_out_of_domain_total") / answers if answers and knows_domain else None,
        n_windows=int(now("topwork_drift_windows_total")),
        n_drifted=int(now("topwork_drifted_windows_total")),
        most_drifted=max(distances.items(), key=lambda one: one[1]) if distances else None,
    )


def _versions(samples: Samples, gained: Gained, seconds: float) -> Iterator[VersionLoad]:
    for labels, share in samples.get("topwork_version_share", {}).items():
        own = dict(labels)
        yield _version(own["model"], own["version"], share, (samples, gained, seconds))


def _version(model: str, version: str, share: float, seen: tuple[Samples, Gained, float]) -> VersionLoad:
    samples, gained, seconds = seen

    def is_own(labels: Mapping[str, str]) -> bool:
        return (labels.get("model"), labels.get("version")) == (model, version)

    def own(metric: str) -> list[tuple[dict[str, str], float]]:
        pairs = ((dict(labels), n) for labels, n in samples.get(metric, {}).items())
        return [(labels, n) for labels, n in pairs if is_own(labels)]

    took = _steps(gained("topwork_version_duration_seconds_bucket", is_own))
    counts = {labels["outcome"]: int(n) for labels, n in own("topwork_version_requests_total")}
    return VersionLoad(
        model=model,
        version=version,
        share=share,
        requests_per_s=sum(n for _, n in gained("topwork_version_requests_total", is_own)) / seconds,
        n_answered=counts.get("answered", 0),
        n_failed=counts.get("failed", 0),
        p50_s=_quantile(took, 0.5),
        p99_s=_quantile(took, 0.99),
        phase=next((labels["phase"] for labels, n in own("topwork_canary_phase") if n), ""),
        decided_s=next((n for _, n in own("topwork_canary_decided_timestamp_seconds")), None),
    )


def _steps(counts: Sequence[tuple[Mapping[str, str], float]]) -> list[tuple[float, float]]:
    """Return the steps of a histogram in seconds, each with how many do not exceed it."""
    found: dict[float, float] = {}
    for labels, n in counts:
        step = float(labels.get("le", "inf").replace("+Inf", "inf"))
        found[step] = found.get(step, 0.0) + n
    return sorted(found.items())


def _quantile(steps: Sequence[tuple[float, float]], share: float) -> float | None:
    """Return a quantile, evenly spread within a step; beyond the last step that step. None where there is no count."""
    if not steps or not steps[-1][1]:
        return None
    wanted = share * steps[-1][1]
    for (low, n_low), (high, n_high) in _intervals(steps):
        if n_high >= wanted:
            return (
                low
                if high == float("inf")
                else low + (high - low) * (wanted - n_low) / max(n_high - n_low, 1e-9)
            )
    return None


def _intervals(
    steps: Sequence[tuple[float, float]],
) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    return pairwise([(0.0, 0.0), *steps])
