"""Policies that do little, and tell what they did."""

from __future__ import annotations

from typing import TypeVar

from escala.kernel.policy import Next, Policy
from escala.kernel.runtime import Runtime

T = TypeVar("T")


class Told(Policy):
    """Writes into `log` when a call begins and how it ends."""

    def __init__(self, log: list[str] | None = None, name: str = "told") -> None:
        self.log: list[str] = [] if log is None else log
        self.name = name

    def __repr__(self) -> str:
        return f"Told({self.name})"

    async def around(self, call: Next[T], runtime: Runtime) -> T:
        self.log.append(f"{self.name} begins")
        try:
            answer = await call()
        except BaseException as error:
            self.log.append(f"{self.name} saw {type(error).__name__}")
            raise
        self.log.append(f"{self.name} ends")
        return answer


class Slot(Policy):
    """Counts who is inside; `taken` must come back to zero."""

    def __init__(self) -> None:
        self.taken = self.most = 0

    async def around(self, call: Next[T], runtime: Runtime) -> T:
        self.taken += 1
        self.most = max(self.most, self.taken)
        try:
            return await call()
        finally:
            self.taken -= 1


class Numbered(Policy):
    """Numbers its calls, and writes into `log` which of them begins and ends."""

    def __init__(self, log: list[str]) -> None:
        self.log, self.calls = log, 0

    async def around(self, call: Next[T], runtime: Runtime) -> T:
        self.calls += 1
        number = self.calls
        self.log.append(f"{number} begins")
        try:
            return await call()
        finally:
            self.log.append(f"{number} ends")


class Again(Policy):
    """Runs its call as often as told; `admits` to it, or not."""

    def __init__(self, times: int, *, admits: bool = True) -> None:
        self.times, self.repeats = times, admits

    async def around(self, call: Next[T], runtime: Runtime) -> T:
        for _ in range(self.times - 1):
            await call()
        return await call()


class Slow(Policy):
    """Waits before and after its call."""

    def __init__(self, before: float = 0, after: float = 0) -> None:
        self.before, self.after = before, after
        self.log: list[str] = []

    async def around(self, call: Next[T], runtime: Runtime) -> T:
        try:
            await runtime.sleep(self.before)
            answer = await call()
            await runtime.sleep(self.after)
        except BaseException as error:
            self.log.append(type(error).__name__)
            raise
        return answer


class Swallow(Policy):
    """Answers None instead of raising."""

    async def around(self, call: Next[T], runtime: Runtime) -> T:
        try:
            return await call()
        except BaseException:  # noqa: BLE001  to see what a block makes of it
            return None  # type: ignore[return-value]


class Translate(Policy):
    """Raises an error of its own instead of any other."""

    async def around(self, call: Next[T], runtime: Runtime) -> T:
        try:
            return await call()
        except Exception as error:
            raise LookupError("translated") from error


class Refuse(Policy):
    """Never calls."""

    async def around(self, call: Next[T], runtime: Runtime) -> T:
        raise PermissionError("refused")


class Answer(Policy):
    """Answers without a call, as a cache does."""

    async def around(self, call: Next[T], runtime: Runtime) -> T:
        return "from the cache"  # type: ignore[return-value]


class Within(Policy):
    """Gives the call so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    async def around(self, call: Next[T], runtime: Runtime) -> T:
        return await runtime.race(call, runtime.now() + self.seconds)
