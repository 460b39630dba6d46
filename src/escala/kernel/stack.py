"""Policies that surround each other, listed from the outermost to the innermost."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any, TypeVar

from escala.kernel.policy import Next, Packed, Policy
from escala.kernel.runtime import Runtime

T = TypeVar("T")


class Stack(Policy):
    """Several policies as one: `Stack(Deadline("3s"), Retry(), CircuitBreaker())`.

    The first surrounds all others, the last is nearest to the call, so the text reads as the
    call travels. A stack is itself a policy: it decorates, calls, nests and opens blocks.
    """

    kind = "stack"

    def __init__(self, *policies: Policy) -> None:
        for policy in policies:
            if not isinstance(policy, Policy):
                msg = f"write Stack(policy, policy, ...), outermost first; found {policy!r}"
                raise TypeError(msg)
        self.policies = policies
        self.repeats = any(policy.repeats for policy in policies)
        self._outermost = policies[0].around if policies else _straight
        self._inner = tuple(policy.around for policy in reversed(policies[1:]))

    def __or__(self, inner: Policy) -> Stack:
        """A stack with one more policy, inside the others."""
        return Stack(*self.policies, inner)

    def __repr__(self) -> str:
        """The stack as it was written."""
        return f"Stack({', '.join(repr(policy) for policy in self.policies)})"

    def flat(self) -> Iterator[Policy]:
        """Every single policy, outermost first, with those of the stacks inside it."""
        for policy in self.policies:
            if isinstance(policy, Stack):
                yield from policy.flat()
            else:
                yield policy

    async def around(self, call: Next[T], runtime: Runtime) -> T:
        """Pass the call through every policy, from the first to the last."""
        nested: Any = call
        for around in self._inner:
            nested = functools.partial(around, nested, runtime)
        return await self._outermost(nested, runtime)

    def within_sync(self, call: Packed) -> Packed:
        """Each policy around the next, so that those which need no coroutine have none.

        Neighbours that need one are driven together: once, and not each from within the other.
        """
        for driven, group in itertools.groupby(reversed(self.policies), lambda each: each.driven):
            near = list(group)
            if driven and len(near) > 1:
                call = super(Stack, Stack(*reversed(near))).within_sync(call)
                continue
            for policy in near:
                call = policy.within_sync(call)
        return call

    def within_async(self, call: Packed) -> Packed:
        """The same on an event loop."""
        for policy in reversed(self.policies):
            call = policy.within_async(call)
        return call


async def _straight(call: Next[T], _runtime: Runtime) -> T:
    return await call()
