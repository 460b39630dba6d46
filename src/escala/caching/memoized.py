"""What an editor knows of a function whose results are kept."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeVar, overload

from escala.caching.loaded import Loaded

P = ParamSpec("P")
Q = ParamSpec("Q")
S = TypeVar("S")
V = TypeVar("V")
R_co = TypeVar("R_co", covariant=True)
V_co = TypeVar("V_co", covariant=True)


class Memoized(Protocol[P, R_co, V_co]):
    """A function with a cache around it; the methods take its own arguments.

    Those of a method take the object first: `Shop.price.peek(shop, "tea")`.
    """

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """What the function returned, now or before."""
        ...

    @overload
    def __get__(self, instance: None, owner: type | None = None, /) -> Self: ...
    @overload
    def __get__(
        self: Memoized[Concatenate[S, Q], R_co, V_co], instance: S, owner: type | None = None, /
    ) -> Callable[Q, R_co]: ...

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The key of a call with these arguments."""
        ...

    def peek(self, *args: P.args, **kwargs: P.kwargs) -> V_co | None:
        """The value that is kept, or None; nothing is loaded."""
        ...

    async def apeek(self, *args: P.args, **kwargs: P.kwargs) -> V_co | None:
        """`peek` on an event loop."""
        ...

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> V_co:
        """Load now, whatever there is, and keep it."""
        ...

    async def arefresh(self, *args: P.args, **kwargs: P.kwargs) -> V_co:
        """`refresh` on an event loop."""
        ...

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """`Cache.delete` of the key of these arguments."""
        ...

    async def ainvalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """`invalidate` on an event loop."""
        ...


class Memoizing(Protocol):
    """What `Cache.memo` returns: a decorator for either colour."""

    @overload
    def __call__(
        self, fn: Callable[P, Coroutine[Any, Any, Loaded[V]]], /
    ) -> Memoized[P, Coroutine[Any, Any, V], V]: ...
    @overload
    def __call__(
        self, fn: Callable[P, Coroutine[Any, Any, V]], /
    ) -> Memoized[P, Coroutine[Any, Any, V], V]: ...
    @overload
    def __call__(self, fn: Callable[P, Loaded[V]], /) -> Memoized[P, V, V]: ...
    @overload
    def __call__(self, fn: Callable[P, V], /) -> Memoized[P, V, V]: ...


class Versioning(Protocol):
    """What `Cache.versioned` returns: a decorator for either colour."""

    @overload
    def __call__(
        self, fn: Callable[P, Coroutine[Any, Any, Loaded[V]]], /
    ) -> Callable[P, Coroutine[Any, Any, V]]: ...
    @overload
    def __call__(
        self, fn: Callable[P, Coroutine[Any, Any, V]], /
    ) -> Callable[P, Coroutine[Any, Any, V]]: ...
    @overload
    def __call__(self, fn: Callable[P, Loaded[V]], /) -> Callable[P, V]: ...
    @overload
    def __call__(self, fn: Callable[P, V], /) -> Callable[P, V]: ...
