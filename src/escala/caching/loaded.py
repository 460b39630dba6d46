"""A value with what its source says of it."""

from __future__ import annotations

import types
from collections.abc import Iterable
from typing import Any, Generic, TypeAlias, TypeVar, Union, get_args, get_origin

import msgspec

from escala.caching.pure.lifetime import Lifetime

TtlOfResult: TypeAlias = "str | float | Lifetime | None"


T = TypeVar("T")


class Loaded(msgspec.Struct, Generic[T], frozen=True):
    """What a load may return in place of its value, when the source says how long it is good for.

    `ttl`: seconds, "5m" or "5m±10%"; zero: not to be kept; None: as the cache has it. `tags`:
    what the value belongs to, beside the tags that the memo or the call names.

    >>> from escala.caching import Cache
    >>> cache = Cache("pages")
    >>> cache.get("page:1", lambda: Loaded("hello", ttl="10s", tags=["site:2"]))
    'hello'
    >>> cache.delete(tag="site:2"), cache.get("page:1")
    (True, None)
    """

    value: T
    ttl: TtlOfResult = None
    tags: Iterable[str] = ()


def kind_within(kind: Any) -> Any:  # noqa: ANN401  any type form
    """What a cache keeps of a result with this annotation: `User` of `Loaded[User]`."""
    if kind is Loaded:
        return None
    origin = get_origin(kind)
    if origin is Loaded:
        return _known(get_args(kind)[0])
    if origin is Union or origin is types.UnionType:
        kinds = [kind_within(each) for each in get_args(kind)]
        return None if None in kinds else Union[tuple(kinds)]  # noqa: UP007  made of values
    return kind


def _known(kind: Any) -> Any:  # noqa: ANN401
    return None if kind is Any or isinstance(kind, TypeVar) else kind
