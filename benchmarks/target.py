"""What the policies surround while they are measured, and how to see that they do their work."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from benchmarks.calls import Case, Once, async_loop, sync_loop
from benchmarks.report import BenchmarkError

from escala.kernel.runtime import colours, drive

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


MOST_FAILURES = 100_000
WARM = 100
SLOW = 0.05  # seconds


class Target:
    """A call that does nothing, until a check gives it something to do.

    Checks are written once, as coroutines: those of the sync colour never suspend.
    """

    def __init__(self, colour: str) -> None:
        self.colour = colour
        self.acts: list[Callable[[], Awaitable[object]]] = []
        self.runs = 0
        self.guarded: Any = None

    def bare(self) -> Callable[[], Any]:
        """Give the function that a policy is put around."""
        acts = self.acts

        def call() -> None:
            if acts:
                drive(self._act())

        async def acall() -> None:
            if acts:
                await self._act()

        async def suspending() -> None:
            await Once()
            if acts:
                await self._act()

        return {"sync": call, "async": acall, "async_suspending": suspending}[self.colour]

    def case(
        self, name: str, wrap: Callable[[Any], Any], policy: str, loop: asyncio.Runner
    ) -> Case:
        """Put a policy around it, to be timed and at last to be checked."""
        check = CHECKS[policy]
        if self.colour == "sync":
            self.guarded = wrap(self.bare())
            return Case(name, sync_loop(self.guarded), lambda: drive(check(self, name)))

        async def guard() -> None:
            self.guarded = wrap(self.bare())  # some look for the running loop here

        loop.run(guard())
        run = async_loop(loop, self.guarded)
        return Case(name, run, lambda: loop.run(check(self, name)))

    async def call(self) -> None:
        """Make one call through the policy, in its own colour."""
        answer = self.guarded()
        if self.colour != "sync":
            await answer

    async def refuses(self) -> bool:
        """Tell whether a call that would succeed is turned away before it runs."""
        self.acts[:] = [_fine]
        before = self.runs
        try:
            await self.call()
        except Exception:  # noqa: BLE001  each package has its own refusal
            return self.runs == before
        return False

    async def _act(self) -> None:
        self.runs += 1
        await self.acts[-1]()


async def _fine() -> None:
    pass


async def _fails() -> None:
    raise ConnectionError("as the check asked for")


async def breaker_opens(target: Target, name: str) -> None:
    target.acts[:] = [_fails]
    for _ in range(MOST_FAILURES):
        before = target.runs
        with contextlib.suppress(Exception):  # the one asked for, or a refusal
            await target.call()
        if target.runs == before:
            break
    _held(await target.refuses(), name, "did not open after so many failures")


async def retry_repeats(target: Target, name: str) -> None:
    async def fails_once() -> None:
        target.acts[:] = [_fine]
        raise ConnectionError("as the check asked for")

    target.acts[:] = [fails_once]
    target.runs = 0
    await target.call()
    _held(target.runs == 2, name, f"made {target.runs} attempts where two were needed")


async def bulkhead_is_full(target: Target, name: str) -> None:
    """Each call makes another one inside itself until there are more than slots."""
    from benchmarks.resilience_peers import SLOTS

    async def nested() -> None:
        if target.runs <= SLOTS:
            await target.call()

    target.acts[:] = [nested]
    target.runs = 0
    try:
        await target.call()
    except Exception:  # noqa: BLE001  each package has its own refusal
        _held(target.runs == SLOTS, name, f"let {target.runs} calls in, not {SLOTS}")
    else:
        _held(False, name, f"let more than {SLOTS} calls in")  # noqa: FBT003


async def time_limit_ends(target: Target, name: str) -> None:
    from benchmarks.resilience_peers import LIMIT

    from escala import time_left

    told: list[float] = []

    async def slow() -> None:
        told.append(time_left())
        if target.colour == "sync":
            time.sleep(2 * LIMIT)  # noqa: ASYNC251  a sync call blocks its thread
        else:
            await asyncio.sleep(20 * LIMIT)

    target.acts[:] = [slow]
    began = time.monotonic()
    try:
        await target.call()
    except Exception:  # noqa: BLE001  each package has its own
        took = time.monotonic() - began
        _held(took < 10 * LIMIT, name, f"ended after {took:.1f} s, not {LIMIT}")
    else:
        # No one can interrupt a thread: the call is told how much time it has.
        _held(told[0] <= LIMIT, name, "had no limit")


async def hedge_copies(target: Target, name: str) -> None:
    """The first of two calls is slow, after enough quick ones for a percentile."""
    for _ in range(WARM):
        await target.call()

    async def slow_once() -> None:
        if target.runs == 1:
            if target.colour == "sync":
                time.sleep(SLOW)  # noqa: ASYNC251  a sync call blocks its thread
            else:
                await asyncio.sleep(SLOW)

    target.acts[:] = [slow_once]
    target.runs = 0
    await target.call()
    _held(target.runs == 2, name, f"ran {target.runs} calls where a copy was due")


async def fallback_answers(target: Target, name: str) -> None:
    target.acts[:] = [_fails]
    target.runs = 0
    await target.call()
    _held(target.runs == 1, name, "did not make the call")


async def queue_holds_calls(target: Target, name: str) -> None:
    """As with the bulkhead, and the one too many waits until its time is up."""
    from benchmarks.resilience_peers import SLOTS

    from escala import Deadline

    runtime = colours.thread if target.colour == "sync" else colours.loop

    async def nested() -> None:
        if target.runs < SLOTS:
            await target.call()
        elif target.runs == SLOTS:
            await Deadline(SLOW).around(target.call, runtime)

    target.acts[:] = [nested]
    target.runs = 0
    try:
        await target.call()
    except TimeoutError:
        _held(target.runs == SLOTS, name, f"let {target.runs} calls in, not {SLOTS}")
    else:
        _held(False, name, f"let more than {SLOTS} calls in")  # noqa: FBT003


async def throttle_refuses(target: Target, name: str) -> None:
    target.acts[:] = [_fails]
    for _ in range(MOST_FAILURES):
        before = target.runs
        with contextlib.suppress(Exception):  # the one asked for, or a refusal
            await target.call()
        if target.runs == before:
            return
    _held(False, name, "refused none of so many failures")  # noqa: FBT003


def _held(right: bool, name: str, what: str) -> None:  # noqa: FBT001
    if not right:
        raise BenchmarkError(f"{name} {what}: its figure would mean nothing")


CHECKS: dict[str, Callable[[Target, str], Any]] = {
    "breaker": breaker_opens,
    "retry": retry_repeats,
    "bulkhead": bulkhead_is_full,
    "timeout": time_limit_ends,
    "hedge": hedge_copies,
    "fallback": fallback_answers,
    "adaptive_limit": bulkhead_is_full,
    "shed": queue_holds_calls,
    "adaptive_throttle": throttle_refuses,
    "standard": retry_repeats,
    "standard.untimed": retry_repeats,
}
