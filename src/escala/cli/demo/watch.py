"""Read the gateway's /status while it works: counters over time, and every event once."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from escala.cli.demo.http_client import Client
from escala.kernel.runtime import colours, wall

EVERY = 0.25
_SPARED = ("hits", "stale", "coalesced")  # answers that cost the shop nothing


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing the gateway tells about itself; `at` is seconds from the first request."""

    at: float
    type: str
    name: str
    detail: dict[str, Any]


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway's counters at one moment, summed over routes and targets."""

    at: float = 0.0
    reached: int = 0  # requests that went to the shop
    retries: int = 0
    hits: int = 0
    rejected: dict[str, int] = {}
    healthy: tuple[bool, ...] = ()
    rss_mb: float = 0.0


class Watch:
    """`samples` and `events` grow while `run` runs."""

    def __init__(self, client: Client, start: float) -> None:
        self._client, self._start = client, start
        self._began = wall() + (start - asyncio.get_running_loop().time())
        self._seen = 0
        self.samples: list[Sample] = []
        self.events: list[Event] = []

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look()
            await colours.loop.sleep(EVERY)

    async def look(self) -> None:
        """Take one sample; a gateway that does not answer gives none."""
        reply = await self._client.ask("GET", f"/status?since={self._seen}")
        try:
            status = msgspec.json.decode(reply.body)
        except msgspec.DecodeError:
            return
        moment = asyncio.get_running_loop().time() - self._start
        self.samples.append(sample(status, moment))
        for event in status.get("events", ()):
            if event["seq"] > self._seen:
                self._seen = event["seq"]
                self.events.append(
                    Event(
                        at=event["at"] - self._began,
                        type=event["type"],
                        name=event["name"],
                        detail=event.get("detail") or {},
                    )
                )


def sample(status: dict[str, Any], at: float) -> Sample:
    """Add up what /status says."""
    routes = status.get("routes", ())
    targets = [
        target
        for upstream in status.get("upstreams", {}).values()
        for target in upstream.get("targets", ())
    ]
    caches = [route.get("cache") or {} for route in routes]
    rejected: dict[str, int] = {}
    for route in routes:
        for policy, count in route.get("rejected", {}).items():
            rejected[policy] = rejected.get(policy, 0) + count
    return Sample(
        at=at,
        reached=sum(target.get("requests", 0) for target in targets),
        retries=sum(route.get("retries", 0) for route in routes),
        hits=sum(cache.get(word, 0) for cache in caches for word in _SPARED),
        rejected=rejected,
        healthy=tuple(bool(target.get("healthy", True)) for target in targets),
        rss_mb=max(
            (worker.get("rss_mb") or 0.0 for worker in status.get("workers", ())), default=0
        ),
    )
