"""A policy around a `with` block: its coroutine is stopped in the middle while the block runs.

The block stands where the call would: `around` is driven up to the point where it calls, the
block's body runs, and then `around` goes on with how the body ended. No policy knows of it.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Generator
from contextvars import ContextVar
from typing import Any, Protocol

from escala.kernel.runtime import Runtime


class _Around(Protocol):
    @property
    def repeats(self) -> bool: ...

    async def around(self, call: Callable[[], Awaitable[Any]], runtime: Runtime) -> Any: ...  # noqa: ANN401


_BODY = object()
_here: ContextVar[tuple[Block, ...]] = ContextVar("escala_open_blocks", default=())
_unfinished: dict[Block, None] = {}  # in the order they were opened; whoever pops one, ends it
_TAKEN = object()


@types.coroutine
def _body() -> Generator[object, None, None]:
    yield _BODY


async def _leaf() -> None:
    await _body()


class Block:
    """One entry into a `with`: the suspended `around`, waiting for the body to end."""

    __slots__ = ("_around", "policy", "sync")

    def __init__(self, policy: _Around, runtime: Runtime, *, sync: bool) -> None:
        if policy.repeats:
            msg = (
                f"{type(policy).__name__} may run its call again, which a `with` block cannot: "
                "use it as a decorator or through `call`/`acall`"
            )
            raise TypeError(msg)
        self.policy, self.sync = policy, sync
        self._around: Any = policy.around(_leaf, runtime)

    async def start(self) -> None:
        """Run `around` to where the body begins; its refusals are raised from here."""
        if not await self._advance(None):
            msg = (
                f"{type(self.policy).__name__} answered without its call, but a `with` block "
                "cannot be skipped: use it as a decorator or through `call`/`acall`"
            )
            raise RuntimeError(msg)
        _unfinished[self] = None
        here = _here.get()
        _here.set((*(block for block in here if block in _unfinished), self) if here else (self,))

    async def finish(self, error: BaseException | None) -> bool:
        """Tell `around` how the body ended; True when it swallowed the error."""
        trace = error.__traceback__ if error is not None else None
        try:
            if not await self._advance(error):
                return error is not None
        except BaseException as raised:
            if error is not None and raised is error:
                error.__traceback__ = trace  # the body's own, without the way through `around`
                return False
            if isinstance(error, StopIteration) and raised.__cause__ is error:
                return False  # no coroutine may raise it, so Python has wrapped it
            raise
        self._around.close()
        msg = f"{type(self.policy).__name__} ran its call again, which a `with` block cannot"
        raise RuntimeError(msg)

    @types.coroutine
    def _advance(self, error: BaseException | None) -> Generator[Any, Any, bool]:
        """Step `around`: True when it stands at the body, False when it has ended."""
        around = self._around
        try:
            waits_for = around.send(None) if error is None else around.throw(error)
            while waits_for is not _BODY:
                try:
                    sent = yield waits_for
                except BaseException as thrown:  # noqa: BLE001  all of it belongs to the policy
                    waits_for = around.throw(thrown)
                else:
                    waits_for = around.send(sent)
        except StopIteration:
            return False
        return True


def innermost(policy: _Around, *, sync: bool) -> Block:
    """Take the block that this `with policy` opened: the last one of this thread or task.

    A block may be left elsewhere than it was entered: a fixture that is set up in one task and
    torn down in another, `wait_for(stack.enter_async_context(policy), 1)`, a generator that the
    garbage collector closes. Then any open block of the policy will do, the newest first: they
    differ in no more than when they began, and each is ended exactly once.
    """
    here = _here.get()
    for at in range(len(here) - 1, -1, -1):
        if _take(here[at], policy, sync=sync):
            _here.set(here[:at] + here[at + 1 :])
            return here[at]
    for block in reversed(list(_unfinished)):
        if _take(block, policy, sync=sync):
            return block
    msg = f"this {type(policy).__name__} block is left without having been entered"
    raise RuntimeError(msg)


def _take(block: Block, policy: _Around, *, sync: bool) -> bool:
    return (
        block.policy is policy
        and block.sync is sync
        and _unfinished.pop(block, _TAKEN) is not _TAKEN
    )
