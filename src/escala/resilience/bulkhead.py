"""Let only so many calls in at once, so that one slow dependency cannot take every thread."""

from __future__ import annotations

from collections.abc import Coroutine, Hashable
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

import msgspec

from escala.errors import BulkheadFull
from escala.kernel.at_fork import begin_anew
from escala.kernel.config import options
from escala.kernel.context import current
from escala.kernel.guard import Guard
from escala.kernel.policy import Scope
from escala.kernel.runtime import Runtime
from escala.kernel.units import Duration
from escala.resilience.call_key import Grouping, call_key
from escala.resilience.slots import Slots
from escala.resilience.spelling import spelled
from escala.resilience.user_function import check

Order: TypeAlias = Literal["fifo", "priority"]


class Bulkhead(Guard[Slots]):
    """Run at most `slots` calls at once; let `queue` more wait their turn, and refuse the rest.

    - `slots`: how many calls may run at once. Threads, tasks and several event loops can share
      them.
    - `queue`: how many may wait; none by default. A slot that comes free is handed to the first
      of them, so no newcomer can snatch it.
    - `wait`: the longest wait in the queue. By default only the deadline around the call ends it.
    - `order`: "fifo", first come, first served; or "priority": a greater `Request.priority` comes
      first, and into a full queue it comes in place of the last with the smallest one. Calls
      without a request have priority 0.
    - `key`: slots and a queue of their own for each value of `current_request().get(key)`, such
      as "tenant", or of a function of the current request (or None). Calls without a value share
      theirs. Only keys with calls inside or waiting are kept, at most `max_keys`; when so many
      are in use, a call of one more is refused.

    Raises `BulkheadFull`, or `DeadlineExceeded` when the deadline comes in the queue. Waiting in
    sync code inside a running event loop raises `WouldBlock`. Whatever ends a call, cancelled in
    the queue or inside, its slot goes on to the next.

    >>> bulkhead = Bulkhead(slots=1)
    >>> with bulkhead:
    ...     bulkhead.free
    0
    """

    kind: ClassVar[str] = "bulkhead"
    shorthand: ClassVar[str | None] = "slots"

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """How many at once, how many may wait, and which calls count together."""

        slots: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] = 100
        """How many calls may run at once."""
        queue: Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)] = 0
        """How many more may wait."""
        wait: Duration | None = None
        """The longest wait; without it only the deadline ends a wait."""
        order: Order = "fifo"
        """Who is next: "fifo", or the greatest "priority"."""
        key: str | None = None
        """Which calls share slots, such as "tenant"; all of them if unset."""
        max_keys: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] = 10_000
        """How many keys may be in use at once."""

        def __post_init__(self) -> None:
            if self.wait is not None and not self.queue:
                raise ValueError(f"expected a queue for who waits {self.wait.text}, found none")

    def __init__(
        self,
        slots: int = 100,
        *,
        queue: int = 0,
        wait: float | str | None = None,
        order: Order = "fifo",
        key: str | Grouping | None = None,
        max_keys: int = 10_000,
        name: str = "bulkhead",
    ) -> None:
        if callable(key):
            check(key, "key", where="Bulkhead")
        self.name = name
        given = {
            "slots": slots,
            "queue": queue,
            "wait": wait,
            "order": order,
            "key": None if callable(key) else key,
            "max_keys": max_keys,
        }
        self.options = options(self.Options, given, where="Bulkhead")
        self._key = key if callable(key) else self.options.key
        self._slots = self._room()
        self._lock = self._slots.lock
        self._begin()
        begin_anew(self, Bulkhead._forked)
        if key is not None:  # chosen once: a bulkhead without keys pays nothing for them
            self.enter = self._enter_keyed  # type: ignore[method-assign]
            self.passed = self.failed = self._left_keyed  # type: ignore[method-assign, assignment]

    def _begin(self) -> None:
        self._machine = self._slots.machine
        self._rooms: dict[Hashable, Slots] = {}

    def _forked(self) -> None:
        self._slots.forked()
        self._begin()

    def _room(self) -> Slots:
        return Slots(self.options.slots, self.options.queue, name=self.name)

    @classmethod
    def build(cls, options: Options, scope: Scope) -> Self:
        """Make the policy from its options; each of several processes gets its part."""
        given = {name: getattr(options, name) for name in options.__struct_fields__}
        given["slots"] = -(-options.slots // scope.share)
        given["queue"] = -(-options.queue // scope.share)
        return cls(**given, name=scope.label(cls.kind))

    def __repr__(self) -> str:
        key = self._key if callable(self._key) else None
        return spelled(self, self.options, name=self.name, **({"key": key} if key else {}))

    @property
    def free(self) -> int:
        """How many slots no one has; with `key`, those of a key that is not in use."""
        return self._machine.free

    @property
    def waiting(self) -> int:
        """How many calls wait for a slot, of all keys."""
        with self._lock:
            return sum(room.machine.waiting for room in self._in_use())

    def snapshot(self) -> dict[str, float]:
        """For metrics: slots `in_use`, calls `waiting` for one, and `keys` in use if there are."""
        with self._lock:
            rooms = self._in_use()
            busy = sum(room.count - room.machine.free for room in rooms)
            told = {"in_use": float(busy), "waiting": float(sum(r.machine.waiting for r in rooms))}
        return told if self._key is None else told | {"keys": float(len(rooms))}

    def _in_use(self) -> list[Slots]:
        return [self._slots] if self._key is None else list(self._rooms.values())

    def enter(self, runtime: Runtime) -> Slots | Coroutine[Any, Any, Slots]:
        """A slot, at once or after a wait; see the class."""
        slots = self._slots
        try:  # half the cost of `with`, and no interrupt can leave the lock behind either
            self._lock.acquire()
            taken = self._machine.take()
        finally:
            self._lock.release()
        return slots if taken else self._wait(slots, runtime)

    def passed(self, permit: Slots, answer: object, runtime: Runtime) -> None:  # noqa: ARG002
        """Give the slot back."""
        permit.leave()

    def failed(self, permit: Slots, error: BaseException, runtime: Runtime) -> None:  # noqa: ARG002
        """Give the slot back."""
        permit.leave()

    async def _wait(self, room: Slots, runtime: Runtime) -> Slots:
        await room.take(runtime, self.options.wait, self._priority())
        return room

    def _enter_keyed(self, runtime: Runtime) -> Slots | Coroutine[Any, Any, Slots]:
        key = call_key(self._key or "")
        with self._lock:
            room = self._rooms.get(key)
            if room is None:
                room = self._new_room(key)
            room.users += 1
            taken = room.machine.take()
        return room if taken else self._wait_keyed(room, runtime)

    async def _wait_keyed(self, room: Slots, runtime: Runtime) -> Slots:
        try:
            return await self._wait(room, runtime)
        except BaseException:
            self._forget(room)
            raise

    def _left_keyed(self, permit: Slots, _: object, __: Runtime) -> None:
        permit.leave()
        self._forget(permit)

    def _forget(self, room: Slots) -> None:
        with self._lock:
            room.users -= 1
            if not room.users:
                self._rooms.pop(room.key, None)  # a child that was forked inside has none

    def _new_room(self, key: Hashable) -> Slots:
        if len(self._rooms) >= self.options.max_keys:
            whose = self._key if isinstance(self._key, str) else "key"
            reason = f"calls of {self.options.max_keys} different values of {whose} are inside"
            raise BulkheadFull(self.name, reason)
        opts = self.options
        room = self._rooms[key] = Slots(opts.slots, opts.queue, name=self.name, lock=self._lock)
        room.key = key
        return room

    def _priority(self) -> int | None:
        if self.options.order == "fifo":
            return None
        request = current.get()
        return 0 if request is None else request.priority
