"""Ask once for many: cache-aside in two levels, never wrong about an invalidation."""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, ClassVar, NoReturn, Self, TypeVar, overload

import msgspec

from escala.caching.answer import Answer
from escala.caching.codec import Codec, codec_of
from escala.caching.desk import Desk
from escala.caching.hearing import Hearing
from escala.caching.l1 import L1
from escala.caching.levels import Levels
from escala.caching.loaded import Loaded
from escala.caching.makers import Makers
from escala.caching.named import checked, signals_of
from escala.caching.origin import Origin, origin_of
from escala.caching.pure.entry import ABSENT
from escala.caching.pure.lifetime import Lifetime
from escala.caching.rules import CacheOptions, Rules, Ttl, ruled
from escala.caching.second_level import SecondLevel
from escala.caching.value_store import Signal, open_value_store
from escala.caching.writer import Writer
from escala.errors import ConfigError
from escala.kernel import events
from escala.kernel.config import options
from escala.kernel.runtime import Runtime, colours, drive
from escala.kernel.writer import differing
from escala.kernel.wrong_value import sentence, shown, without_password

T = TypeVar("T")
D = TypeVar("D")


class Cache(Makers):
    """Ask once for many: values by key, in this process and, with `l2`, in a store for all of them.

    Levels:

    - `l1`: the size of the first level, an `L1` or a number of entries; None for none.
    - `l2`: "redis://…" (Redis or Valkey), "sqlite:///file.db" or "memory://name". Processes whose
      caches have the same `name` and `l2` share it. It is asked within its own time limit and
      behind a breaker: while it is away, callers load and the first level goes on.
    - `l3`: an `Origin`, such as `HttpOrigin`: whom `get` and `entry` ask when they have no
      `load`. What is deleted is purged there first; when that fails, the other levels forget
      it all the same, and then the error is raised.
    - `l1_ttl`: the longest that the first level keeps what is in the second. `l2_largest`: values
      of more bytes stay in the first.

    Lifetimes, which a memo or a call can set anew:

    - `ttl`: how long a value is fresh, "5m±10%": with a spread, ±10 % if you say none, so that
      what was stored together does not end together.
    - `negative_ttl`: the same for None, the answer that there is nothing.
    - `stale_while_revalidate`: how much longer a stale value is given while one caller's load
      runs behind its back. `stale_if_error`: how much longer it is given when loading fails, for
      which the source is then asked once a second.
    - `refresh_early`: let one caller load before the end of freshness, the likelier the longer
      a load takes (XFetch), so that no one waits for a key that is asked for often.

    Waits:

    - `soft_timeout`: after so long a caller takes the stale value, if there is one, and the load
      goes on. `hard_timeout`: after so long a load ends (async), or should (sync code sees it in
      `escala.time_left()`), and a second later another process may begin one. `wait`: how long
      a caller waits for another's load before it loads itself.

    **One load for many.** Concurrent callers of a key, from threads, from tasks, from several
    event loops and, with `l2`, from several processes, wait for one load. It runs in a task of
    its own: cancelling a caller, the first or another, stops no one else.

    **Invalidation.** `delete` means never again: a load that began before it is given only to
    those who asked before it, and is not stored anywhere. `expire` means stale: it may still be
    given as the two windows above allow. Both take keys, a `tag`, or a `namespace` (what stands
    before a key's first colon); `clear` takes all. Each is one step, however many values it hits.
    The other processes hear of it in milliseconds. While they may not hear, no value in a first
    level is older than `max_stale`; when they hear again, they forget all of it. `lag`: for so
    long after an invalidation nothing is stored, for a source whose read replicas are behind.

    Keys are text; one of more than 512 characters is kept as its digest. Values are given as
    they are, not copied: do not change them. `codec` turns them into bytes for `l2` (`codec_of`).

    >>> cache = Cache("shop", ttl="1m")
    >>> cache.get("user:7", lambda: "Ann"), cache.get("user:7")
    ('Ann', 'Ann')
    >>> cache.delete("user:7"), cache.get("user:7")
    (True, None)
    """

    Options: ClassVar[type[msgspec.Struct]] = CacheOptions

    def __init__(
        self,
        name: str = "cache",
        *,
        l1: L1 | int | None = 10_000,
        l2: str | None = None,
        l3: Origin | None = None,
        ttl: str | float | Lifetime = "5m",
        negative_ttl: str | float | None = None,
        stale_while_revalidate: str | float = 0,
        stale_if_error: str | float = 0,
        refresh_early: bool = False,
        soft_timeout: str | float | None = None,
        hard_timeout: str | float | None = None,
        wait: str | float = "30s",
        l1_ttl: str | float | None = None,
        l2_largest: str | int = "1MiB",
        lag: str | float = 0,
        max_stale: str | float = "2s",
        codec: str | Codec = "msgpack",
        rng: random.Random | None = None,
    ) -> None:
        given = {
            "ttl": ttl,
            "negative_ttl": negative_ttl,
            "stale_while_revalidate": stale_while_revalidate,
            "stale_if_error": stale_if_error,
            "refresh_early": refresh_early,
            "soft_timeout": soft_timeout,
            "hard_timeout": hard_timeout,
            "wait": wait,
            "l1_ttl": l1_ttl,
            "lag": lag,
            "l2": l2,
            "l2_largest": l2_largest,
            "max_stale": max_stale,
        }
        given_name: object = name
        if not isinstance(given_name, str) or "://" in given_name:
            wrong = sentence("text that says what it is for", shown(name))
            raise ConfigError(f"Cache: name: {wrong}; a store is given as l2=…")
        self.name = name
        self.options: CacheOptions = options(CacheOptions, given, where="Cache")
        self.l1 = l1 if l1 is None or isinstance(l1, L1) else L1(l1)
        self._rules = Rules(times=self.options)
        second = None
        if self.options.l2 is not None:
            store = open_value_store(self.options.l2, name, os.urandom(8).hex())
            second = SecondLevel(store, name=name)
        self._levels = Levels(
            name,
            self.l1,
            second,
            codec_of(codec),
            largest=self.options.l2_largest,
            rng=rng or random.Random(),
            origin=None if l3 is None else origin_of(l3),
        )
        if second is not None:
            second.ear = Hearing(self._levels, bound=self.options.max_stale / 2)
        self._second, self._writer, self._desk = second, Writer(self._levels), Desk(self._levels)
        self._hit, self._tally = self._desk.hit, self._levels.tally

    def __repr__(self) -> str:
        given = differing(self.options)
        if self.options.l2 is not None:
            given["l2"] = without_password(self.options.l2)
        words = [repr(self.name), *(f"{key}={value!r}" for key, value in given.items())]
        return f"Cache({', '.join(words)})"

    # Reading

    @overload
    def get(self, key: str, load: None = None, *, default: D) -> Any | D: ...  # noqa: ANN401
    @overload
    def get(self, key: str, load: None = None) -> Any: ...  # noqa: ANN401
    @overload
    def get(
        self,
        key: str,
        load: Callable[[], Loaded[T]],
        *,
        ttl: Ttl | None = None,
        tags: Iterable[str] = (),
    ) -> T: ...
    @overload
    def get(
        self, key: str, load: Callable[[], T], *, ttl: Ttl | None = None, tags: Iterable[str] = ()
    ) -> T: ...

    def get(
        self,
        key: str,
        load: Callable[[], Any] | None = None,
        *,
        ttl: Ttl | None = None,
        tags: Iterable[str] = (),
        default: Any = None,
    ) -> Any:
        """The value of a key: kept, or loaded and kept. Without `load`, what is kept, or `default`.

        `ttl`, also as a function of the value, and `tags` are for what is loaded. Raises what
        `load` raises if no stale value may stand in, `DeadlineExceeded` when the caller's time
        is up, and `WouldBlock` where it would have to wait inside a running event loop.
        """
        runtime = colours.thread
        now = runtime.now()
        entry = self._hit(key, now)
        if entry is None:
            rules = self._rules_of(ttl, tags)
            ask = self._desk.load(key, load, runtime)
            found = self._desk.value(checked(key), ask, rules, runtime, default)
            return drive(found)
        self._tally.hits += 1
        if events.listeners:
            self._desk.told(key, entry, now)
        return default if entry.value is ABSENT else entry.value

    @overload
    async def aget(self, key: str, load: None = None, *, default: D) -> Any | D: ...  # noqa: ANN401
    @overload
    async def aget(self, key: str, load: None = None) -> Any: ...  # noqa: ANN401
    @overload
    async def aget(
        self,
        key: str,
        load: Callable[[], Awaitable[Loaded[T]]],
        *,
        ttl: Ttl | None = None,
        tags: Iterable[str] = (),
    ) -> T: ...
    @overload
    async def aget(
        self,
        key: str,
        load: Callable[[], Awaitable[T]],
        *,
        ttl: Ttl | None = None,
        tags: Iterable[str] = (),
    ) -> T: ...
    @overload
    async def aget(
        self, key: str, load: Callable[[], T], *, ttl: Ttl | None = None, tags: Iterable[str] = ()
    ) -> T: ...

    async def aget(
        self,
        key: str,
        load: Callable[[], Any] | None = None,
        *,
        ttl: Ttl | None = None,
        tags: Iterable[str] = (),
        default: Any = None,
    ) -> Any:
        """`get` on an event loop; `load` may be async."""
        runtime = colours.loop
        now = runtime.now()
        entry = self._hit(key, now)
        if entry is None:
            rules = self._rules_of(ttl, tags)
            ask = self._desk.load(key, load, runtime)
            found = self._desk.value(checked(key), ask, rules, runtime, default)
            return await found
        self._tally.hits += 1
        if events.listeners:
            self._desk.told(key, entry, now)
        return default if entry.value is ABSENT else entry.value

    def entry(
        self,
        key: str,
        load: Callable[[], Any] | None = None,
        *,
        ttl: Ttl | None = None,
        tags: Iterable[str] = (),
    ) -> Answer:
        """`get`, with where the value came from, its age, and why it is stale if it is."""
        runtime, rules = colours.thread, self._rules_of(ttl, tags)
        ask = self._desk.load(key, load, runtime)
        return drive(self._desk.answer(checked(key), ask, rules, runtime))

    async def aentry(
        self,
        key: str,
        load: Callable[[], Any] | None = None,
        *,
        ttl: Ttl | None = None,
        tags: Iterable[str] = (),
    ) -> Answer:
        """`entry` on an event loop; `load` may be async."""
        runtime, rules = colours.loop, self._rules_of(ttl, tags)
        ask = self._desk.load(key, load, runtime)
        return await self._desk.answer(checked(key), ask, rules, runtime)

    # Changing

    def set(
        self, key: str, value: object, *, ttl: Ttl | None = None, tags: Iterable[str] = ()
    ) -> None:
        """Keep a value that you have; a load of this key that is under way is not stored.

        When another process sets or deletes the key at the same time, one of them wins in all.
        After a write to the source prefer `delete`, or `write_through`.
        """
        drive(self._writer.set(checked(key), value, self._rules_of(ttl, tags), colours.thread))

    async def aset(
        self, key: str, value: object, *, ttl: Ttl | None = None, tags: Iterable[str] = ()
    ) -> None:
        """`set` on an event loop."""
        await self._writer.set(checked(key), value, self._rules_of(ttl, tags), colours.loop)

    def delete(self, *keys: str, tag: str | None = None, namespace: str | None = None) -> bool:
        """Never give these again: keys, all with a tag, all of a namespace.

        False if the second level did not answer: then it is told before anything else is read
        from it here, and other processes may give the old values until then.
        """
        return self._invalidate(keys, tag, namespace, soft=False)

    async def adelete(
        self, *keys: str, tag: str | None = None, namespace: str | None = None
    ) -> bool:
        """`delete` on an event loop."""
        return await self._ainvalidate(keys, tag, namespace, soft=False)

    def expire(self, *keys: str, tag: str | None = None, namespace: str | None = None) -> bool:
        """Give these at most as stale values from now on; see `delete`."""
        return self._invalidate(keys, tag, namespace, soft=True)

    async def aexpire(
        self, *keys: str, tag: str | None = None, namespace: str | None = None
    ) -> bool:
        """`expire` on an event loop."""
        return await self._ainvalidate(keys, tag, namespace, soft=True)

    def clear(self, *, soft: bool = False) -> bool:
        """Delete everything, or with `soft` expire it; see `delete`."""
        return drive(self._all(colours.thread, soft=soft))

    async def aclear(self, *, soft: bool = False) -> bool:
        """`clear` on an event loop."""
        return await self._all(colours.loop, soft=soft)

    # Ending

    def close(self) -> None:
        """Stop listening and let go of the second level; the cache can be used on without it.

        Then no value in the first level is older than half of `max_stale`. It does not wait, so
        there is no `a` twin. May be called twice.
        """
        if self._second is not None:
            self._second.close()

    def __enter__(self) -> Self:
        """A block that closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    async def __aenter__(self) -> Self:
        """The same in async code."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied or pickled: what it holds is in one process."""
        raise TypeError(
            f"{self.name}: a cache cannot be copied or pickled: make one in each process, and give "
            "all the same name and l2"
        )

    def snapshot(self) -> dict[str, float]:
        """For metrics: the counts since it was made, and how full it is."""
        second = {} if self._second is None else self._second.snapshot()
        return self._tally.snapshot() | self._levels.first.snapshot() | second

    # How

    def _rules_of(self, ttl: Ttl | None, tags: Iterable[str]) -> Rules:
        return self._rules if ttl is None and not tags else ruled(self._rules, ttl=ttl, tags=tags)

    def _invalidate(
        self, keys: Sequence[str], tag: str | None, namespace: str | None, *, soft: bool
    ) -> bool:
        signals = signals_of(keys, tag, namespace, soft=soft)
        return drive(self._writer.invalidate(signals, colours.thread, lag=self.options.lag))

    async def _ainvalidate(
        self, keys: Sequence[str], tag: str | None, namespace: str | None, *, soft: bool
    ) -> bool:
        signals = signals_of(keys, tag, namespace, soft=soft)
        return await self._writer.invalidate(signals, colours.loop, lag=self.options.lag)

    async def _all(self, runtime: Runtime, *, soft: bool) -> bool:
        signals = [Signal("all", "", soft)]
        return await self._writer.invalidate(signals, runtime, lag=self.options.lag)
