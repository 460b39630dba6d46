"""Virtual time: an hour of sleeps, timeouts and retries costs milliseconds, and repeats exactly."""

from __future__ import annotations

import asyncio
import math
import random
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from escala.errors import Deadlock
from escala.kernel.runtime import LoopRuntime, ThreadRuntime, colours
from escala.testing.virtual_loop import VirtualLoop

T = TypeVar("T")

_PATIENCE = 3600.0  # virtual seconds that cancelled tasks have for their cleaning up


class VirtualRuntime(LoopRuntime):
    """A runtime whose clock jumps to the next thing that is due: test hours in milliseconds.

    `run` drives a coroutine on an event loop of its own, in which nothing really waits: not
    Escala's policies (both colours), nor anything else that asks the loop for time
    (`asyncio.sleep`, `asyncio.timeout`, task groups). So a whole service can be tested in it.

    - The order is deterministic. Seed 0 runs what is ready in the order it became ready; any
      other seed shuffles tasks, and timers of one instant, the same way for the same seed: run
      a test under many seeds to find the orders that break it. `rng` is a generator seeded
      alike, for your own draws.
    - When every task waits and nothing is due, `run` raises `Deadlock` and names them.
    - A sync call that waits inside the loop moves the clock and lets no other task run, as it
      would. One that waits without end, for what another task has, raises `Deadlock`.
    - Real sockets, threads and processes have no place here: they know no virtual time. One
      world runs at a time in a process.

        world = VirtualRuntime(seed=7)
        world.run(my_service())
        assert world.now() < 3600
    """

    def __init__(self, seed: int = 0) -> None:
        self._loop = VirtualLoop(random.Random(seed) if seed else None)
        super().__init__(now=self._loop.time)
        self.rng = random.Random(seed)
        self._watched: dict[asyncio.Task[Any], None] = {}

    def advance(self, seconds: float) -> None:
        """Move the clock by hand, as a step that takes long would."""
        self._loop.advance(seconds)

    def spawn(
        self, coroutine: Coroutine[Any, Any, T], *, name: str | None = None
    ) -> asyncio.Task[T]:
        """Start a task beside the main one; `run` cancels what is left when the main one ends.

        Whoever awaits the task gets its error; an error that no one has got is raised by `run`.
        """
        task = self._loop.create_task(coroutine, name=name)
        self._watch(task)
        return task

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run `main` to its end in virtual time and return what it returned.

        Then cancels the tasks that are left and waits for their cleaning up. No error is lost:
        that of `main`, that of a spawned task which no one awaited, and the `Deadlock` of tasks
        that would not end. One alone is raised as it is, several as an `ExceptionGroup`.

        May be called again: the clock goes on from where it stood.
        """
        try:
            self._refuse_to_nest()
        except RuntimeError:
            main.close()
            raise
        before = colours.thread, colours.loop
        colours.thread, colours.loop = _BlockingInVirtualTime(self), self
        try:
            return self._run(main)
        finally:
            colours.thread, colours.loop = before

    def close(self) -> None:
        """Let go of the loop; a runtime that is dropped does so by itself."""
        self._loop.close()

    def _refuse_to_nest(self) -> None:
        if asyncio._get_running_loop() is not None:  # noqa: SLF001
            msg = (
                "an event loop runs in this thread: await the coroutine, or run it from a sync test"
            )
        elif isinstance(colours.loop, VirtualRuntime):
            msg = (
                "another VirtualRuntime runs in this process, and there is one virtual time at once"
            )
        elif self._loop.is_closed():
            msg = "this VirtualRuntime is closed"
        else:
            return
        raise RuntimeError(msg)

    def _run(self, main: Coroutine[Any, Any, T]) -> T:
        task = self._loop.create_task(main, name="main")
        self._watch(task)
        errors: list[BaseException] = []
        try:
            self._loop.run_until_complete(task)
        except Exception as error:  # noqa: BLE001  raised below, with its company
            errors.append(error)
        finally:
            errors += self._stop_everything()
        errors += self._unheard()
        if len(errors) > 1:
            msg = "main and the tasks beside it failed"
            raise BaseExceptionGroup(msg, errors)
        if errors:
            raise errors[0]
        return task.result()

    def _watch(self, task: asyncio.Task[Any]) -> None:
        self._watched[task] = None
        task.add_done_callback(self._forget_if_heard)

    def _forget_if_heard(self, task: asyncio.Task[Any]) -> None:
        if not task._log_traceback:  # noqa: SLF001  reading the error would count as hearing it
            self._watched.pop(task, None)

    def _unheard(self) -> list[BaseException]:
        errors = []
        for task in list(self._watched):
            if task.done():
                del self._watched[task]
                error = task.exception() if task._log_traceback else None  # noqa: SLF001
                if error is not None:
                    error.add_note(f"raised in the task {task.get_name()!r}, which no one awaited")
                    errors.append(error)
        return errors

    def _stop_everything(self) -> list[Deadlock]:
        left = self._loop.tasks()
        for task in left:
            task.cancel()
        try:
            self._loop.run_until_complete(self._cleaned_up(left))
        except Deadlock as error:
            return [error]
        finally:
            self._loop.reopen()
        names = ", ".join(task.get_name() for task in left if not task.done())
        if names:
            return [Deadlock(f"{_PATIENCE:g} s after they were cancelled these go on: {names}")]
        return []

    async def _cleaned_up(self, left: list[asyncio.Task[Any]]) -> None:
        if left:
            await asyncio.wait(left, timeout=_PATIENCE)
        await self._loop.shutdown_asyncgens()


class _BlockingInVirtualTime(ThreadRuntime):
    """The sync colour inside the loop: waiting moves the clock, and no one else runs."""

    def __init__(self, world: VirtualRuntime) -> None:
        super().__init__(now=world.now)
        self._world = world

    def _block(self, seconds: float) -> None:
        self._world.advance(seconds)

    def _hold(self, lock: threading.Lock, seconds: float) -> bool:
        if seconds == math.inf:
            raise Deadlock(
                f"at {self._world.now():.6g} s a sync call waits for what another task has, and "
                "no other runs meanwhile: await the `a` twin (`acall`, `aacquire`, `async with`), "
                "or give the call a longest wait"
            )
        self._world.advance(seconds)
        return lock.acquire(blocking=False)
