"""A function that is asked for many things at once: what `Cache.batch` makes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from inspect import isawaitable, iscoroutinefunction
from typing import Any, ParamSpec, TypeVar, cast, get_args

from escala.caching.desk import Desk
from escala.caching.memo import result_type, tags_for
from escala.caching.pure.batch_template import BatchTemplate
from escala.caching.pure.entry import ABSENT
from escala.caching.rules import Rules, Tags
from escala.kernel import events
from escala.kernel.runtime import Runtime, colours, drive

P = ParamSpec("P")
R = TypeVar("R")
_PAIR = 2


class Batch:
    """Turns one function of a list into one that asks only for what is missing."""

    def __init__(self, desk: Desk, key: str, rules: Rules, tags: Tags, items: str | None) -> None:
        self._desk, self._template, self._rules, self._items = desk, key, rules, items
        self._tags_of = tags_for(tags, _of_one)
        self._fn: Callable[..., Any] = _of_one

    def decorate(self, fn: Callable[P, R]) -> Callable[P, R]:
        """Read the function's colour and its arguments, once."""
        self._fn = fn
        bound = self._bound = BatchTemplate(self._template).bind(fn, self._items)
        answers = self._answers

        def batched(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            items, keys = bound.keys(*args, **kwargs)
            return drive(answers(items, keys, args, kwargs, colours.thread))

        async def abatched(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            items, keys = bound.keys(*args, **kwargs)
            return await answers(items, keys, args, kwargs, colours.loop)

        made: Callable[..., Any] = abatched if iscoroutinefunction(fn) else batched
        return cast("Callable[P, R]", functools.update_wrapper(made, fn))

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

            async def load(parts: Sequence[Any]) -> Sequence[Any]:
                found = self._bound.call(list(parts), *args, **kwargs)
                if isawaitable(found):
                    found = await found
                if not isinstance(found, Mapping):
                    raise TypeError(
                        f"{self._fn.__qualname__}: expected a dict with what was found for each "
                        f"item, found {type(found).__name__}"
                    )
                return [found.get(part, ABSENT) for part in parts]

            values |= await desk.values(missing, load, self._typed, runtime)
        found = {item: values[key] for item, key in zip(items, keys, strict=True)}
        return {item: value for item, value in found.items() if value is not ABSENT}

    @cached_property
    def _typed(self) -> Rules:
        rules = self._rules
        arguments = get_args(result_type(self._fn))
        kind = arguments[1] if len(arguments) == _PAIR else rules.kind
        return Rules(
            times=rules.times,
            kind=None if kind is Any else kind,
            ttl_of=rules.ttl_of,
            tags=rules.tags,
            tags_of=self._tags_of,
        )


def _of_one() -> object:
    """What tags of one item may name: nothing but its result."""
    return ABSENT
