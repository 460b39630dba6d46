"""`Retry` and values that are failures: judged, dropped, and the last one returned."""

from __future__ import annotations

from typing import Any

import pytest
from tests.resilience.colour import Call, both_colours
from tests.resilience.flaky import Flaky

from escala.kernel.events import Event
from escala.resilience import Retried, Retry, RetryBudget
from escala.testing import VirtualRuntime


@both_colours
def test_a_failing_result_is_dropped_for_a_better_one(
    world: VirtualRuntime, call: Call[Any], events: list[Event]
) -> None:
    dropped: list[object] = []
    retry = Retry(judge=lambda result: result in (500, 503), discard=dropped.append)
    assert world.run(call(retry, Flaky(500, 503))) == "well"
    assert dropped == [500, 503]
    assert [event.cause for event in events if isinstance(event, Retried)] == ["result"] * 2


@both_colours
def test_the_last_failing_result_is_returned_and_not_dropped(
    world: VirtualRuntime, call: Call[Any]
) -> None:
    dropped: list[object] = []
    retry = Retry(2, judge=lambda result: result != "well", discard=dropped.append)
    assert world.run(call(retry, Flaky(500, 503, 502))) == 503
    assert dropped == [500]


@both_colours
def test_errors_are_not_dropped_and_results_come_with_them(
    world: VirtualRuntime, call: Call[Any]
) -> None:
    dropped: list[object] = []
    retry = Retry(4, judge=lambda result: result == 500, discard=dropped.append)
    assert world.run(call(retry, Flaky(ConnectionError(), 500, ConnectionError()))) == "well"
    assert dropped == [500]


@both_colours
def test_a_discard_that_is_interrupted_ends_the_call_and_keeps_no_budget(
    world: VirtualRuntime, call: Call[Any]
) -> None:
    def discard(_: object) -> None:
        raise KeyboardInterrupt

    budget = RetryBudget()
    retry = Retry(judge=lambda result: result == 500, discard=discard, budget=budget)
    with pytest.raises(KeyboardInterrupt):
        world.run(call(retry, Flaky(500)))
    assert budget.under_way == 0
