"""What a server counts of itself, and ``/metrics``, where Prometheus reads it.

With `traffic.metrics` the only module that imports prometheus_client, so import it inside a function.
It knows no task and no modality.
Requests are counted here as they end; what a model's gate counts is read when somebody asks, so that models may come
and go. Every application has a registry of its own: nothing is global.
"""

from __future__ import annotations

import time
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from topwork import __version__
from topwork.contracts import Clock
from topwork.serving.batching.crew import Crew
from topwork.serving.batching.gate import ByteBudget
from topwork.serving.batching.gathering import Gathered, gathered_of
from topwork.serving.hosting import Hosted, Models
from topwork.serving.http.messages import Request, Response
from topwork.serving.http.routes import Route
from topwork.serving.traffic.metrics import memory_families, steps_of, traffic_families
from topwork.serving.watching.drift import Watch
from topwork.serving.watching.durations import STEPS_S, Durations

if TYPE_CHECKING:
    from topwork.serving.jobs.jobs import Jobs

__all__ = ["Metrics", "Seen"]

Leaves: TypeAlias = Iterable[tuple[str, Hosted]]
UNKNOWN = "unknown"
GONE = "gone"
STEPS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Of a batch, in inputs."""


@dataclass(slots=True)
class Seen:
    """What is known of a request so far: its route, the status of its response, why it was refused, how long it took.

    A client that left before its response has the status ``gone``. What a client made up is never kept, so that it
    cannot fill the memory with names.
    """

    method: str = UNKNOWN
    route: str = UNKNOWN
    status: str = GONE
    refused: str = ""
    seconds: float = 0.0


class Metrics:
    """The counts of one application.

    Parameters
    ----------
    models, budget
        What is looked at whenever somebody asks.
    clock
        Seconds.
    jobs
        Where there are some, what is looked at as well.

    Attributes
    ----------
    registry
        Where others may count, too.
    """

    def __init__(
        self,
        models: Models,
        budget: ByteBudget,
        clock: Clock = time.perf_counter,
        *,
        jobs: Jobs | None = None,
    ) -> None:
        self.registry = registry = CollectorRegistry()
        self._shown = _WithoutBirths(registry)
        self._clock = clock
        self._requests = Counter(
            "topwork_requests",
            "Requests that have ended.",
            ("method", "route", "status"),
            registry=registry,
        )
        self._refused = Counter(
            "topwork_refused_requests",
            "Requests that got an error, by its code.",
            ("code",),
            registry=registry,
        )
        self._duration = Histogram(
            "topwork_request_duration_seconds",
            "From a request's headers to the end of its response.",
            ("route",),
            buckets=STEPS_S,
            registry=registry,
        )
        self._in_flight = Gauge("topwork_requests_in_flight", "Requests under way.", registry=registry)
        registry.register(_State(models, budget))
        if jobs is not None:
            registry.register(_OfJobs(jobs))
        ProcessCollector(registry=registry)

    @contextmanager
    def watching(self, on_end: Callable[[Seen], None] = lambda _: None) -> Iterator[Seen]:
        """Count one request, whatever its end, and hand on what is then known of it."""
        seen, began = Seen(), self._clock()
        self._in_flight.inc()
        try:
            yield seen
        finally:
            self._in_flight.dec()
            self._requests.labels(seen.method, seen.route, seen.status).inc()
            seen.seconds = self._clock() - began
            self._duration.labels(seen.route).observe(seen.seconds)
            if seen.refused:
                self._refused.labels(seen.refused).inc()
            on_end(seen)

    def routes(self) -> tuple[Route, ...]:
        """Return the one route."""
        return (Route("GET", "/metrics", self._show, "metrics"),)

    async def _show(self, request: Request) -> Response:
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        return Response(200, media_type, encode(self._shown))


class _WithoutBirths(Collector):
    """What a registry collects, without a series ``_created`` beside each other one, which says when that began.

    Prometheus keeps them as series of their own, and so doubles what it stores. prometheus_client has a switch for
    them, which goes for the whole process.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """Collect."""
        for family in self._registry.collect():
            family.samples = [one for one in family.samples if one.name != f"{family.name}_created"]
            yield family


class _State(Collector):
    """What is true of the models at the moment in which somebody asks."""

    def __init__(self, models: Models, budget: ByteBudget) -> None:
        self._models = models
        self._budget = budget

    def collect(self) -> Iterator[Metric]:
        """Read every model's gate."""
        every = self._models.every()
        hosted = [leaf for one in every for leaf in one.leaves()]
        yield _gauge("topwork_ready", "Whether a model has passed its proof.", hosted, _is_ready)
        yield _gauge("topwork_waiting_requests", "Requests in line.", hosted, lambda one: one.n_waiting)
        yield _gauge("topwork_working_requests", "Requests at work.", hosted, lambda one: one.n_working)
        yield from _staff(hosted)
        yield _histogram("topwork_wait_seconds", "Time in line.", hosted, lambda one: one.gate.waited)
        yield _histogram("topwork_work_seconds", "Time at work.", hosted, lambda one: one.gate.worked)
        yield from traffic_families(every)
        yield from memory_families(hosted)
        yield from _batches(
            [(title, found) for title, one in hosted if (found := one.crew or gathered_of(one.servable))]
        )
        yield GaugeMetricFamily(
            "topwork_buffered_bytes", "Bytes of request bodies in memory.", self._budget.held
        )
        yield from _watched(hosted)
        info = GaugeMetricFamily("topwork_build_info", "The version of topwork.", labels=("version",))
        info.add_metric((__version__,), 1)
        yield info


