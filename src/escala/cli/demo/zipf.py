"""Traffic with the shape of a real web log, for when no log is given.

Popularity falls as 1 / rank^1.03, which leaves a good half of all URLs with a single request;
a few clients ask for much, most for little, each several things in a row. The shape is that of
a public web server's log of 10,000 lines and 1,498 URLs.
"""

from __future__ import annotations

import random

from escala.cli.demo.access_log import AccessLog, Ask

REQUESTS = 10_000
URLS = 1_500
EXPONENT = 1.03
CLIENTS = 1_750
STAYS = 0.8  # how likely the next request comes from the same client


def popularity(urls: int, requests: int, exponent: float) -> list[int]:
    """How often each rank is asked for: at least once, and about `requests` times in all."""
    weights = [rank**-exponent for rank in range(1, urls + 1)]
    low, high = 0.0, float(requests)
    for _ in range(50):  # the sum grows with the factor, so halve the interval
        factor = (low + high) / 2
        if sum(_count(factor * weight) for weight in weights) < requests:
            low = factor
        else:
            high = factor
    return [_count(high * weight) for weight in weights]


def _count(expected: float) -> int:
    # Cut a little lower than rounding would: the tail of a real log is longer than a pure Zipf's.
    return max(1, int(expected + 0.3))


def generate(seed: int) -> AccessLog:
    """The same requests for the same seed."""
    draw = random.Random(f"zipf {seed}")
    counts = popularity(URLS, REQUESTS, EXPONENT)
    urls = [f"/page/{rank}" for rank, count in enumerate(counts, 1) for _ in range(count)]
    draw.shuffle(urls)
    clients = [f"client-{n}" for n in range(1, CLIENTS + 1)]
    weights = [n**-0.8 for n in range(1, CLIENTS + 1)]
    newcomers = iter(draw.choices(clients, weights, k=len(urls) + 1))
    client = next(newcomers)
    asks = []
    for url in urls:
        if draw.random() > STAYS:
            client = next(newcomers)
        asks.append(Ask(client, "GET", url))
    name = f"built-in traffic, Zipf exponent {EXPONENT}"
    return AccessLog(asks=asks, lines=len(asks), broken=0, name=name)
