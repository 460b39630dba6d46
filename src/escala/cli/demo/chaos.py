"""Carry out the schedule: kill, restart, slow down, break, make well."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from escala.cli.demo.phases import Phase
from escala.cli.demo.shop import Shop
from escala.kernel.runtime import colours

SLOW = 1.5  # seconds added to every answer of instance 2
ERRORS = 0.6  # share of instance 3's answers, health checks included, that are 500


async def chaos(
    shop: Shop, phases: tuple[Phase, ...], start: float, says: Callable[[Phase], None]
) -> None:
    """Do what each phase says when it begins; loop time `start` is the first request's."""
    loop = asyncio.get_running_loop()
    for phase in phases:
        await colours.loop.sleep(max(0.0, start + phase.start - loop.time()))
        says(phase)
        match phase.name:
            case "killed":
                await shop.kill(1)
            case "back":
                await shop.instances[0].start()
            case "slow":
                await shop.fault(2, slow=SLOW)
            case "errors":
                await shop.fault(2)
                await shop.fault(3, errors=ERRORS)
            case "well":
                await shop.fault(3)
