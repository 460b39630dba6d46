from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.demo.made_up import half, traffic

from escala.cli.demo.figures import figures, of_half, success
from escala.cli.demo.outcome import Outcome
from escala.cli.demo.percentile import percentile
from escala.cli.demo.prices import Prices
from escala.cli.demo.rows import ROWS, milliseconds, percent, shown
from escala.cli.demo.shop import Pages
from escala.cli.demo.views import Views

REQUIRED = {
    "stack.success",
    "baseline.success",
    "stack.failed_get",
    "stack.p99_calm_ms",
    "stack.p99_surge_ms",
    "orders.accepted",
    "orders.found",
    "log.broken",
    "stack.reached_shop",
    "stack.cache_hits",
    "stack.retries",
    "stack.refused",
    "stack.pages_asked",
    "stack.pages_read",
    "stack.pages_cached",
    "stack.stale_pages",
    "stack.views_served",
    "stack.views_found",
    "stack.view_writes",
}


def outcome(at: float = 0.0, latency: float = 0.01, method: str = "GET", **rest: object) -> Outcome:
    rest.setdefault("status", 200)
    return Outcome(at, latency, method, "product", **rest)  # type: ignore[arg-type]


def test_percentiles_are_values_that_occurred() -> None:
    values = [0.1 * n for n in range(1, 101)]
    assert percentile(values, 0.5) == values[49]
    assert percentile(values, 0.99) == values[98]
    assert percentile(values, 1) == values[99]
    assert percentile([], 0.99) == 0.0
    assert percentile([7.0], 0.01) == 7.0


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_a_percentile_leaves_its_share_below(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)


def test_refusals_are_not_failures_and_5xx_are() -> None:
    assert outcome(status=503, rejected="bulkhead").admitted is False
    assert outcome(status=503, rejected="bulkhead").failed is False
    assert outcome(status=503).failed
    assert outcome(status=0, error="reset").failed
    assert outcome(status=404).ok
    assert outcome(status=304).ok


def test_success_counts_only_what_was_admitted() -> None:
    mixed = [outcome(), outcome(status=500), outcome(status=429, rejected="rate_limit")]
    assert success(mixed) == 0.5
    assert success([]) == 1.0
    assert success([outcome(status=429, rejected="rate_limit")]) == 1.0


def test_the_surge_and_the_calm_are_told_apart() -> None:
    calm = [outcome(at=1.0, latency=0.010)]
    well = [outcome(at=15.0, latency=0.020)]
    surge = [
        outcome(at=17.0, latency=0.100),
        outcome(at=17.1, latency=4, error="timeout", status=0),
    ]
    flat = of_half(half("stack", outcomes=[*calm, *well, *surge], seconds=20))
    assert flat["p99_calm_ms"] == 20
    assert flat["p99_surge_ms"] == 4000
    assert flat["success_surge"] == 0.5
    assert flat["failed_get"] == 1
    assert flat["failed_get_killed"] == 0
    assert flat["error.timeout"] == 1


def test_posts_are_no_failed_gets() -> None:
    flat = of_half(half("stack", outcomes=[outcome(method="POST", status=500)]))
    assert (flat["failed"], flat["failed_get"]) == (1, 0)


def test_what_the_shop_spared_its_database() -> None:
    flat = of_half(
        half(
            "stack",
            pages=Pages(asked=200, read=50),
            prices=Prices(changed=4, seen=30, late=1, stale=2),
            views=Views(served=9, found=8, unconfirmed=7, saves=3),
        )
    )
    assert (flat["pages_asked"], flat["pages_read"], flat["pages_cached"]) == (200, 50, 0.75)
    prices = [flat[key] for key in ("prices_changed", "pages_seen", "late_pages", "stale_pages")]
    assert prices == [4, 30, 1, 2]
    views = [flat[f"views_{word}"] for word in ("served", "found", "unconfirmed")]
    assert (views, flat["view_writes"]) == ([9, 8, 7], 3)


@pytest.mark.parametrize("outcomes", [[], [outcome()], [outcome(status=502)]])
def test_the_promised_keys_are_there_and_flat(outcomes: list[Outcome]) -> None:
    found = figures(
        traffic(), half("baseline", outcomes=outcomes), half("stack", outcomes=outcomes)
    )
    assert set(found) >= REQUIRED
    assert all(isinstance(value, (int, float, str)) for value in found.values())


def test_without_a_baseline_its_keys_are_missing() -> None:
    found = figures(traffic(), None, half("stack"))
    assert not [key for key in found if key.startswith("baseline")]
    assert {shown(row, found, "baseline") for row in ROWS} == {"-"}


def test_a_share_never_rounds_up_to_all() -> None:
    assert percent(0.99999) == "99.99 %"
    assert percent(1) == "100 %"
    assert percent(0) == "0.00 %"
    assert milliseconds(0.4567) == "0.457 ms"
    assert milliseconds(1234) == "1.23 s"
