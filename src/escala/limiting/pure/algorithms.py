"""The machine for each algorithm that a plan can name."""

from __future__ import annotations

from typing import Any

import msgspec

from escala.limiting.plan import Limit, Plan
from escala.limiting.pure.fixed_window import FixedWindowMachine
from escala.limiting.pure.gcra import GcraMachine
from escala.limiting.pure.gcra_several import GcraMachines, GcraPairMachine
from escala.limiting.pure.machine import Machine
from escala.limiting.pure.sliding_window_counter import SlidingWindowCounterMachine
from escala.limiting.pure.sliding_window_log import SlidingWindowLogMachine

_WINDOWS: dict[str, type[Machine[Any]]] = {
    "fixed_window": FixedWindowMachine,
    "sliding_window_counter": SlidingWindowCounterMachine,
    "sliding_window_log": SlidingWindowLogMachine,
}


def machine_of(plan: Plan, max_keys: int, share: int = 1) -> Machine[Any]:
    """The machine that counts for a plan, or for one of `share` equal parts of it."""
    limits = tuple([part(limit, plan.algorithm, share) for limit in plan.limits])
    if (windows := _WINDOWS.get(plan.algorithm)) is not None:
        return windows(limits, max_keys, strict=plan.strict)
    kinds: dict[int, type[Machine[Any]]] = {1: GcraMachine, 2: GcraPairMachine}
    kind = kinds.get(len(limits), GcraMachines)
    return kind(limits, max_keys, strict=plan.strict)


def part(limit: Limit, algorithm: str, share: int) -> Limit:
    """One of `share` equal parts of a limit, each of which lets at least one call pass at once.

    Where windows count whole calls, fewer calls than parts make the window longer instead.
    """
    if share == 1:
        return limit
    burst = max(1, limit.burst // share)
    period = limit.period
    if algorithm in _WINDOWS:
        period *= max(1.0, share / limit.count)
    return msgspec.structs.replace(limit, burst=burst, period=period, rate=limit.rate / share)
