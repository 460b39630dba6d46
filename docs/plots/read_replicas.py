"""What a reader sees after a write elsewhere, while one of two replicas is late."""

from __future__ import annotations

import random
from typing import Any

from sqlalchemy import Engine, TextClause, create_engine

from docs.plots.drawing.figure import Figure
from escala import RoundRobin
from escala.databases.pure.topology import Sighting, Topology
from escala.databases.replicas.cluster import Cluster
from escala.databases.replicas.database_url import node_urls
from escala.databases.replicas.node import Node
from escala.databases.replicas.replicas import Replicas
from escala.databases.replicas.router import Router
from escala.databases.replicas.seen import Seen

LATENESS = [number * 125 for number in range(25)]  # milliseconds
QUICK, AFTER, POLL, MAX_AGE = 0.01, 0.05, 0.25, 2.0
READS, EVERY, BYTES = 200, 0.045, 1e6  # the primary writes a megabyte a second


class World:
    """A primary and two replicas in a time of their own, watched and read as real ones are."""

    def __init__(self, *delays: float) -> None:
        self.time, self.delays = 0.0, (0.0, *delays)
        topology = Topology("pab", max_bytes=1e12, max_age=MAX_AGE, slow_start=0)
        self.cluster = Cluster("plot", topology)
        urls = node_urls("postgresql://p,a,b/shop")
        nodes = [_Named(each, {}, lambda *_: None) for each in urls]
        engines = [each.own for each in nodes]
        world = self

        class Simulated(Router):
            @staticmethod
            def ask(engine: Engine, question: TextClause) -> int:
                del question
                return world.lsn(engines.index(engine), world.time)

        said: dict[str, Any] = {"fallback": "primary", "moves": False, "functions": ()}
        self.router = Simulated(
            nodes,
            self.cluster,
            Replicas(RoundRobin(), random.Random(1).random),
            lambda: self.time,
            scope=0,
            asynchronous=False,
            **said,
        )
        self._polled = -POLL

    def lsn(self, node: int, time: float) -> int:
        """How far a node is."""
        return int(BYTES * max(0.0, time - self.delays[node]))

    def until(self, time: float) -> None:
        """Let time pass, with a look at every node each quarter of a second."""
        while self._polled + POLL <= time:
            self._polled += POLL
            at = self._polled
            for node in range(3):
                lsn = self.lsn(node, at)
                self.cluster.saw(Sighting(node, at, at, 1, node > 0, 1, lsn))
        self.time = time

    def read(self, written: int, seen: Seen) -> tuple[bool, bool]:
        """Whether a reader misses what was written, and whether the primary answers it."""
        route = self.router.replica(seen)
        self.router.release(route)
        return self.lsn(route.node, self.time) < written, route.pick is None


class _Named(Node):
    """A node that is never connected to."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.own = create_engine("sqlite://")

    def bind(self, *, writes: bool, asynchronous: bool) -> Engine:
        del writes, asynchronous
        return self.own


def shares(*delays: float, token: bool) -> tuple[float, float]:
    """Percent of reads that are stale, and that go to the primary."""
    world, stale, primary = World(*delays), 0, 0
    world.until(10.0)
    for _ in range(READS):
        written = world.lsn(0, world.time)
        world.until(world.time + AFTER)
        missed, elsewhere = world.read(written, Seen(written if token else 0))
        stale, primary = stale + missed, primary + elsewhere
        world.until(world.time + EVERY)
    return 100 * stale / READS, 100 * primary / READS


def draw(figure: Figure) -> None:
    """Without a token reads miss the write until the late ones are out; with it, none does."""
    one = figure.panel("one of two replicas is late", x="its lag, ms", y="% of reads")
    both = figure.panel("both are late", x="their lag, ms", y="% of reads")
    for panel, others in ((one, [QUICK]), (both, [])):
        lags = [[*others, *[late / 1000] * (2 - len(others))] for late in LATENESS]
        without = [shares(*lag, token=False) for lag in lags]
        within = [shares(*lag, token=True) for lag in lags]
        panel.line(LATENESS, [stale for stale, _ in without], "miss the write, no token")
        panel.line(LATENESS, [stale for stale, _ in within], "miss the write, token")
        panel.steps(LATENESS, [primary for _, primary in within], "go to the primary, token")
        panel.height = (0, 100)
        panel.window = (0, LATENESS[-1])
