"""Keeps what an open upstream knows fresh: its health checks, and the search for targets."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import random
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from escala.kernel.runtime import colours
from escala.kernel.wrong_value import WrongValue

if TYPE_CHECKING:
    from escala.balancing.discovery import Discovery, Found
    from escala.balancing.health_check import HealthCheck
    from escala.balancing.target import Target, TargetOptions

_PATIENCE = 30.0  # seconds for one look


class Lookout:
    """The tasks of one upstream, on the event loop that is running when it is made."""

    def __init__(
        self,
        name: str,
        *,
        health: HealthCheck | None,
        discovery: Discovery | None,
        rng: random.Random,
        observe: Callable[[Target, bool], None],
        found: Callable[[Sequence[Target | TargetOptions | str]], None],
        failed: Callable[[BaseException], None],
        targets: Callable[[], Sequence[Target]],
    ) -> None:
        self._name, self._health, self._discovery, self._rng = name, health, discovery, rng
        self._observe, self._found, self._failed = observe, found, failed
        self._targets = targets
        self._loop = asyncio.get_running_loop()
        self._checks: dict[Target, asyncio.Task[None]] = {}
        self._looked = asyncio.Event()
        self._search: asyncio.Task[None] | None = None
        if discovery is not None:
            self._search = self._spawn(self._look(discovery), "discovery")

    @property
    def running(self) -> bool:
        """Whether any task is left; a loop that ended has ended its tasks, or runs them no more."""
        if self._loop.is_closed():
            return False
        return self.checking or (self._search is not None and not self._search.done())

    @property
    def checking(self) -> bool:
        """Whether a health check runs."""
        return any(not check.done() for check in self._checks.values())

    async def first_look(self) -> None:
        """Wait until targets were looked for once, found or not."""
        if self._discovery is not None:
            await self._looked.wait()

    def follow(self) -> None:
        """Check the targets there are now, and no others; from any thread."""
        if self._health is None:
            return
        try:
            inside = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            inside = False
        if inside:
            self._follow()
        else:
            with suppress(RuntimeError):  # that loop is closed, and its checks are over
                self._loop.call_soon_threadsafe(self._follow)

    def check_loop(self) -> None:
        """Raise `RuntimeError` where the tasks cannot be ended: in another loop than theirs."""
        if not self._loop.is_closed() and asyncio.get_running_loop() is not self._loop:
            raise RuntimeError(
                f"upstream {self._name} was opened in another event loop: close it there"
            )

    async def stop(self) -> None:
        """End all tasks, in their loop; nothing is left to end when that is closed."""
        tasks = [*self._checks.values(), *([self._search] if self._search else [])]
        self._health, self._search = None, None
        self._checks.clear()
        if self._loop.is_closed():
            return
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _follow(self) -> None:
        health = self._health
        if health is None:
            return
        # Those of this moment: of two changes at once, either may be told of last.
        targets = self._targets()
        for gone in self._checks.keys() - set(targets):
            self._checks.pop(gone).cancel()
        for target in targets:
            if target not in self._checks:
                observe = functools.partial(self._observe, target)
                watch = health.watch(target, observe, colours.loop, self._rng)
                self._checks[target] = self._spawn(watch, f"health {target.address}")

    async def _look(self, discovery: Discovery) -> None:
        runtime = colours.loop
        seconds = discovery.again
        while True:
            try:
                found = await runtime.race(discovery.look, runtime.now() + _PATIENCE)
                if found is not None:
                    seconds = _seconds(found)
                    self._found(found.targets)
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                seconds = discovery.again  # it waited for something that someone else cancelled
                self._failed(error)
            except Exception as error:  # noqa: BLE001  whatever it is, the old targets stay
                seconds = discovery.again
                self._failed(error)
            self._looked.set()
            await runtime.sleep(seconds)

    def _spawn(self, work: Coroutine[Any, Any, None], what: str) -> asyncio.Task[None]:
        # Not in the opener's context: its deadline or request is no business of ours.
        return self._loop.create_task(
            work, name=f"{self._name} {what}", context=contextvars.Context()
        )


def _seconds(found: Found) -> float:
    seconds = found.seconds
    if not seconds >= 0:  # or NaN
        raise WrongValue("seconds of 0 or more until the next look", seconds)
    return seconds
