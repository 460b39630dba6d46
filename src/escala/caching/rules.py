"""How long values may be used and waited for: what a cache, a memo or a call says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from inspect import isawaitable
from types import CoroutineType
from typing import Any, TypeAlias, TypedDict, overload

import msgspec

from escala.caching.named import marked
from escala.caching.pure.lifetime import Lifetime
from escala.kernel.config import options
from escala.kernel.policy import refuse_unawaited
from escala.kernel.runtime import LoopRuntime, Runtime
from escala.kernel.units import Duration, PositiveDuration, PositiveSize

Ttl: TypeAlias = "str | float | Lifetime | Callable[[Any], str | float | Lifetime | None]"
Tags: TypeAlias = "Iterable[str] | Callable[[Any], Iterable[str]]"


class Times(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Lifetimes and waits; the defaults are what `Cache` documents."""

    ttl: Lifetime = Lifetime("5m")
    """How long a value is fresh, with its spread."""
    negative_ttl: Duration | None = None
    """How long None is remembered; as long as any value if unset, not at all if zero."""
    stale_while_revalidate: Duration = Duration(0)
    """How long a stale value is given while one caller asks for news."""
    stale_if_error: Duration = Duration(0)
    """How long a stale value is given when asking fails."""
    refresh_early: bool = False
    """Whether one of the callers asks for news before a value stops being fresh (XFetch)."""
    soft_timeout: PositiveDuration | None = None
    """After so long a caller takes the stale value, and the load ends behind its back."""
    hard_timeout: PositiveDuration | None = None
    """After so long a load is given up."""
    wait: PositiveDuration = PositiveDuration("30s")
    """How long a caller waits for another's load before it starts one itself."""
    l1_ttl: PositiveDuration | None = None
    """The longest that the first level keeps a value which the second level has."""
    lag: Duration = Duration(0)
    """After an invalidation nothing is stored for so long: how late read replicas may be."""


class CacheOptions(Times, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a cache goes by where a memo or a call says nothing else."""

    l2: str | None = None
    """The URL of a store in which many processes share what they have loaded."""
    l2_largest: PositiveSize = PositiveSize("1MiB")
    """Larger values are kept in the first level only."""
    max_stale: PositiveDuration = PositiveDuration("2s")
    """While invalidations by other processes may be missed, no value is older than this."""


class MemoTimes(TypedDict, total=False):
    """What a memo may say of its times; the same as in `Cache`."""

    negative_ttl: str | float
    stale_while_revalidate: str | float
    stale_if_error: str | float
    refresh_early: bool
    soft_timeout: str | float
    hard_timeout: str | float
    wait: str | float
    l1_ttl: str | float
    lag: str | float


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What one load goes by: the times, and what its result says of itself."""

    times: Times
    kind: Any = None
    ttl_of: Callable[[Any], str | float | Lifetime | None] | None = None
    tags: tuple[str, ...] = ()
    tags_of: Callable[[Any], Iterable[str]] | None = None


def ruled(
    rules: Rules,
    *,
    ttl: Ttl | None = None,
    tags: Iterable[str] = (),
    tags_of: Callable[[Any], Iterable[str]] | None = None,
    kind: Any = None,  # noqa: ANN401
    **times: object,
) -> Rules:
    """Rules with what a memo or a call says instead. Raises `ConfigError`."""
    ttl_of = ttl if callable(ttl) else rules.ttl_of if ttl is None else None
    if ttl is not None and not callable(ttl):
        times["ttl"] = ttl
    said = {name: value for name, value in times.items() if value is not None}
    kept = {name: getattr(rules.times, name) for name in Times.__struct_fields__}
    new = options(Times, kept | said, where="Cache") if said else rules.times
    return Rules(
        times=new,
        kind=rules.kind if kind is None else kind,
        ttl_of=ttl_of,
        tags=(*rules.tags, *marked(tags)),
        tags_of=rules.tags_of if tags_of is None else tags_of,
    )


Load: TypeAlias = Callable[[Sequence[Any]], Awaitable[Sequence[Any]]]


@overload
def one(load: None, runtime: Runtime) -> None: ...
@overload
def one(load: Callable[[], Any], runtime: Runtime) -> Load: ...
@overload
def one(load: Callable[[], Any] | None, runtime: Runtime) -> Load | None: ...


def one(load: Callable[[], Any] | None, runtime: Runtime) -> Load | None:
    """A user's load of one key as a trip calls it."""
    if load is None:
        return None
    if not callable(load):
        raise TypeError(
            f"load: expected a function without arguments, found {type(load).__name__}; give what "
            "stands in for a missing value as `default=`"
        )
    asynchronous = isinstance(runtime, LoopRuntime)

    async def ask(_: Sequence[object]) -> Sequence[Any]:
        value = load()
        if type(value) is CoroutineType or isawaitable(value):
            if not asynchronous:
                refuse_unawaited(load, value, "await `aget` instead of `get`")
            value = await value
        return [value]

    return ask
