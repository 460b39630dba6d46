"""A function whose results are kept: what `Cache.memo` makes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from inspect import isawaitable, signature
from typing import Any

import msgspec

from escala.caching.desk import Desk
from escala.caching.function import is_async, name_of, result_type
from escala.caching.pure.entry import ABSENT
from escala.caching.pure.key_template import KeyTemplate
from escala.caching.pure.tag_template import TagTemplate
from escala.caching.rules import Load, Rules, Tags
from escala.caching.value_store import Signal
from escala.caching.writer import Writer
from escala.kernel import events
from escala.kernel.policy import refuse_unawaited
from escala.kernel.runtime import Runtime, colours, drive


class MemoFunction:
    """One function, its keys, and what stands in its place."""

    def __init__(
        self,
        desk: Desk,
        writer: Writer,
        key: KeyTemplate,
        rules: Rules,
        tags: Tags,
        *,
        fn: Callable[..., Any],
    ) -> None:
        self._desk, self._writer, self._rules, self._fn = desk, writer, rules, fn
        self._asynchronous = is_async(fn)
        self._tags_of = tags_for(tags, fn)
        self._key_of = key.bind(fn)
        self._method = _method(fn)

    def memoized(self) -> Any:  # noqa: ANN401  Memoized
        """What stands in the function's place."""
        made: Any = self._async() if self._asynchronous else self._sync()
        memoized = functools.update_wrapper(made, self._fn)
        for verb in (
            self.key,
            self.peek,
            self.apeek,
            self.refresh,
            self.arefresh,
            self.invalidate,
            self.ainvalidate,
        ):
            setattr(memoized, verb.__name__, verb)
        return memoized

    def _sync(self) -> Callable[..., Any]:
        desk, hit, value = self._desk, self._desk.hit, self._value
        key_of, tally = self._key_of, self._desk.tally

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
            return None if entry.value is ABSENT else entry.value

        return memoized

    def _async(self) -> Callable[..., Any]:
        desk, hit, value = self._desk, self._desk.hit, self._value
        key_of, tally = self._key_of, self._desk.tally

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
            return None if entry.value is ABSENT else entry.value

        return memoized

    async def _value(
        self, key: str, args: tuple[Any, ...], kwargs: dict[str, Any], runtime: Runtime
    ) -> Any:  # noqa: ANN401
        load = self._load(args, kwargs)
        return await self._desk.value(key, load, self._for(args, kwargs), runtime)

    def _load(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Load:
        fn, asynchronous = self._fn, self._asynchronous

        async def ask(_: Sequence[object]) -> Sequence[Any]:
            value = fn(*args, **kwargs)
            if asynchronous:
                value = await value
            elif isawaitable(value):
                refuse_unawaited(fn, value)
            return [value]

        return ask

    def _for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Rules:
        """The rules for one call."""
        tags_of = self._tags_of
        if tags_of is None:
            return self._typed
        return msgspec.structs.replace(
            self._typed, tags_of=lambda result: tags_of(result, *args, **kwargs)
        )

    @cached_property
    def _typed(self) -> Rules:
        """The rules with the type of the result, which may be defined after the function."""
        return msgspec.structs.replace(self._rules, kind=result_type(self._fn))

    # The verbs

    def key(self, *args: Any, **kwargs: Any) -> str:  # noqa: ANN401
        """See `Memoized`."""
        method = self._method
        if method is not None and args and not hasattr(args[0], method):
            # The other arguments would have moved up, and named another key.
            raise TypeError(
                f"expected the object before the arguments, as in {name_of(self._fn)}.peek(self, "
                f"…); found {type(args[0]).__name__}"
            )
        return self._key_of(*args, **kwargs)

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
        key, load = self.key(*args, **kwargs), self._load(args, kwargs)
        return await self._desk.renewed(key, load, self._for(args, kwargs), runtime)

    def refresh(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """See `Memoized`."""
        if self._asynchronous:
            raise TypeError(f"{name_of(self._fn)} is async: await `arefresh` instead of `refresh`")
        return drive(self._renewed(args, kwargs, colours.thread))

    async def arefresh(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """See `Memoized`."""
        return await self._renewed(args, kwargs, colours.loop)

    async def _invalidated(self, key: str, runtime: Runtime) -> bool:
        signals = [Signal("key", key)]
        return await self._writer.invalidate(signals, runtime, lag=self._rules.times.lag)

    def invalidate(self, *args: Any, **kwargs: Any) -> bool:  # noqa: ANN401
        """See `Memoized`."""
        return drive(self._invalidated(self.key(*args, **kwargs), colours.thread))

    async def ainvalidate(self, *args: Any, **kwargs: Any) -> bool:  # noqa: ANN401
        """See `Memoized`."""
        return await self._invalidated(self.key(*args, **kwargs), colours.loop)


class Memo:
    """A decorator; of several functions that it is put on, each is asked for its own."""

    def __init__(self, desk: Desk, writer: Writer, key: str, rules: Rules, tags: Tags) -> None:
        self._desk, self._writer, self._rules = desk, writer, rules
        self._key = KeyTemplate(key)
        self._tags = tags if callable(tags) else several(tags)

    def decorate(self, fn: Callable[..., Any]) -> Any:  # noqa: ANN401  see `Memoizing`
        """Read the function's colour and its arguments, once."""
        how = (self._desk, self._writer, self._key, self._rules, self._tags)
        return MemoFunction(*how, fn=fn).memoized()


def several(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags as they were given. Raises `TypeError` for one text, which is many letters."""
    if isinstance(tags, str):
        raise TypeError(f"tags: expected several, such as ({tags!r},), found one text")
    return tuple(tags)


def tags_for(tags: Tags, fn: Callable[..., Any]) -> Callable[..., Any] | None:
    """What gives the tags of a call from its result and its arguments; None if there are none."""
    if callable(tags):
        told: Any = tags
        return lambda result, *_args, **_kwargs: told(result)
    texts = several(tags)
    return TagTemplate(*texts).bind(fn) if texts else None


def _method(fn: Callable[..., Any]) -> str | None:
    """The name by which an object has this function; None if it is no method."""
    place, _, name = getattr(fn, "__qualname__", "").rpartition(".")
    in_class = bool(place) and not place.endswith("<locals>") and not name.startswith("__")
    first = next(iter(signature(fn).parameters), "")
    return name if in_class and first in {"self", "cls"} else None
