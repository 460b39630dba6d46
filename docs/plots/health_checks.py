"""What a bad target and a target that comes back get of the calls."""

from __future__ import annotations

import random

from docs.plots.drawing.figure import Figure
from escala import HealthCheck, OutlierDetection, Upstream
from escala.balancing import Target
from escala.testing import VirtualRuntime

TARGETS = ["a:1", "b:1", "c:1", "d:1"]
RATE = 100  # calls a second
BAD = (20.0, 200.0)
BACK = 10.0


def draw(figure: Figure) -> None:
    """One of four targets fails every call for three minutes; another comes back from a restart."""
    left = figure.panel("one that fails", x="seconds", y="failed calls a second")
    for label, outliers in (("as it is", None), ("OutlierDetection()", OutlierDetection())):
        failed = _failures(outliers)
        left.steps(range(len(failed)), failed, label)
    left.span(*BAD, "one of four fails")
    left.window = (0, 260)
    right = figure.panel("one that comes back", x="seconds", y="% of the calls to it")
    for label, window in (("as it is", None), ('slow_start="30s"', "30s")):
        shares = _shares(window)
        right.steps([second - BACK for second in range(len(shares))], shares, label)
    right.level(25, "its share")
    right.window = (-5, 45)
    right.height = (0, 40)


def _failures(outliers: OutlierDetection | None) -> list[int]:
    world = VirtualRuntime()
    failed = [0] * 260

    async def main() -> None:
        upstream = Upstream("shop", TARGETS, outliers=outliers)
        bad = upstream.targets[0]
        while world.now() < len(failed):
            target = upstream.pick()
            fails = target is bad and BAD[0] <= world.now() < BAD[1]
            failed[int(world.now())] += fails
            upstream.release(target, ok=not fails, took=0.01)
            await world.sleep(1 / RATE)

    world.run(main())
    world.close()
    return failed


def _shares(slow_start: str | None) -> list[float]:
    world = VirtualRuntime()
    calls = [0] * 60

    async def probe(target: Target) -> bool:
        return target.host != "a" or world.now() >= BACK

    async def main() -> None:
        health = HealthCheck(interval="1s", fall=1, rise=1, probe=probe)
        rng = random.Random(1)
        upstream = Upstream("shop", TARGETS, health=health, slow_start=slow_start, rng=rng)
        async with upstream:
            await world.sleep(0.005)
            while world.now() < len(calls):
                with upstream.pick() as target:
                    calls[int(world.now())] += target.host == "a"
                await world.sleep(1 / RATE)

    world.run(main())
    world.close()
    return [100 * count / RATE for count in calls]
