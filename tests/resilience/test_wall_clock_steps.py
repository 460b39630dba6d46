"""The wall clock steps by an hour in the middle of calls: retry, hedge and fallback do not mind."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.resilience.colour import Call, both_colours
from tests.resilience.flaky import LONGEST

from escala.kernel.context import Request, serving
from escala.kernel.events import Event, subscribe
from escala.kernel.policy import Policy
from escala.kernel.stack import Stack
from escala.resilience import Deadline, Fallback, Hedge, Retry, RetryBudget
from escala.testing import VirtualRuntime

HOUR = 3600.0


def policies() -> list[Policy]:
    return [
        Stack(Deadline("30s"), Retry(6, rng=LONGEST, budget=RetryBudget("20%", floor=2))),
        Retry(4, rng=LONGEST, jitter="decorrelated"),
        Stack(Deadline("2s"), Retry(9, rng=LONGEST, hint=lambda _: 0.7)),
        Stack(Retry(3, rng=LONGEST), Hedge("50ms", most=3)),
        Hedge("p50", budget="50%"),
        Fallback(last_good="10s", key="key", value="none"),
    ]


def told(policy: Policy, call: Call[Any], step: float, patch: pytest.MonkeyPatch) -> list[object]:
    """All that came of a run: events, answers, and the time they took."""
    world, heard = VirtualRuntime(3), list[object]()
    stop = subscribe(Event, heard.append)
    wall, stepped = time.time, 0.0  # noqa: TID251  to step it
    patch.setattr(time, "time", lambda: wall() + stepped)

    async def main() -> None:
        nonlocal stepped
        for number in range(60):
            with serving(Request(key=str(number % 3))):
                try:
                    heard.append(await call(policy, flaky(world, number)))
                except ConnectionError as error:
                    heard.append(type(error))
            stepped = step * (number % 2)
            await world.sleep(0.4)

    try:
        world.run(main())
    finally:
        stop()
        world.close()
    return [*heard, world.now()]


def flaky(world: VirtualRuntime, number: int) -> Callable[[], int]:
    def fn() -> int:
        world.advance(0.01 * (number % 7))
        if number % 4 == 3 or (number % 4 == 1 and world.rng.random() < 0.5):
            raise ConnectionError
        return number

    return fn


@both_colours
@pytest.mark.parametrize("at", range(len(policies())), ids=lambda at: repr(policies()[at])[:30])
@pytest.mark.parametrize("step", [-HOUR, HOUR], ids=["back", "ahead"])
def test_no_decision_changes(
    call: Call[Any], at: int, step: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = told(policies()[at], call, 0.0, monkeypatch)
    assert told(policies()[at], call, step, monkeypatch) == straight
    assert len(straight) > 60
