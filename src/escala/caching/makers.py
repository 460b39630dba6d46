"""What a cache makes: functions whose results are kept, and writers that keep it right."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar, Unpack

from escala.caching.batch import Batch
from escala.caching.cache_policy import CachePolicy
from escala.caching.cached_writes import CachedWrites
from escala.caching.desk import Desk
from escala.caching.levels import Levels
from escala.caching.memo import Memo
from escala.caching.memoized import Memoizing, Versioning
from escala.caching.rules import MemoTimes, Rules, Tags, Ttl, ruled
from escala.caching.versioned import Versioned
from escala.caching.write import Write
from escala.caching.write_behind import WriteBehind
from escala.caching.write_options import WriteHow
from escala.caching.write_through import WriteThrough
from escala.caching.writer import Writer
from escala.kernel.context import Request

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")


class Makers:
    """The half of `Cache` that decorates."""

    name: str
    _levels: Levels
    _rules: Rules
    _desk: Desk
    _writer: Writer

    def memo(
        self,
        key: str,
        *,
        tags: Tags = (),
        ttl: Ttl | None = None,
        **times: Unpack[MemoTimes],
    ) -> Memoizing:
        """Decorate a function, `def` or `async def`, so that its results are kept.

        `key` names its arguments: "user:{id}" (see `KeyTemplate`), and so may `tags`, which may
        name `result` as well: "customer:{result.customer_id}"; or a function of the result gives
        them. The other options are as in `Cache`. What the annotation of the result says is how
        a value comes back from the second level.

        The function gets methods with its own arguments: `key(7)`, `peek(7)` (what is kept, or
        None), `refresh(7)` (load now), `invalidate(7)`, and `apeek`, `arefresh`, `ainvalidate`.
        Those of a method take the object first: `Shop.price.peek(shop, 7)`.

        Raises `ConfigError` where the key does not fit the function.

        >>> from escala.caching import Cache
        >>> cache = Cache("shop")
        >>> @cache.memo("square:{n}")
        ... def square(n: int) -> int:
        ...     return n * n
        >>> square(3), square.peek(3), square.invalidate(3), square.peek(3)
        (9, 9, True, None)
        """
        rules = ruled(self._rules, ttl=ttl, **times)
        return Memo(self._desk, self._writer, key, rules, tags).decorate

    def batch(
        self,
        key: str,
        *,
        items: str | None = None,
        tags: Tags = (),
        ttl: Ttl | None = None,
        **times: Unpack[MemoTimes],
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorate a function from a list to a dict; it is called for what is missing.

        `key` names one item of the list, "order:{id}" for `orders(ids)` (see `BatchTemplate`;
        `items` names the list where that is not clear). Each key has a load of its own: of
        callers who want some of the same, each waits for what another is loading and loads the
        rest. An item that the function does not return is not in the answer; with `negative_ttl`
        that is remembered.

        >>> from escala.caching import Cache
        >>> cache = Cache("shop")
        >>> @cache.batch("square:{n}")
        ... def squares(ns: list[int]) -> dict[int, int]:
        ...     print("asked for", ns)
        ...     return {n: n * n for n in ns}
        >>> squares([1, 2]), squares([2, 3])
        asked for [1, 2]
        asked for [3]
        ({1: 1, 2: 4}, {2: 4, 3: 9})
        """
        rules = ruled(self._rules, ttl=ttl, **times)
        return Batch(self._desk, key, rules, tags, items).decorate

    def versioned(
        self,
        key: str,
        *,
        version: Callable[..., Any],
        keep: int = 1,
        ttl: Ttl | None = None,
        **times: Unpack[MemoTimes],
    ) -> Versioning:
        """Decorate a function whose data carries a version that is cheap to ask for.

        `version` is called with the same arguments before each call, and what it returns (text,
        a number, a date, …, see `KeyTemplate`; never None) becomes a part of the key: a change is
        seen at once, by everyone, and nothing is invalidated. It may be async where the function
        is. Of older versions `keep` are left in the first level for callers who still hold one; in
        the second they end with their `ttl`.

        >>> from escala.caching import Cache
        >>> cache, price = Cache("shop"), {"tea": (1, 3.0)}
        >>> @cache.versioned("label:{item}", version=lambda item: price[item][0])
        ... def label(item: str) -> str:
        ...     return f"{item} {price[item][1]:.2f}"
        >>> first, price["tea"] = label("tea"), (2, 3.5)
        >>> first, label("tea")
        ('tea 3.00', 'tea 3.50')
        """
        rules = ruled(self._rules, ttl=ttl, **times)
        first = self._levels.first
        return Versioned(self._desk, first, key, version, rules, keep=keep).decorate

    def policy(
        self,
        key: str | Callable[[Request | None], str | None] = "key",
        *,
        ttl: Ttl | None = None,
        tags: Iterable[str] = (),
        **times: Unpack[MemoTimes],
    ) -> CachePolicy:
        """This cache as a policy of a `Stack`, by a key of the current request.

        >>> from escala.caching import Cache
        >>> from escala.kernel.context import Request, serving
        >>> cached = Cache("shop").policy("tenant")
        >>> @cached
        ... def price() -> float:
        ...     print("asked")
        ...     return 3.5
        >>> with serving(Request(tenant="ann")):
        ...     price(), price()
        asked
        (3.5, 3.5)
        """
        rules = ruled(self._rules, ttl=ttl, tags=tags, **times)
        return CachePolicy(self._desk, key, rules, self.name)

    # Writing to the source

    def write_through(
        self,
        save: Callable[[str, T], Any],
        remove: Callable[[str], Any] | None = None,
        *,
        ttl: Ttl | None = None,
        tags: Tags = (),
        kind: Any = None,  # noqa: ANN401  any type form
        **times: Unpack[MemoTimes],
    ) -> WriteThrough[T]:
        """Writes that are saved by `save(key, value)` first and then kept; see `WriteThrough`.

        `tags` may be a function of the value; `kind` is the type that the second level gives
        values back as.
        """
        rules = self._written(ttl, tags, kind, times)
        return WriteThrough(self._levels, self._writer, save, remove, rules)

    def write_behind(
        self,
        save_many: Callable[[list[Write]], Any],
        *,
        ttl: Ttl | None = None,
        tags: Tags = (),
        merge: Callable[[T, T], T] | None = None,
        kind: Any = None,  # noqa: ANN401  any type form
        **how: Unpack[WriteHow],
    ) -> WriteBehind:
        """Writes that are kept at once and saved in batches by `save_many`; see `WriteBehind`.

        This process reads its own writes as soon as they are acknowledged, also after a restart;
        others read them when the source has them, and load them from there. With `merge` writes
        are changes, not values: then all read them when the source has them.
        """
        rules = self._written(ttl, tags, kind, {})
        follows = CachedWrites(self._levels, self._writer, rules, merges=merge is not None)
        how.setdefault("name", f"{self.name}.write_behind")
        writes = WriteBehind(
            follows.saving(save_many), told=follows.accepted, merge=merge, kind=kind, **how
        )
        if merge is None:
            self._desk.overlays = (*self._desk.overlays, follows.looking(writes.look))
        return writes

    def _written(
        self,
        ttl: Ttl | None,
        tags: Tags,
        kind: Any,  # noqa: ANN401
        times: MemoTimes,
    ) -> Rules:
        told = tags if callable(tags) else None
        named = () if callable(tags) else tags
        return ruled(self._rules, ttl=ttl, tags=named, tags_of=told, kind=kind, **times)
