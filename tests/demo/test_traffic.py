from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import pytest

from escala.cli.demo import shop_urls, zipf
from escala.cli.demo.access_log import AccessLog, Ask
from escala.cli.demo.arrivals import arrivals
from escala.cli.demo.phases import at, schedule
from escala.cli.demo.plan import Planned, make_plan

SOURCES = [f"127.1.0.{n}" for n in range(1, 9)]


def log_of(*asks: Ask) -> AccessLog:
    return AccessLog(asks=list(asks), lines=len(asks), broken=0, name="log")


def plan_of(log: AccessLog, *, seed: int = 1, orders: float = 0.0) -> list[Planned]:
    return make_plan(log, schedule(20), rate=50, seed=seed, orders=orders, sources=SOURCES)


def test_built_in_traffic_has_the_shape_of_a_real_log() -> None:
    log = zipf.generate(1)
    counts = Counter(ask.url for ask in log.asks)
    once = sum(count == 1 for count in counts.values()) / len(counts)
    assert len(log.asks) == pytest.approx(10_000, rel=0.01)
    assert len(counts) == zipf.URLS
    assert once == pytest.approx(0.54, abs=0.02)
    assert slope(counts, 500) == pytest.approx(-1.03, abs=0.06)


def slope(counts: Counter[str], top: int) -> float:
    """Least squares of log(count) over log(rank)."""
    ys = [math.log(count) for _, count in counts.most_common(top)]
    xs = [math.log(rank) for rank in range(1, top + 1)]
    mx, my = sum(xs) / top, sum(ys) / top
    over = sum((x - mx) * (y - my) for x, y in zip(xs, ys, strict=True))
    return over / sum((x - mx) ** 2 for x in xs)


def test_built_in_traffic_repeats_by_seed() -> None:
    assert zipf.generate(3).asks == zipf.generate(3).asks
    assert zipf.generate(3).asks != zipf.generate(4).asks


def test_arrivals_repeat_by_seed_and_rise() -> None:
    phases = schedule(30)
    one, again = list(arrivals(phases, 100, 7)), list(arrivals(phases, 100, 7))
    assert one == again == sorted(one)
    assert one != list(arrivals(phases, 100, 8))


def test_the_surge_brings_five_times_as_many() -> None:
    phases = schedule(100)
    per_phase = Counter(at(phases, moment).name for moment in arrivals(phases, 100, 1))
    for phase in phases:
        expected = 100 * phase.times * phase.seconds
        assert per_phase[phase.name] == pytest.approx(expected, rel=5 / math.sqrt(expected))


def test_the_schedule_has_no_gap_and_ends_on_time() -> None:
    phases = schedule(26)
    assert phases[0].start == 0
    assert phases[-1].end == pytest.approx(26)
    assert all(a.end == b.start for a, b in pairwise(phases))
    assert at(phases, -1.0) is phases[0]
    assert at(phases, 1e9) is phases[-1]


def test_urls_are_mapped_by_popularity() -> None:
    urls = ["/rare", *["/top"] * 5, *["/middle"] * 3]
    assert shop_urls.ranks(urls) == {"/top": 1, "/middle": 2, "/rare": 3}
    assert shop_urls.page(1) == ("product", "/api/product/1")


def test_every_rank_is_a_page_of_the_shop() -> None:
    kinds = Counter(shop_urls.page(rank)[0] for rank in range(1, 8001))
    assert kinds == {"product": 5000, "category": 1000, "search": 1000, "stock": 1000}
    assert all(1 <= shop_urls.product(rank) <= shop_urls.PRODUCTS for rank in range(1, 9001))


def test_the_plan_keeps_methods_and_popularity() -> None:
    asks = [Ask("a", "GET", "/1"), Ask("b", "HEAD", "/1"), Ask("c", "POST", "/2")]
    plan = plan_of(log_of(*asks, asks[0]))
    assert {(p.method, p.kind) for p in plan} == {
        ("GET", "product"),
        ("HEAD", "product"),
        ("POST", "order"),
    }
    assert {p.path for p in plan if p.method != "POST"} == {"/api/product/1"}


def test_a_log_without_writes_gets_some_orders() -> None:
    plan = plan_of(zipf.generate(1), orders=0.05)
    share = sum(p.kind == "order" for p in plan) / len(plan)
    assert share == pytest.approx(0.05, abs=0.02)


def test_orders_have_keys_of_their_own() -> None:
    keys = [p.key for p in plan_of(zipf.generate(1), orders=0.2) if p.key]
    assert keys
    assert len(keys) == len(set(keys))


def test_plans_repeat_by_seed() -> None:
    log = zipf.generate(1)
    assert plan_of(log, seed=5, orders=0.03) == plan_of(log, seed=5, orders=0.03)


def test_a_client_keeps_its_address() -> None:
    asks = [Ask(f"client-{n}", "GET", f"/{n}") for n in range(100)]
    where: dict[str, set[str]] = {}
    for planned in plan_of(log_of(*asks)):
        where.setdefault(planned.path, set()).add(planned.source)
    assert all(len(found) == 1 for found in where.values())
    assert len(set.union(*where.values())) == len(SOURCES)
