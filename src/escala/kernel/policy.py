"""The one abstraction that surrounds calls: retry, breaker, limiter, cache, gateway filter.

A policy says what it does in one coroutine, `around`; this class gives it every way to be used:
as a decorator, `call`/`acall`, `with`/`async with`, in both colours.
"""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from types import CoroutineType
from typing import Any, ClassVar, NoReturn, ParamSpec, Self, TypeAlias, TypeVar

import msgspec

from escala.kernel.block import Block, innermost
from escala.kernel.runtime import Runtime, colours, drive

T = TypeVar("T")
P = ParamSpec("P")
Next: TypeAlias = Callable[[], Awaitable[T]]
Packed: TypeAlias = Callable[[tuple[Any, ...], dict[str, Any]], Any]


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy built from configuration learns of its surroundings.

    `name` prefixes the policy's own. A returned value may be a failure (the gateway: a 5xx
    answer): `judge` says so, `hint` gives the seconds to stay away that a value or an error asks
    for (`Retry-After`), and `discard` lets go of a value that no one will read. `share` is the
    number of processes that a limit is divided by.
    """

    name: str = ""
    judge: Callable[[Any], bool] | None = None
    hint: Callable[[Any], float | None] | None = None
    discard: Callable[[Any], None] | None = None
    share: int = 1

    def label(self, kind: str) -> str:
        """The name of a policy of this kind in this scope."""
        return f"{self.name}.{kind}" if self.name else kind


class Policy(ABC):
    """Something that surrounds a call. Subclass it and write `around`; the rest is given.

    Class variables say how it appears in `stack.yaml`: `kind` is its name there, `Options` its
    fields, `shorthand` the field that a bare value fills. `repeats` is True when `around` may
    run the call more than once, which a `with` block cannot.
    """

    kind: ClassVar[str] = "policy"
    Options: ClassVar[type[msgspec.Struct]] = msgspec.Struct
    shorthand: ClassVar[str | None] = None
    repeats: bool = False

    @abstractmethod
    async def around(self, call: Next[T], runtime: Runtime) -> T:
        """Run `call` (zero, one or more times) and return or raise what came of it.

        Everything that waits goes through `runtime`; what is taken is given back in `finally`,
        since a cancellation may arrive at any `await`.
        """

    @classmethod
    def build(cls, options: Any, scope: Scope) -> Self:  # noqa: ANN401, ARG003  each policy's own
        """Make the policy from its `Options`, as `stack.yaml` does."""
        raise TypeError(f"{cls.__name__} cannot be built from configuration")

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a sync function under this policy, in the caller's thread.

        Raises `TypeError` for an async function: that is for `acall`.
        """

        async def leaf() -> T:
            return fn(*args, **kwargs)

        answer = drive(self.around(leaf, colours.thread))
        if type(answer) is CoroutineType:
            refuse_unawaited(fn, answer, "give it to `acall` instead of `call`")
        return answer

    async def acall(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run an async function under this policy, on the running event loop.

        Raises `TypeError` for a sync function: that is for `call`.
        """

        async def leaf() -> T:
            answer = fn(*args, **kwargs)
            if type(answer) is not CoroutineType and not inspect.isawaitable(answer):
                _refuse_unawaitable(fn, answer)
            return await answer

        return await self.around(leaf, colours.loop)

    def __call__(self, fn: Callable[P, T]) -> Callable[P, T]:
        """Decorate a function or method of either colour; the colour is read once, here.

        Raises `TypeError` for what has no single end to surround: generators, classes, and
        `staticmethod`/`classmethod` objects (decorate the function inside them).
        """
        guarded: Any = self._decorated_async(fn) if _is_async(fn) else self._decorated_sync(fn)
        return functools.update_wrapper(guarded, fn)

    def _decorated_sync(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        call = self.within_sync(lambda args, kwargs: fn(*args, **kwargs))

        def guarded(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            answer = call(args, kwargs)
            if type(answer) is CoroutineType:
                refuse_unawaited(fn, answer)
            return answer

        return guarded

    def _decorated_async(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        call = self.within_async(lambda args, kwargs: fn(*args, **kwargs))

        async def guarded(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            return await call(args, kwargs)

        return guarded

    def within_sync(self, call: Packed) -> Packed:
        """`call` with this policy around it, in the caller's thread.

        Both take arguments as they are kept in between, a tuple and a dict, which costs a fifth
        of unpacking them for each policy on the way.
        """

        def guarded(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
            async def leaf() -> Any:  # noqa: ANN401
                return call(args, kwargs)

            return drive(self.around(leaf, colours.thread))

        return guarded

    @property
    def driven(self) -> bool:
        """Whether `within_sync` does nothing but drive `around`, and so may do it with others."""
        return type(self).within_sync is Policy.within_sync

    def within_async(self, call: Packed) -> Packed:
        """The same on an event loop, where both return what is to be awaited."""

        def guarded(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
            return self.around(functools.partial(call, args, kwargs), colours.loop)

        return guarded

    def __enter__(self) -> Self:
        """Open a block: what the policy does before a call happens here."""
        drive(Block(self, colours.thread, sync=True).start())
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        """Close the block: the policy learns how it ended."""
        return drive(innermost(self, sync=True).finish(error))

    async def __aenter__(self) -> Self:
        """Open a block in a task; `__enter__` in the other colour."""
        await Block(self, colours.loop, sync=False).start()
        return self

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        """Close the block; `__exit__` in the other colour."""
        return await innermost(self, sync=False).finish(error)


def refuse_unawaited(
    fn: Callable[..., Any], answer: object, do: str = "decorate the `async def` itself"
) -> NoReturn:
    """A sync function has returned a coroutine."""
    if isinstance(answer, CoroutineType):
        answer.close()
    raise TypeError(
        f"{_name(fn)} returned a coroutine, which would run after the policy has ended: {do}"
    )


def _refuse_unawaitable(fn: Callable[..., Any], answer: object) -> NoReturn:
    raise TypeError(
        f"`acall` takes async functions; {_name(fn)} returned {type(answer).__name__}, "
        "which cannot be awaited: give it to `call`"
    )


def _name(fn: object) -> str:
    return getattr(fn, "__qualname__", None) or repr(fn)


def _is_async(fn: Callable[..., Any]) -> bool:
    name = _name(fn)
    if isinstance(fn, (staticmethod, classmethod)):
        msg = f"put the policy below @{type(fn).__name__}, on the function itself"
        raise TypeError(msg)
    if inspect.isclass(fn) or not callable(fn):
        msg = f"a policy decorates functions and methods; {name} is {type(fn).__name__}"
        raise TypeError(msg)
    runs: Any = fn.func if isinstance(fn, functools.partial) else fn
    if not inspect.isroutine(runs):
        runs = runs.__call__  # an object that can be called has the colour of that method
    if inspect.isgeneratorfunction(runs) or inspect.isasyncgenfunction(runs):
        msg = (
            f"{name} is a generator: it has no single result to repeat, time or count. "
            "Decorate the function that consumes it, or the one it calls for each item"
        )
        raise TypeError(msg)
    return inspect.iscoroutinefunction(runs)
