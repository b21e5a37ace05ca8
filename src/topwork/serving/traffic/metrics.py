"""What is counted of the versions of a model, as Prometheus' families. It counts nothing itself.

It imports prometheus_client, so only `metrics` imports it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import inf

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from topwork.serving.hosting import Hosted
from topwork.serving.traffic.shelf import Shelved
from topwork.serving.traffic.versions import Versions
from topwork.serving.watching.durations import Durations

__all__ = ["memory_families", "steps_of", "traffic_families"]

PHASES = ("trial", "promoted", "rolled back")
VERSION = ("model", "version")


def steps_of(durations: Durations) -> list[tuple[str, float]]:
    """Return the steps of a histogram."""
    return [("+Inf" if step == inf else str(step), n) for step, n in durations.cumulated()]


def traffic_families(hosted: Sequence[Hosted]) -> Iterator[Metric]:
    """Yield the families of the models that have versions; none where no model has."""
    several = [one for one in hosted if isinstance(one, Versions)]
    if several:
        yield from _of_traffic(several)
        yield from _of_shadows(several)


def _of_traffic(several: Sequence[Versions]) -> Iterator[Metric]:
    share = GaugeMetricFamily(
        "topwork_version_share", "Share of the requests that a version gets.", labels=VERSION
    )
    count = CounterMetricFamily(
        "topwork_version_requests",
        "Requests that a version answered or failed.",
        labels=(*VERSION, "outcome"),
    )
    took = HistogramMetricFamily(
        "topwork_version_duration_seconds", "From a request's body to its answer, by version.", labels=VERSION
    )
    phase = GaugeMetricFamily(
        "topwork_canary_phase", "1 for the phase that a canary is in.", labels=(*VERSION, "phase")
    )
    decided = GaugeMetricFamily(
        "topwork_canary_decided_timestamp_seconds",
        "When a canary was promoted or rolled back, in seconds since 1970.",
        labels=VERSION,
    )
    for one in several:
        name, traffic = one.servable.name, one.traffic
        for version, of_all in traffic.shares.items():
            share.add_metric((name, version), of_all)
            took.add_metric(
                (name, version), steps_of(traffic.durations[version]), traffic.durations[version].total_s
            )
            for outcome, n in traffic.counts[version].items():
                count.add_metric((name, version, outcome), n)
        if traffic.canary is not None:
            for word in PHASES:
                phase.add_metric((name, traffic.canary.version, word), word == traffic.phase)
            if traffic.ended is not None:
                decided.add_metric((name, traffic.canary.version), traffic.ended.at.timestamp())
    yield from (share, count, took, phase, decided)


def _of_shadows(several: Sequence[Versions]) -> Iterator[Metric]:
    inputs = CounterMetricFamily(
        "topwork_shadow_inputs", "Inputs that a shadow was asked beside.", labels=(*VERSION, "outcome")
    )
    dropped = CounterMetricFamily(
        "topwork_shadow_dropped_requests", "Requests that there was no time to compare.", labels=VERSION
    )
    took = HistogramMetricFamily("topwork_shadow_seconds", "Of a shadow, for each input.", labels=VERSION)
    for one in several:
        for version, shadow in one.shadows.items():
            labels, compared = (one.servable.name, version), shadow.compared
            for outcome in ("agreed", "differed", "failed"):
                inputs.add_metric((*labels, outcome), getattr(compared, outcome))
            dropped.add_metric(labels, compared.dropped)
            took.add_metric(labels, steps_of(compared.took), compared.took.total_s)
    yield from (inputs, dropped, took)


def memory_families(leaves: Iterable[tuple[str, Hosted]]) -> Iterator[Metric]:
    """Yield what the models take that share a bounded memory; none where it is not bounded."""
    books = [(title, one.servable) for title, one in leaves if isinstance(one.servable, Shelved)]
    if not books:
        return
    taken = GaugeMetricFamily(
        "topwork_model_memory_bytes", "Memory that a model takes now.", labels=("model",)
    )
    openings = CounterMetricFamily(
        "topwork_model_openings", "How often a model was opened.", labels=("model",)
    )
    for title, book in books:
        taken.add_metric((title,), book.state.n_bytes if book.is_open else 0)
        openings.add_metric((title,), book.state.n_openings)
    yield from (taken, openings)