class _OfJobs(Collector):
    """What is true of jobs at the moment in which somebody asks."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def collect(self) -> Iterator[Metric]:
        """Read what is kept, and what has been counted."""
        kept = GaugeMetricFamily("topwork_jobs", "Jobs that are kept, by status.", labels=("status",))
        for status in ("queued", "running", "done", "failed"):
            kept.add_metric((status,), self._jobs.by_status.get(status, 0))
        yield kept
        yield GaugeMetricFamily("topwork_job_bytes", "Bytes of jobs' inputs and answers.", self._jobs.n_bytes)
        counts = self._jobs.counts
        yield _counter("topwork_ended_jobs", "Jobs that have ended.", "status", counts.ended)
        yield _counter("topwork_webhooks", "Tries to tell of an end, by outcome.", "outcome", counts.told)


def _counter(name: str, words: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, words, labels=(label,))
    for value, n in counts.items():
        family.add_metric((value,), n)
    return family


def _watched(hosted: Sequence[tuple[str, Hosted]]) -> Iterator[Metric]:
    """Tell what was asked and answered, held against the time of the fit where a model knows it."""
    counts: tuple[tuple[str, str, Callable[[Watch], int | None]], ...] = (
        ("topwork_answers", "Answers that were given.", lambda watch: watch.n_answers),
        ("topwork_out_of_domain", "Inputs called out of domain.", _n_strange),
        ("topwork_drift_windows", "Windows of answers that were tested.", lambda watch: watch.n_windows),
        ("topwork_drifted_windows", "Those that have drifted.", lambda watch: watch.n_drifted),
    )
    watches = dict(_watches(hosted))
    for metric, words, read in counts:
        family = CounterMetricFamily(metric, words, labels=("model",))
        for name, watch in watches.items():
            if (n := read(watch)) is not None:
                family.add_metric((name,), n)
        yield family
    labels = CounterMetricFamily(
        "topwork_labels", "Answers that gave a label.", labels=("model", "target", "label")
    )
    distances = GaugeMetricFamily(
        "topwork_drift_distance",
        "How far the last full window is from the time of the fit, 0 to 1.",
        labels=("model", "what"),
    )
    for name, watch in watches.items():
        for (target, label), n in tuple(watch.given.items()):
            labels.add_metric((name, target, label), n)
        for test in () if watch.last is None else watch.last.tests:
            distances.add_metric((name, test.what), test.shift.distance)
    yield labels
    yield distances


def _n_strange(watch: Watch) -> int | None:
    """Return how many inputs were called out of domain; None of a model that knows no domain."""
    knows = watch.reference is not None and watch.reference.out_of_domain is not None
    return watch.n_strange if knows or watch.n_strange else None


def _watches(hosted: Leaves) -> Iterator[tuple[str, Watch]]:
    """Yield what watches each model, and each model of a chain under the chain's name and its own."""
    for name, one in hosted:
        yield name, one.watch
        yield from ((f"{name}/{part}", watch) for part, watch in one.watch.parts.items())


def _is_ready(hosted: Hosted) -> int:
    return int(hosted.state == "ready")


def _gauge(name: str, words: str, hosted: Leaves, read: Callable[[Hosted], float]) -> Metric:
    family = GaugeMetricFamily(name, words, labels=("model",))
    for title, one in hosted:
        family.add_metric((title,), read(one))
    return family


def _staff(hosted: Leaves) -> Iterator[Metric]:
    """Yield what is known of worker processes, of models that have some."""
    heads = {title: one.staff.headcount for title, one in hosted if one.staff is not None}
    now = GaugeMetricFamily(
        "topwork_replicas", "Worker processes, by what they do.", labels=("model", "state")
    )
    wanted = GaugeMetricFamily(
        "topwork_replicas_wanted", "Worker processes that there are to be.", labels=("model",)
    )
    ended = CounterMetricFamily(
        "topwork_replica_restarts", "Worker processes that ended unasked, by why.", labels=("model", "reason")
    )
    requests = CounterMetricFamily(
        "topwork_lost_requests",
        "Requests whose worker process ended, by what became of them.",
        labels=("model", "then"),
    )
    for name, head in heads.items():
        for state, n in head.states.items():
            now.add_metric((name, state), n)
        wanted.add_metric((name,), head.wanted)
        for why, n in head.ended.items():
            ended.add_metric((name, why), n)
        requests.add_metric((name, "retried"), head.retried)
        requests.add_metric((name, "given_up"), head.given_up)
    yield from (now, wanted, ended, requests) if heads else ()


def _histogram(name: str, words: str, hosted: Leaves, read: Callable[[Hosted], Durations]) -> Metric:
    family = HistogramMetricFamily(name, words, labels=("model",))
    for title, one in hosted:
        durations = read(one)
        family.add_metric((title,), steps_of(durations), durations.total_s)
    return family


def _batches(crews: Sequence[tuple[str, Crew | Gathered]]) -> Iterator[Metric]:
    limit = GaugeMetricFamily("topwork_batch_limit", "Most inputs that a batch may have.", labels=("model",))
    sizes = HistogramMetricFamily("topwork_batch_size", "Inputs computed together.", labels=("model",))
    for name, crew in crews:
        limit.add_metric((name,), crew.largest)
        counted = Counts(crew.sizes)
        up_to = [(step, sum(n for size, n in counted.items() if size <= step)) for step in STEPS]
        total = sum(size * n for size, n in counted.items())
        sizes.add_metric(
            (name,), [*((str(float(step)), n) for step, n in up_to), ("+Inf", counted.total())], total
        )
    yield limit
    yield sizes
