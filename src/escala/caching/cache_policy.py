"""A cache as one policy of a stack: `Stack(cache.policy(key="tenant"), Retry())`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar, cast

from escala.caching.desk import Desk
from escala.caching.loaded import Loaded
from escala.caching.named import checked
from escala.caching.pure.entry import ABSENT
from escala.caching.rules import Rules
from escala.kernel import events
from escala.kernel.context import Request, current_request
from escala.kernel.policy import Next, Policy
from escala.kernel.runtime import Runtime

T = TypeVar("T")


class CachePolicy(Policy):
    """Give what is kept for the current request's key, or run the call and keep its result.

    `key` names a value of `current_request()`, such as "tenant", or is a function of the request
    (or None) that returns text. A call without a key runs and is not kept. What stands further
    out in the stack surrounds hits too; what stands further in, only loads.
    """

    kind: ClassVar[str] = "memo"
    repeats = True  # it may run the call not at all, or behind the caller's back

    def __init__(
        self, desk: Desk, key: str | Callable[[Request | None], str | None], rules: Rules, name: str
    ) -> None:
        self.name, self._desk, self._rules, self._key = name, desk, rules, key

    def __repr__(self) -> str:
        return f"CachePolicy({self._key!r}, name={self.name!r})"

    async def around(self, call: Next[T], runtime: Runtime) -> T:
        """The value of the current request's key."""
        found, desk = self._found(), self._desk
        if found is None:
            answer: Any = await call()
            return cast("T", answer.value if type(answer) is Loaded else answer)
        key, now = checked(found), runtime.now()
        entry = desk.hit(key, now)
        if entry is None:

            async def load(_: object) -> list[T]:
                return [await call()]

            return cast("T", await desk.value(key, load, self._rules, runtime))
        desk.tally.hits += 1
        if events.listeners:
            desk.told(key, entry, now)
        return cast("T", None if entry.value is ABSENT else entry.value)

    def _found(self) -> str | None:
        request, key = current_request(), self._key
        if callable(key):
            return key(request)
        return None if request is None else request.get(key)
