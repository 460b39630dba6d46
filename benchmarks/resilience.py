"""Measure each resilience policy beside every peer that has it, in both colours."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from benchmarks.calls import take_turns, tell, to_fastest
from benchmarks.report import Goal, Report
from benchmarks.resilience_peers import BOTH, LIMIT, PEERS, SLOTS
from benchmarks.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.calls import Case

    from escala.kernel.policy import Policy

GOALS = {
    "breaker.sync.us": Goal(most=1.2),
    "breaker.async.us": Goal(most=1.2),
    "breaker.sync.to_fastest_peer": Goal(most=1),
    "breaker.async.to_fastest_peer": Goal(most=1),
    "standard.sync.us": Goal(most=3),
    "standard.async.us": Goal(most=4),
}
# A timer is armed only by a call that waits for something, so these are measured waiting as well.
TIMED = {"timeout", "standard"}


def policies() -> dict[str, Callable[[], Policy]]:
    """List ours: what is measured is what `escala.<name>()` gives, with the limits of the peers."""
    from escala import (
        AdaptiveLimit,
        AdaptiveThrottle,
        Bulkhead,
        CircuitBreaker,
        Fallback,
        Hedge,
        Retry,
        Shed,
        Stack,
        Timeout,
    )
    from escala.resilience.standard_stack import standard
    from escala.resilience.time_limit import TimeLimit

    def untimed() -> Policy:
        return Stack(*(one for one in standard().policies if not isinstance(one, TimeLimit)))

    return {
        # The rate is over all calls of ten seconds; a low one lets the check reach it.
        "breaker": lambda: CircuitBreaker(failure_rate="1%"),
        "retry": lambda: Retry(base=0),
        "bulkhead": lambda: Bulkhead(SLOTS),
        "timeout": lambda: Timeout(LIMIT),
        "hedge": Hedge,
        "fallback": lambda: Fallback(value=None),
        "adaptive_limit": lambda: AdaptiveLimit(initial=SLOTS),
        "shed": lambda: Shed(SLOTS),
        # As with the breaker: the check has to outweigh all the calls that were measured.
        "adaptive_throttle": lambda: AdaptiveThrottle(multiple=1.01),
        "standard": standard,
        "standard.untimed": untimed,
    }


def measure(*, quick: bool) -> Report:
    """Time a call that does nothing through each policy, everything in CPU time."""
    report = Report()
    with asyncio.Runner() as loop:
        cases = _ours(loop) + _peers(loop, report)
        figures = take_turns(cases, quick=quick)
    tell(figures, report)
    for colour in BOTH:
        rivals = [name for name in figures if _is_rival(name, f"breaker.{colour}")]
        ratios = to_fastest(f"breaker.{colour}", figures, rivals)
        report.spread(f"breaker.{colour}.to_fastest_peer", ratios)
    return report


def _ours(loop: asyncio.Runner) -> list[Case]:
    return [
        Target(colour).case(f"{policy}.{colour}", make(), policy, loop)
        for policy, make in policies().items()
        for colour in _colours(policy, BOTH)
    ]


def _peers(loop: asyncio.Runner, report: Report) -> list[Case]:
    cases = []
    for peer in PEERS:
        for colour in _colours(peer.policy, peer.colours):
            name = f"peer.{peer.package}.{peer.policy}.{colour}"
            try:
                wrap: Any = peer.make(colour)
            except ImportError as error:
                report.absent[peer.package] = str(error)
                continue
            cases.append(Target(colour).case(name, wrap, peer.policy, loop))
    return cases


def _colours(policy: str, colours: tuple[str, ...]) -> tuple[str, ...]:
    waits = policy in TIMED and "async" in colours
    return (*colours, "async_suspending") if waits else colours


def _is_rival(name: str, case: str) -> bool:
    return name.startswith("peer.") and name.endswith(f".{case}")
