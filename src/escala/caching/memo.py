"""A function whose results are kept: what `Cache.memo` makes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import cached_property, partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, cast, get_type_hints

from escala.caching.desk import Desk
from escala.caching.pure.entry import ABSENT
from escala.caching.pure.key_template import KeyTemplate
from escala.caching.pure.tag_template import TagTemplate
from escala.caching.rules import Rules, Tags, one
from escala.kernel import events
from escala.kernel.runtime import Runtime, colours, drive

if TYPE_CHECKING:
    from escala.caching.cache import Cache

P = ParamSpec("P")
R = TypeVar("R")
P_ = ParamSpec("P_")
R_co = TypeVar("R_co", covariant=True)


class Memoized(Protocol[P, R_co]):
    """A function with a cache around it; the methods take its own arguments."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """What the function returned, now or before."""
        ...

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The key of a call with these arguments."""
        ...

    def peek(self, *args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401
        """The value that is kept, or None; nothing is loaded."""
        ...

    async def apeek(self, *args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401
        """`peek` on an event loop."""
        ...

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401
        """Load now, whatever there is, and keep it."""
        ...

    async def arefresh(self, *args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401
        """`refresh` on an event loop."""
        ...

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """`Cache.delete` of the key of these arguments."""
        ...

    async def ainvalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """`invalidate` on an event loop."""
        ...


class Memo:
    """Turns one function into one that is `Memoized`."""

    def __init__(self, desk: Desk, cache: Cache, key: str, rules: Rules, tags: Tags) -> None:
        self._desk, self._cache = desk, cache
        self._template, self._rules, self._tags = key, rules, tags
        self._fn: Callable[..., Any] = _nothing

    def decorate(self, fn: Callable[P, R]) -> Memoized[P, R]:
        """Read the function's colour and its arguments, once."""
        self._fn = fn
        self.key = key_of = KeyTemplate(self._template).bind(fn)
        self._tags_of = tags_for(self._tags, fn)
        made = self._async() if iscoroutinefunction(fn) else self._sync()
        memoized: Any = functools.update_wrapper(made, fn)
        memoized.key = key_of
        for verb in (
            self.peek,
            self.apeek,
            self.refresh,
            self.arefresh,
            self.invalidate,
            self.ainvalidate,
        ):
            setattr(memoized, verb.__name__, verb)
        return cast("Memoized[P, R]", memoized)

    def _sync(self) -> Callable[..., Any]:
        desk, key_of, hit, value = self._desk, self.key, self._desk.hit, self._value
        tally = desk.tally

        def memoized(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            key = key_of(*args, **kwargs)
            runtime = colours.thread
            now = runtime.now()
            entry = hit(key, now)
            if entry is None:
                return drive(value(key, args, kwargs, runtime))
            tally.hits += 1
            if events.listeners:
                desk.told(key, entry, now)
            return entry.value

        return memoized

    def _async(self) -> Callable[..., Any]:
        desk, key_of, hit, value = self._desk, self.key, self._desk.hit, self._value
        tally = desk.tally

        async def memoized(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            key = key_of(*args, **kwargs)
            runtime = colours.loop
            now = runtime.now()
            entry = hit(key, now)
            if entry is None:
                return await value(key, args, kwargs, runtime)
            tally.hits += 1
            if events.listeners:
                desk.told(key, entry, now)
            return entry.value

        return memoized

    async def _value(
        self, key: str, args: tuple[Any, ...], kwargs: dict[str, Any], runtime: Runtime
    ) -> Any:  # noqa: ANN401
        load = one(partial(self._fn, *args, **kwargs), runtime)
        return await self._desk.value(key, load, self._for(args, kwargs), runtime)

    def _for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Rules:
        """The rules for one call."""
        rules, tags_of = self._typed, self._tags_of
        if tags_of is None:
            return rules
        return Rules(
            times=rules.times,
            kind=rules.kind,
            ttl_of=rules.ttl_of,
            tags=rules.tags,
            tags_of=lambda result: tags_of(result, *args, **kwargs),
        )

    @cached_property
    def _typed(self) -> Rules:
        """The rules with the type of the result, which may be defined after the function."""
        rules = self._rules
        kind = rules.kind if rules.kind is not None else result_type(self._fn)
        return Rules(times=rules.times, kind=kind, ttl_of=rules.ttl_of, tags=rules.tags)

    # The verbs

    async def _peek(self, key: str, runtime: Runtime) -> Any:  # noqa: ANN401
        return await self._desk.value(key, None, self._typed, runtime)

    def peek(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """See `Memoized`."""
        return drive(self._peek(self.key(*args, **kwargs), colours.thread))

    async def apeek(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """See `Memoized`."""
        return await self._peek(self.key(*args, **kwargs), colours.loop)

    async def _renewed(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], runtime: Runtime
    ) -> Any:  # noqa: ANN401
        load = one(partial(self._fn, *args, **kwargs), runtime)
        key = self.key(*args, **kwargs)
        return await self._desk.renewed(key, load, self._for(args, kwargs), runtime)

    def refresh(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """See `Memoized`."""
        return drive(self._renewed(args, kwargs, colours.thread))

    async def arefresh(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """See `Memoized`."""
        return await self._renewed(args, kwargs, colours.loop)

    def invalidate(self, *args: Any, **kwargs: Any) -> bool:  # noqa: ANN401
        """See `Memoized`."""
        return self._cache.delete(self.key(*args, **kwargs))

    async def ainvalidate(self, *args: Any, **kwargs: Any) -> bool:  # noqa: ANN401
        """See `Memoized`."""
        return await self._cache.adelete(self.key(*args, **kwargs))


def tags_for(tags: Tags, fn: Callable[..., Any]) -> Callable[..., Any] | None:
    """What gives the tags of a call from its result and its arguments; None if there are none."""
    if callable(tags):
        told: Any = tags
        return lambda result, *_args, **_kwargs: told(result)
    if isinstance(tags, str):
        raise TypeError(f"tags: expected several, such as ({tags!r},), found one text")
    texts = tuple(tags)
    return TagTemplate(*texts).bind(fn) if texts else None


def result_type(fn: Callable[..., Any]) -> Any:  # noqa: ANN401
    """The annotation of what a function returns; None if it has none that can be read."""
    try:
        kind = get_type_hints(fn, include_extras=True).get("return")
    except Exception:  # noqa: BLE001  whatever an annotation's names raise
        return None
    return None if kind in (Any, type(None), object) else kind


def _nothing() -> object:
    return ABSENT
