"""The same promises of `race` on the loops that serve real traffic: asyncio's and uvloop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
import uvloop
from tests.kernel.race_cases import CASES, World

from escala.kernel.runtime import LoopRuntime

pytestmark = pytest.mark.live


@pytest.mark.parametrize(
    "loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_race(
    case: Callable[[World], Awaitable[None]],
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def main() -> None:
        await case(World(LoopRuntime(), tick=0.004, stall=time.sleep))

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())
