"""The workers' figures in Prometheus' text format. Names, units and labels are public API."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest

from escala.gateway.route_metrics import BOUNDS

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


def exposition(workers: Mapping[str, dict[str, Any]], gateway: Mapping[str, float]) -> bytes:
    """`workers` by index, as each told its status; `gateway` what the supervisor knows itself.

    Every series of a worker carries its index: a worker that was restarted begins at zero, and
    Prometheus understands that only where its series is not added to another's.
    """
    return generate_latest(_Families(workers, gateway))


class _Families:
    def __init__(self, workers: Mapping[str, dict[str, Any]], gateway: Mapping[str, float]) -> None:
        self._workers, self._gateway = workers, gateway

    def collect(self) -> Iterator[Metric]:
        for name, value in self._gateway.items():
            yield GaugeMetricFamily(f"escala_{name}", _HELP[name], value=value)
        yield self._of_workers("resident_bytes", "Memory that a worker has in use.")
        yield self._of_workers("connections", "Open connections of clients.")
        refused = CounterMetricFamily(
            "escala_refused",
            "Requests refused by the HTTP engine before they reached a route.",
            labels=["worker", "status"],
        )
        for worker, status in self._workers.items():
            for code, count in status.get("refused", {}).items():
                refused.add_metric([worker, code], count)
        yield refused
        yield from self._routes()
        yield from self._policies()
        yield from self._upstreams()
        yield from self._targets()

    def _of_workers(self, name: str, text: str) -> Metric:
        family = GaugeMetricFamily(f"escala_worker_{name}", text, labels=["worker"])
        for worker, status in self._workers.items():
            family.add_metric([worker], status[name])
        return family

    def _each(self, kind: str) -> Iterable[tuple[str, dict[str, Any]]]:
        for worker, status in self._workers.items():
            for entry in status.get(kind, ()):
                yield worker, entry

    def _routes(self) -> Iterator[Metric]:
        labels = ["worker", "route"]
        requests = CounterMetricFamily(
            "escala_requests", "Requests answered, by status.", labels=[*labels, "status"]
        )
        rejected = CounterMetricFamily(
            "escala_rejected", "Requests refused by a policy.", labels=[*labels, "policy"]
        )
        retries = CounterMetricFamily("escala_retries", "Attempts beyond the first.", labels=labels)
        seconds = HistogramMetricFamily(
            "escala_request_seconds", "Time until the head of the answer.", labels=labels
        )
        for worker, route in self._each("routes"):
            at = [worker, route["path"]]
            for status, count in route["statuses"].items():
                requests.add_metric([*at, status], count)
            for policy, count in route["rejected"].items():
                rejected.add_metric([*at, policy], count)
            retries.add_metric(at, route["retries"])
            buckets, total = [], 0
            for bound, count in zip((*BOUNDS, float("inf")), route["buckets"], strict=True):
                total += count
                buckets.append(("+Inf" if bound == float("inf") else f"{bound:g}", float(total)))
            seconds.add_metric(at, buckets, route["seconds"])
        yield from (requests, rejected, retries, seconds)

    def _policies(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "escala_policy",
            "What a policy of a route counts, by the name of the figure.",
            labels=["worker", "route", "policy", "figure"],
        )
        for worker, route in self._each("routes"):
            for policy, figures in route["policies"].items():
                for figure, value in figures.items():
                    if isinstance(value, int | float):
                        family.add_metric([worker, route["path"], policy, figure], value)
        yield family

    def _targets(self) -> Iterator[Metric]:
        labels = ["worker", "upstream", "target"]
        healthy = GaugeMetricFamily(
            "escala_target_healthy", "1 while a target's health check passes.", labels=labels
        )
        ejected = GaugeMetricFamily(
            "escala_target_ejected", "1 while a target is left out as an outlier.", labels=labels
        )
        flying = GaugeMetricFamily(
            "escala_target_in_flight", "Requests under way at a target.", labels=labels
        )
        requests = CounterMetricFamily(
            "escala_target_requests", "Attempts sent to a target.", labels=labels
        )
        failures = CounterMetricFamily(
            "escala_target_failures",
            "Attempts that broke, never connected, or were answered with a server error.",
            labels=labels,
        )
        ejections = CounterMetricFamily(
            "escala_target_ejections", "How often a target was left out.", labels=labels
        )
        for worker, status in self._workers.items():
            for name, upstream in status.get("upstreams", {}).items():
                for target in upstream["targets"]:
                    at = [worker, name, target["address"]]
                    healthy.add_metric(at, float(target["healthy"]))
                    ejected.add_metric(at, float(target["ejected"]))
                    flying.add_metric(at, target["in_flight"])
                    requests.add_metric(at, target["requests"])
                    failures.add_metric(at, target["failures"])
                    ejections.add_metric(at, target["ejections"])
        yield from (healthy, ejected, flying, requests, failures, ejections)

    def _upstreams(self) -> Iterator[Metric]:
        labels = ["worker", "upstream"]
        panicking = GaugeMetricFamily(
            "escala_upstream_panicking",
            "1 while unhealthy targets get requests, since too few are well.",
            labels=labels,
        )
        panics = CounterMetricFamily(
            "escala_upstream_panics", "How often that has begun.", labels=labels
        )
        for worker, status in self._workers.items():
            for name, upstream in status.get("upstreams", {}).items():
                panicking.add_metric([worker, name], upstream["panicking"])
                panics.add_metric([worker, name], upstream["panics"])
        yield from (panicking, panics)


_HELP = {
    "workers": "Worker processes that are serving.",
    "worker_restarts": "Workers that ended by themselves and were started again.",
    "reload_ok": "1 when the newest configuration is the one in use, 0 when it was refused.",
    "generation": "How many configurations were accepted, the first included.",
}
