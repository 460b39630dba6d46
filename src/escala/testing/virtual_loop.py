"""An asyncio loop that never waits: where another would sleep, its clock jumps ahead."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import random
import selectors
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple, Unpack

from escala.errors import Deadlock

_Args = TypeVarTuple("_Args")
T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time, order and names under control; `VirtualRuntime` is the way to use it.

    Timers that are due at one instant run in the order they were set, and what is ready in the
    order it became ready. With `shuffle`, both orders are drawn from it, except that callbacks
    which are no task's step (a protocol's, say) keep theirs, since asyncio promises it.
    """

    def __init__(self, shuffle: random.Random | None) -> None:
        self._shuffle = shuffle
        self._moment = 0.0
        self._timers_set = itertools.count()
        self.births = itertools.count(1)
        super().__init__(_JumpingSelector(self._jump))
        self.advance(0.0)

    def time(self) -> float:
        """The virtual clock, in seconds."""
        return self._moment

    def advance(self, seconds: float) -> None:
        """Move the clock ahead of what is due."""
        if not seconds >= 0:
            msg = f"a clock only goes forward, and not by {seconds!r} s"
            raise ValueError(msg)
        self._set_clock(self._moment + seconds)

    def tasks(self) -> list[asyncio.Task[Any]]:
        """The tasks that have not ended, the oldest first."""
        return sorted(asyncio.all_tasks(self), key=hash)

    def reopen(self) -> None:
        """Let async generators begin again after `shutdown_asyncgens`: a loop may run twice."""
        self._asyncgens_shutdown_called = False

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: object = None,
        **options: Any,  # noqa: ANN401  newer Pythons have more
    ) -> asyncio.Task[T]:
        """Start a task whose name and hash are the same in every run."""
        if self.get_task_factory() is not None:
            return super().create_task(coro, name=name, **options)
        self._check_closed()  # type: ignore[attr-defined]
        return _VirtualTask(self, coro, name, **options)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[_Args]], object],
        *args: *_Args,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Set a timer; the heap of asyncio's own would mix up those of one instant."""
        self._check_closed()  # type: ignore[attr-defined]
        turn = next(self._timers_set) if self._shuffle is None else self._shuffle.getrandbits(53)
        timer = _Timer(when, turn, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)  # type: ignore[attr-defined]
        timer._scheduled = True  # type: ignore[attr-defined]  # noqa: SLF001
        return timer

    def _run_once(self) -> None:
        if self._shuffle is not None and len(self._ready) > 1:  # type: ignore[attr-defined]
            self._shuffle_tasks(self._shuffle)
        super()._run_once()  # type: ignore[misc]

    def _shuffle_tasks(self, shuffle: random.Random) -> None:
        ready: Any = self._ready  # type: ignore[attr-defined]
        order = list(ready)
        places = [at for at, handle in enumerate(order) if _steps_a_task(handle)]
        steps = [order[at] for at in places]
        shuffle.shuffle(steps)
        for at, handle in zip(places, steps, strict=True):
            order[at] = handle
        ready.clear()
        ready.extend(order)

    def _jump(self) -> None:
        if self._ready:  # type: ignore[attr-defined]
            return  # another thread has just called
        scheduled: Any = self._scheduled  # type: ignore[attr-defined]
        moment = scheduled[0]._when if scheduled else math.inf  # noqa: SLF001
        if moment == math.inf:
            names = ", ".join(task.get_name() for task in self.tasks())
            msg = f"at {self._moment:.6g} s nothing is due and these tasks wait: {names}"
            raise Deadlock(msg)
        self._set_clock(moment)

    def _set_clock(self, moment: float) -> None:
        self._moment = moment
        # A timer is due up to one resolution ahead: the least step in which the clock can differ
        # makes it never early, and never late however far the clock has come.
        self._clock_resolution = math.ulp(moment)

    # It never waits, so no one has to wake it; and without sockets there is nothing to leak.

    def _make_self_pipe(self) -> None:
        pass

    def _close_self_pipe(self) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def __del__(self) -> None:
        if not self.is_closed():
            self.close()


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, jump: Callable[[], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout > 0:
            ready = super().select(0) if self.get_map() else []
            if not ready:
                self._jump()
            return ready
        return []


class _Timer(asyncio.TimerHandle):
    __slots__ = ("_turn",)

    def __init__(  # noqa: PLR0917  asyncio's own, with one more
        self,
        when: float,
        turn: int,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: VirtualLoop,
        context: Context | None,
    ) -> None:
        super().__init__(when, callback, args, loop, context)
        self._turn = turn

    def __lt__(self, other: Any) -> bool:  # noqa: ANN401
        mine, its = self._when, other._when  # type: ignore[attr-defined]
        return bool(mine < its or (mine == its and self._turn < other._turn))


class _VirtualTask(asyncio.Task[Any]):
    """Hashes by age, so that asyncio's own sets of tasks have the same order in every run."""

    def __init__(
        self,
        loop: VirtualLoop,
        coro: Generator[Any, None, Any] | Coroutine[Any, Any, Any],
        name: object,
        **options: Any,  # noqa: ANN401
    ) -> None:
        self._age = next(loop.births)
        super().__init__(
            coro, loop=loop, name=f"task-{self._age}" if name is None else str(name), **options
        )

    def __hash__(self) -> int:
        return self._age


def _steps_a_task(handle: Any) -> bool:  # noqa: ANN401
    return isinstance(getattr(handle._callback, "__self__", None), asyncio.Task)  # noqa: SLF001
