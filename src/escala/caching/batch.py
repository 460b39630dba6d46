"""A function that is asked for many things at once: what `Cache.batch` makes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from inspect import isawaitable
from typing import Any, ParamSpec, TypeVar, cast, get_args

import msgspec

from escala.caching.desk import Desk
from escala.caching.function import is_async, name_of, result_type
from escala.caching.loaded import kind_within
from escala.caching.memo import several
from escala.caching.named import marked
from escala.caching.pure.batch_template import BatchTemplate
from escala.caching.pure.entry import ABSENT
from escala.caching.pure.tag_template import TagTemplate
from escala.caching.rules import Load, Rules, Tags
from escala.kernel import events
from escala.kernel.policy import refuse_unawaited
from escala.kernel.runtime import Runtime, colours, drive

P = ParamSpec("P")
R = TypeVar("R")
_PAIR = 2


class Batch:
    """A decorator; of several functions that it is put on, each is asked for its own."""

    def __init__(self, desk: Desk, key: str, rules: Rules, tags: Tags, items: str | None) -> None:
        self._desk, self._rules, self._items = desk, rules, items
        self._key = BatchTemplate(key)
        self._tags = tags if callable(tags) else several(tags)

    def decorate(self, fn: Callable[P, R]) -> Callable[P, R]:
        """Read the function's colour and its arguments, once."""
        how = (self._desk, self._key, self._rules, self._tags)
        made = BatchFunction(*how, items=self._items, fn=fn)
        return cast("Callable[P, R]", made.batched())


class BatchFunction:
    """Turns one function of a list into one that asks only for what is missing."""

    def __init__(
        self,
        desk: Desk,
        key: BatchTemplate,
        rules: Rules,
        tags: Tags,
        *,
        items: str | None,
        fn: Callable[..., Any],
    ) -> None:
        self._desk, self._rules, self._fn = desk, rules, fn
        self._asynchronous = is_async(fn)
        self._bound = key.bind(fn, items)
        self._tags = _BatchTags(tags, fn)

    def batched(self) -> Any:  # noqa: ANN401  with the function's signature
        """What stands in the function's place."""
        keys_of, answers = self._bound.keys, self._answers

        def batched(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            items, keys = keys_of(*args, **kwargs)
            return drive(answers(items, keys, args, kwargs, colours.thread))

        async def abatched(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            items, keys = keys_of(*args, **kwargs)
            return await answers(items, keys, args, kwargs, colours.loop)

        made: Callable[..., Any] = abatched if self._asynchronous else batched
        return functools.update_wrapper(made, self._fn)

    async def _answers(
        self,
        items: list[Any],
        keys: list[str],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        runtime: Runtime,
    ) -> dict[Any, Any]:
        desk, now = self._desk, runtime.now()
        values: dict[str, Any] = {}
        missing: dict[str, Any] = {}
        for item, key in zip(items, keys, strict=True):
            entry = desk.hit(key, now)
            if entry is None:
                missing.setdefault(key, item)
            else:
                values[key] = entry.value
                desk.tally.hits += 1
                if events.listeners:
                    desk.told(key, entry, now)
        if missing:
            load, rules = self._load(args, kwargs), self._for(args, kwargs)
            values |= await desk.values(missing, load, rules, runtime)
        found = {item: values[key] for item, key in zip(items, keys, strict=True)}
        return {item: value for item, value in found.items() if value is not ABSENT}

    def _load(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Load:
        fn, asynchronous = self._fn, self._asynchronous

        async def ask(parts: Sequence[Any]) -> Sequence[Any]:
            found = self._bound.call(list(parts), *args, **kwargs)
            if asynchronous:
                found = await found
            elif isawaitable(found):
                refuse_unawaited(fn, found)
            if not isinstance(found, Mapping):
                raise TypeError(
                    f"{name_of(fn)}: expected a dict with what was found for each item, found "
                    f"{type(found).__name__}"
                )
            return [found.get(part, ABSENT) for part in parts]

        return ask

    def _for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Rules:
        """The rules for one call."""
        typed, tags = self._typed, self._tags
        return msgspec.structs.replace(
            typed,
            tags=(*typed.tags, *marked(tags.of_call(*args, **kwargs))),
            tags_of=tags.of_result(args, kwargs),
        )

    @cached_property
    def _typed(self) -> Rules:
        """The rules with the type of one value, from what the dict is said to hold."""
        arguments = get_args(result_type(self._fn))
        kind = kind_within(arguments[1]) if len(arguments) == _PAIR else None
        kind = None if kind is Any else kind
        return msgspec.structs.replace(self._rules, kind=kind)


class _BatchTags:
    """Tags that every item of a call has, found or not, and tags that only a value can tell."""

    def __init__(self, tags: Tags, fn: Callable[..., Any]) -> None:
        self._told = tags if callable(tags) else None
        texts = () if callable(tags) else several(tags)
        named = [text for text in texts if TagTemplate(text).names_result]
        plain = [text for text in texts if text not in named]
        self._named = TagTemplate(*named).bind(fn) if named else None
        self._plain = TagTemplate(*plain).bind(fn) if plain else None

    def of_call(self, *args: Any, **kwargs: Any) -> tuple[str, ...]:  # noqa: ANN401
        return () if self._plain is None else self._plain(None, *args, **kwargs)

    def of_result(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        named = self._named
        if named is None:
            return self._told
        return lambda result: named(result, *args, **kwargs)
