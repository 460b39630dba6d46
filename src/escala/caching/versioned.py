"""Keys that carry a version: a change makes a new key, and old ones are let go."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from escala.caching.desk import Desk
from escala.caching.function import is_async, result_type
from escala.caching.pure.key_template import KeyTemplate
from escala.caching.pure.recent import Recent
from escala.caching.rules import Rules, one
from escala.kernel.policy import refuse_unawaited
from escala.kernel.runtime import LoopRuntime, Runtime, colours, drive

if TYPE_CHECKING:
    from escala.caching.first_level import FirstLevel

P = ParamSpec("P")
R = TypeVar("R")

_SEPARATOR = "@"


class Versioned:
    """Turns one function into one whose results are kept by key and version."""

    def __init__(
        self,
        desk: Desk,
        first: FirstLevel,
        key: str,
        version_of: Callable[..., Any],
        rules: Rules,
        keep: int,
    ) -> None:
        self._desk, self._first, self._template, self._rules = desk, first, key, rules
        self._version_of = version_of
        self._recent: Recent[str] = Recent(keep=keep)
        self._lock = threading.RLock()

    def decorate(self, fn: Callable[P, R]) -> Callable[P, R]:
        """Read the function's colour and its arguments, once."""
        asynchronous, key_of = is_async(fn), KeyTemplate(self._template).bind(fn)
        rules = Rules(
            times=self._rules.times,
            kind=result_type(fn),
            ttl_of=self._rules.ttl_of,
            tags=self._rules.tags,
        )
        value = self._value

        def versioned(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            load = partial(fn, *args, **kwargs)
            version = partial(self._version_of, *args, **kwargs)
            return drive(value(key_of(*args, **kwargs), version, load, rules, colours.thread))

        async def aversioned(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            load = partial(fn, *args, **kwargs)
            version = partial(self._version_of, *args, **kwargs)
            return await value(key_of(*args, **kwargs), version, load, rules, colours.loop)

        made: Callable[..., Any] = aversioned if asynchronous else versioned
        return cast("Callable[P, R]", functools.update_wrapper(made, fn))

    async def _value(
        self,
        key: str,
        version_of: Callable[[], Any],
        load: Callable[[], Any],
        rules: Rules,
        runtime: Runtime,
    ) -> Any:  # noqa: ANN401
        version = version_of()
        if isawaitable(version):
            if not isinstance(runtime, LoopRuntime):
                refuse_unawaited(
                    version_of, version, "give a `def` to versioned, or decorate an `async def`"
                )
            version = await version
        whole = f"{key}{_SEPARATOR}{version}"
        with self._lock:
            gone = self._recent.see(key, whole)
        for old in gone:
            self._first.drop(old, now=runtime.now())
        return await self._desk.value(whole, one(load, runtime), rules, runtime)
