"""Keys that carry a version: a change makes a new key, and old ones are let go."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from functools import cached_property, partial
from inspect import isawaitable
from typing import Any

import msgspec

from escala.caching.desk import Desk
from escala.caching.first_level import FirstLevel
from escala.caching.function import is_async, name_of, result_type
from escala.caching.named import checked
from escala.caching.pure.entry import ABSENT
from escala.caching.pure.key_template import KeyTemplate
from escala.caching.pure.key_text import value_text
from escala.caching.pure.recent import Recent
from escala.caching.rules import Rules, one
from escala.errors import ConfigError
from escala.kernel import events
from escala.kernel.policy import refuse_unawaited
from escala.kernel.runtime import LoopRuntime, Runtime, colours, drive
from escala.kernel.wrong_value import sentence, shown

# No value can put this into a key (see `value_text`), so no two of key and version are one text;
# and a key that has no colon keeps its namespace.
_SEPARATOR = ":%@"


class Versioned:
    """A decorator; of several functions that it is put on, each is asked for its own."""

    def __init__(
        self,
        desk: Desk,
        first: FirstLevel,
        key: str,
        version_of: Callable[..., Any],
        rules: Rules,
        *,
        keep: int,
    ) -> None:
        if not callable(version_of):
            expected = sentence("a function of the same arguments", shown(version_of))
            raise ConfigError(f"versioned: version: {expected}")
        if type(keep) is not int or keep < 0:
            raise ConfigError(f"versioned: keep: {sentence('a number from 0 on', shown(keep))}")
        self._desk, self._first, self._template, self._rules = desk, first, key, rules
        self._version_of = version_of
        self._recent: Recent[str] = Recent(keep=keep)
        self._lock = threading.RLock()

    def decorate(self, fn: Callable[..., Any]) -> Any:  # noqa: ANN401  see `Versioning`
        """Read the function's colour and its arguments, once."""
        return _Function(self, self._template, self._rules, fn).versioned()

    async def value(
        self,
        key: str,
        version_of: Callable[[], Any],
        load: Callable[[], Any],
        rules: Callable[[], Rules],
        runtime: Runtime,
    ) -> Any:  # noqa: ANN401
        """The value of a key in the version that it has now."""
        version = version_of()
        if isawaitable(version):
            if not isinstance(runtime, LoopRuntime):
                refuse_unawaited(
                    version_of, version, "give a `def` to versioned, or decorate an `async def`"
                )
            version = await version
        whole, now = checked(f"{key}{_SEPARATOR}{self._text(version)}"), runtime.now()
        with self._lock:
            gone = self._recent.see(key, whole)
        for old in gone:
            self._first.drop(old, now=now)
        entry = self._desk.hit(whole, now)
        if entry is None:
            return await self._desk.value(whole, one(load, runtime), rules(), runtime)
        self._desk.tally.hits += 1
        if events.listeners:
            self._desk.told(whole, entry, now)
        return None if entry.value is ABSENT else entry.value

    def _text(self, version: object) -> str:
        if version is None:
            raise TypeError(
                f"{name_of(self._version_of)}: expected a version, found None: raise an error for "
                "what does not exist, or return a text for it"
            )
        return value_text(version, name_of(self._version_of))


class _Function:
    """One function whose results are kept by key and version."""

    def __init__(self, by: Versioned, key: str, rules: Rules, fn: Callable[..., Any]) -> None:
        self._by, self._rules, self._fn = by, rules, fn
        self._asynchronous, self._key_of = is_async(fn), KeyTemplate(key).bind(fn)

    def versioned(self) -> Callable[..., Any]:
        """What stands in the function's place."""
        fn, version_of, key_of, value = self._fn, self._by._version_of, self._key_of, self._by.value  # noqa: SLF001  its other half

        def versioned(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            key, version = key_of(*args, **kwargs), partial(version_of, *args, **kwargs)
            return drive(
                value(key, version, partial(fn, *args, **kwargs), self._typed, colours.thread)
            )

        async def aversioned(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            key, version = key_of(*args, **kwargs), partial(version_of, *args, **kwargs)
            return await value(
                key, version, partial(fn, *args, **kwargs), self._typed, colours.loop
            )

        made: Callable[..., Any] = aversioned if self._asynchronous else versioned
        return functools.update_wrapper(made, fn)

    def _typed(self) -> Rules:
        return self._known

    @cached_property
    def _known(self) -> Rules:
        """The rules with the type of the result, which may be defined after the function."""
        return msgspec.structs.replace(self._rules, kind=result_type(self._fn))
