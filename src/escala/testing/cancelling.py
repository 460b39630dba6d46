"""Cancel a task at each of its awaits in turn, to see that all it holds comes back every time."""

from __future__ import annotations

import asyncio
import enum
import itertools
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

from escala.testing.virtual import VirtualRuntime

T = TypeVar("T")

_MOST_AWAITS = 10_000


class Moment(enum.Enum):
    """When a cancellation arrives: as the wait begins, or at once with what was waited for."""

    WAITING = "as it began to wait"
    WOKEN = "as what it waited for had come, before it could go on"


class Trial:
    """One run of a scenario, in a `world` of its own; start what is to be cancelled by `victim`."""

    def __init__(self, world: VirtualRuntime, at: int, moment: Moment) -> None:
        self.world, self.at, self.moment = world, at, moment
        self.started = self.reached = False
        self.where = "before its first step"

    def victim(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine as the task that this trial cancels; one in each trial.

        Wait for its end with `asyncio.wait({task})`, which does not mind how it ends.
        """
        if self.started:
            coroutine.close()
            msg = "a trial has one victim"
            raise RuntimeError(msg)
        self.started = True
        steps = _Steps(coroutine, self)
        task: asyncio.Task[T] = asyncio.get_running_loop().create_task(steps, name="victim")
        if self.at == 0:
            self.reached = True
            task.cancel()
        return task


def cancel_everywhere(
    scenario: Callable[[Trial], Coroutine[Any, Any, None]], *, seed: int = 0
) -> int:
    """Run a scenario once for each await of its victim, and cancel the victim there.

    The scenario is run in virtual time, each time from the start; it makes what it tests, starts
    one task with `trial.victim(...)`, and asserts at its end that nothing was lost. Each await
    is tried twice: cancelled as the wait begins, and cancelled in the same turn of the loop in
    which what it waited for arrives, which is where slots get lost. Returns the number of runs
    in which the victim was cancelled. A failure has a note that says where that was.

        async def scenario(trial: Trial) -> None:
            bulkhead = Bulkhead(slots=1)
            victim = trial.victim(bulkhead.acall(asyncio.sleep, 1))
            await asyncio.wait({victim})
            assert bulkhead.free == 1

        assert cancel_everywhere(scenario) == 3  # before the first step, and twice in the sleep
    """
    runs = 0
    for moment in Moment:
        for at in itertools.count(0 if moment is Moment.WAITING else 1):
            trial = Trial(VirtualRuntime(seed), at, moment)
            _run(scenario, trial)
            if not trial.reached:
                break
            runs += 1
            if at > _MOST_AWAITS:
                msg = f"the victim has not ended after {_MOST_AWAITS} awaits"
                raise RuntimeError(msg)
    return runs


def _run(scenario: Callable[[Trial], Coroutine[Any, Any, None]], trial: Trial) -> None:
    try:
        trial.world.run(scenario(trial))
    except BaseException as error:
        if trial.reached:
            error.add_note(f"the victim was cancelled {trial.where}, {trial.moment.value}")
        raise
    finally:
        trial.world.close()
    if not trial.started:
        msg = "the scenario started no task with `trial.victim(...)`"
        raise RuntimeError(msg)


class _Steps(Coroutine[Any, Any, T]):
    """A coroutine that counts how often it suspends, and has its task cancelled at one of them."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], trial: Trial) -> None:
        self._coroutine, self._trial = coroutine, trial
        self._count = 0

    def send(self, value: Any, /) -> Any:  # noqa: ANN401  whatever a coroutine may yield
        return self._suspended(self._coroutine.send(value))

    def throw(self, *error: Any) -> Any:  # noqa: ANN401  likewise
        return self._suspended(self._coroutine.throw(*error))

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, T]:
        return self._coroutine.__await__()

    def _suspended(self, waits_for: Any) -> Any:  # noqa: ANN401  likewise
        trial = self._trial
        self._count += 1
        if self._count == trial.at:
            trial.reached = True
            trial.where = f"at await {self._count} ({_where(self._coroutine)})"
            task = asyncio.current_task()
            assert task is not None  # noqa: S101  only a task steps this
            if trial.moment is Moment.WAITING:
                task.cancel()
            elif waits_for is None:  # a bare yield: what it waits for is the next turn
                task.get_loop().call_soon(task.cancel)
            else:
                waits_for.add_done_callback(lambda _: task.cancel())
        return waits_for


def _where(coroutine: Any) -> str:  # noqa: ANN401  coroutines, generators and what they await
    """The innermost function that waits, and its line."""
    place = "unknown"
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is not None:
            place = f"{frame.f_code.co_qualname}, line {frame.f_lineno}"
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return place
