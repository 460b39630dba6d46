"""Every request of a half, decided before it starts, so that both halves get the same."""

from __future__ import annotations

import itertools
import random
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from escala.cli.demo import shop_urls
from escala.cli.demo.access_log import AccessLog
from escala.cli.demo.arrivals import arrivals
from escala.cli.demo.phases import Phase

_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_ENOUGH_WRITES = 0.01  # below this share of a log's requests, orders are added


class Planned(NamedTuple):
    """One request: when, from which address, what."""

    at: float
    source: str
    method: str
    path: str
    kind: str
    key: str  # of an order; empty otherwise
    body: bytes


def make_plan(
    log: AccessLog,
    phases: tuple[Phase, ...],
    *,
    rate: float,
    seed: int,
    orders: float,
    sources: Sequence[str],
) -> list[Planned]:
    """Give the log's requests, again from its start when it is short, their time and place.

    Writes become orders; a log with hardly any has a share `orders` of its reads turned into
    orders, since an order is what must not be lost.
    """
    rank_of = shop_urls.ranks(ask.url for ask in log.asks)
    writes = sum(ask.method in _WRITES for ask in log.asks)
    share = orders if writes < _ENOUGH_WRITES * len(log.asks) else 0.0
    draw = random.Random(f"orders {seed}")
    plan = []
    moments = arrivals(phases, rate, seed)
    for number, (moment, ask) in enumerate(zip(moments, itertools.cycle(log.asks), strict=False)):
        source = sources[zlib.crc32(ask.client.encode()) % len(sources)]
        rank = rank_of[ask.url]
        if ask.method in _WRITES or draw.random() < share:
            body = b'{"product":%d,"quantity":%d}' % (shop_urls.product(rank), draw.randint(1, 3))
            key = f"order-{seed}-{number}"
            plan.append(Planned(moment, source, "POST", "/api/orders", "order", key, body))
        else:
            kind, path = shop_urls.page(rank)
            plan.append(Planned(moment, source, ask.method, path, kind, "", b""))
    return plan
