"""Halves that were never run, for tests of what is made of them."""

from __future__ import annotations

from collections.abc import Sequence

from escala.cli.demo import zipf
from escala.cli.demo.half import Half
from escala.cli.demo.orders import Orders
from escala.cli.demo.outcome import Outcome
from escala.cli.demo.phases import schedule
from escala.cli.demo.plan import make_plan
from escala.cli.demo.prices import Prices
from escala.cli.demo.shop import Pages
from escala.cli.demo.traffic import Traffic
from escala.cli.demo.views import Views
from escala.cli.demo.watch import Event, Sample


def traffic(seconds: float = 20.0) -> Traffic:
    log, phases = zipf.generate(1), schedule(seconds)
    plan = make_plan(log, phases, rate=20, seed=1, orders=0.03, sources=["127.0.0.1"])
    return Traffic(log=log, phases=phases, plan=plan, rate=20, seed=1, again="escala demo")


def half(
    name: str,
    *,
    outcomes: Sequence[Outcome] = (),
    samples: Sequence[Sample] = (),
    events: Sequence[Event] = (),
    seconds: float = 20.0,
    orders: Orders | None = None,
    pages: Pages | None = None,
    prices: Prices | None = None,
    views: Views | None = None,
) -> Half:
    return Half(
        name=name,
        phases=schedule(seconds),
        outcomes=list(outcomes),
        samples=list(samples),
        events=list(events),
        orders=orders or Orders(),
        pages=pages or Pages(),
        prices=prices or Prices(),
        views=views or Views(),
    )
