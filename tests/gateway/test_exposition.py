from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from escala.gateway.exposition import exposition
from escala.gateway.route_metrics import BOUNDS, RouteMetrics

DOCS = Path(__file__).parents[2] / "docs" / "gateway.md"
OWN = {"workers": 2.0, "worker_restarts": 0.0, "reload_ok": 1.0, "generation": 3.0}


def status() -> dict[str, Any]:
    metrics = RouteMetrics()
    metrics.observe(200, 0.0004)
    metrics.observe(200, 0.004)
    metrics.observe(503, 60.0)
    metrics.reject("bulkhead")
    metrics.retries = 2
    cache = {"hits": 7, "entries": 1}
    target = {"address": "a:1", "healthy": True, "in_flight": 1, "requests": 5, "failures": 2}
    target |= {"ejected": True, "ejections": 3}
    return {
        "resident_bytes": 30_000_000,
        "connections": 4,
        "refused": {"400": 3},
        "routes": [{"path": '/a"b\\', "policies": {"cache": cache}, **metrics.snapshot()}],
        "upstreams": {"shop": {"panicking": 1, "panics": 4, "targets": [target]}},
    }


def samples() -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = exposition({"0": status(), "1": status()}, OWN).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(name: str, **labels: str) -> float:
    return samples()[name, frozenset(labels.items())]


ROUTE = {"worker": "1", "route": '/a"b\\'}


def test_what_was_counted_is_told_for_each_worker() -> None:
    assert value("escala_requests_total", status="200", **ROUTE) == 2
    assert value("escala_requests_total", status="503", **ROUTE) == 1
    assert value("escala_rejected_total", policy="bulkhead", **ROUTE) == 1
    assert value("escala_retries_total", **ROUTE) == 2
    assert value("escala_refused_total", worker="0", status="400") == 3
    assert value("escala_policy", policy="cache", figure="hits", **ROUTE) == 7
    assert value("escala_worker_connections", worker="0") == 4
    assert value("escala_workers") == 2
    target = {"worker": "0", "upstream": "shop", "target": "a:1"}
    assert value("escala_target_healthy", **target) == 1
    assert value("escala_target_failures_total", **target) == 2
    assert value("escala_target_ejected", **target) == 1
    assert value("escala_target_ejections_total", **target) == 3
    assert value("escala_upstream_panicking", worker="0", upstream="shop") == 1
    assert value("escala_upstream_panics_total", worker="0", upstream="shop") == 4


def test_the_histogram_is_cumulative() -> None:
    counts = [value("escala_request_seconds_bucket", le=f"{bound:g}", **ROUTE) for bound in BOUNDS]
    assert counts[0] == 1
    assert counts[2] == 2
    assert counts[-1] == 2
    assert value("escala_request_seconds_bucket", le="+Inf", **ROUTE) == 3
    assert value("escala_request_seconds_count", **ROUTE) == 3
    assert value("escala_request_seconds_sum", **ROUTE) == 60.0044


def test_a_worker_that_has_not_loaded_yet_is_no_error() -> None:
    bare = {"resident_bytes": 1, "connections": 0, "refused": {}}
    assert b'escala_worker_resident_bytes{worker="0"} 1.0' in exposition({"0": bare}, OWN)


def test_the_page_names_every_metric_and_no_other() -> None:
    told = {re.sub(r"_(bucket|sum|count)$", "", name) for name, _ in samples()}
    documented = set(
        re.findall(r"^\| `(escala_\w+)`", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert documented == told
